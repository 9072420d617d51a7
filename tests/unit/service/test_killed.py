"""The process is killed at every await of every call; what Docker does next leaves all as it was.

The services, the protocol and the store are the real ones. What is beyond the process is fake, and
outlasts it; so each await can be cut before and after it, on every kind of network, and one of them
in every way in which dockerd goes on; ``TESTS_FAULTS=all`` does all of them in all ways. Changes of
what stands are cut likewise, and scenes that have much around them, at each fifth await.
``tests/faults/test_kill_points.py`` does it to a real process.
"""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork, mac_unix_expanded

from ovsdriver import codec, ports
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.admin import asks
from ovsdriver.admin.access.desk import AccessDesk
from ovsdriver.admin.networks.desk import NetworkDesk
from ovsdriver.docker import methods
from ovsdriver.domain.records.model import Way
from ovsdriver.domain.traffic import judging
from ovsdriver.errors import DriverError
from ovsdriver.http.server import PluginServer
from ovsdriver.metrics import Metrics
from ovsdriver.service.aspects.flows import flow_rules
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.forgotten.foreign_pools import ForeignPools
from ovsdriver.service.forgotten.lost_networks import LostNetworks
from tests.fakes.access import FakeAccessFirewall
from tests.fakes.engine import FakeEngine
from tests.fakes.firewall import FakeFirewall
from tests.fakes.flows import FakeFlows
from tests.fakes.gateway_names import FakeGatewayNameServers
from tests.fakes.host_ports import FakeHostPorts
from tests.fakes.links import FakeLinks, FakeSandbox
from tests.fakes.name_servers import FakeNameServers
from tests.fakes.nics import FakeNics
from tests.fakes.northbound import FakeCentral, FakeNorthbound
from tests.fakes.shapes import FakeShapes
from tests.fakes.switch import foreign_bridge
from tests.faults.changes import BEFORE, CHANGES, LAB, PERIOD_S, Person, play_change
from tests.faults.lives import DUAL, MOST_POINTS, PHASES, SCENES, WAYS, Life, Scene, play
from tests.faults.played import E29, Container, Network, PlayedDocker, Subnet
from tests.faults.points import STORE, changing
from tests.unit.service.conftest import OWNER, Host, HostSwitch

FULFILLED: Sequence[tuple[type, tuple[type, ...]]] = (
    (SqliteState, STORE[:2]),
    (SqliteLeases, STORE[2:]),
    (HostSwitch, (ports.Switch,)),
    (FakeLinks, (ports.Links, ports.Sandboxes)),
    (FakeFlows, (ports.Flows,)),
    (FakeShapes, (ports.Shapes,)),
    (FakeNics, (ports.Nics,)),
    (FakeFirewall, (ports.Firewall,)),
    (FakeHostPorts, (ports.HostPorts,)),
    (FakeAccessFirewall, (ports.AccessFirewall,)),
    (FakeGatewayNameServers, (ports.GatewayNameServers,)),
    (FakeNorthbound, (ports.Northbound,)),
    (FakeNameServers, (ports.NameServers,)),
)


FORGETTING = (
    "IpamDriver.RequestPool",
    "IpamDriver.RequestAddress",
    "IpamDriver.ReleaseAddress",
)
"""Calls after which dockerd says no more of it: only its API tells that nothing came of them."""


class KilledError(BaseException):
    """Nothing of the process goes on from here."""


class Fate:
    """When the process dies."""

    def __init__(self) -> None:
        self._doom: tuple[str, int] | None = None
        self._left = 0
        self.dead = False
        self.deaths = 0

    def doom(self, call: str, number: int) -> None:
        """Have the next such call die at its await of that number."""
        self._doom = (call, number)

    def begin(self, call: str) -> None:
        """Begin a call."""
        self._left = 0
        if self._doom is not None and self._doom[0] == call:
            self._left = self._doom[1]
            self._doom = None

    def reach(self) -> None:
        """Be before or after an await."""
        if not self.dead and self._left:
            self._left -= 1
            self.dead = not self._left
        if self.dead:
            raise KilledError


class Machine:
    """A host on which a process lives, dies and is started again; and a dockerd that is played."""

    def __init__(self, host: Host, fate: Fate, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._fate = fate
        self._loop = loop
        self._now = 0.0
        self._serve()

    # what PlayedDocker calls, from a thread of its own

    def ask(self, name: str, body: bytes) -> dict[str, Any]:
        return self.wait_for(self._answer(name, body))

    def asked(self, word: str, body: bytes) -> Any:
        return self.wait_for(self._answer_person(word, body))

    @property
    def deaths(self) -> int:
        return self._fate.deaths

    def revive(self) -> None:
        self.wait_for(self._restart())

    def make(self, key: str) -> str:
        self._host.links.sandboxes[f"/netns/{key}"] = FakeSandbox()
        return f"/netns/{key}"

    def move_in(self, key: str, source: str, prefix: str, mac: str, cidrs: Sequence[str]) -> None:
        self._host.links.move(source, f"/netns/{key}")

    def add_route(self, key: str, to: str, via: str) -> None:
        (link,) = self._host.links.sandboxes[f"/netns/{key}"].links.values()
        link.routes[Way(to=IPNetwork(to), via=IPAddress(via))] = False

    def move_out(self, key: str, mac: str, source: str) -> None:
        sandbox = self._host.links.sandboxes.get(f"/netns/{key}")
        if sandbox is not None and source in sandbox.taps:
            self._host.links.move_back(source, f"/netns/{key}")

    def remove(self, key: str) -> None:
        if f"/netns/{key}" in self._host.links.sandboxes:
            self._host.links.end_sandbox(f"/netns/{key}")

    def wait_for(self, work: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(60)

    # on the loop

    async def _answer(self, name: str, body: bytes) -> dict[str, Any]:
        self._fate.begin(name)
        try:
            answer = await self._server._answer(name, self._calls[name], body)
            self._fate.reach()  # before it is sent
        except KilledError:
            raise ConnectionResetError(name) from None
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def _answer_person(self, word: str, body: bytes) -> Any:
        kind = asks.BY_WORD[word]
        self._fate.begin(f"ask/{word}")
        try:
            try:
                found = await self._desk[kind](codec.decode(kind, body or b"{}", strict=True))
            except (DriverError, codec.UnreadableError) as error:
                found = asks.Refused(error=str(error))
            self._fate.reach()  # before it is sent
            self._fate.begin("nothing")
        except KilledError:
            raise ConnectionResetError(word) from None
        return json.loads(codec.encode(found))

    async def turn(self, seconds: float) -> None:
        """Let time pass, and the clock be looked at."""
        self._host.clock.now += seconds
        self._fate.begin("timed")
        with suppress(KilledError):
            await self._host.changes.look()
            self._fate.begin("nothing")

    async def _restart(self) -> None:
        assert self._fate.dead
        self._fate.dead = False
        self._fate.deaths += 1
        self._host = await self._host.restart()
        self._serve()

    def _serve(self) -> None:
        host = self._host
        self._server = PluginServer(metrics=Metrics())
        backend = methods.Backend()
        backend.ready(
            methods.Services(
                networks=host.networks,
                endpoints=host.endpoints,
                publications=host.publications,
                ipam=host.ipam,
            )
        )
        self._desk = {
            **NetworkDesk(
                host.admin,
                owner=OWNER,
                switch=host.switch,
                engine=host.engine,
                clock=host.clock,
            ).answers(),
            **AccessDesk(host.admin, engine=host.engine).answers(),
        }
        self._calls = {**methods.ipam_only(backend), **methods.network_calls(backend)}
        self._collector = host.another_collector(
            foreign_pools=ForeignPools(
                state=host.state, ipam=host.ipam, links=host.links, clock=lambda: self._now
            ),
            lost_networks=LostNetworks(
                state=host.state, networks=host.networks, clock=lambda: self._now
            ),
        )

    async def stop(self) -> None:
        await self._host.stop()

    async def look(self, docker: PlayedDocker) -> None:
        """Look at everything, as at the start, when Docker is asked for names."""
        await self._hear(docker)
        await self._host.changes.look()
        for _ in range(2):  # the switch tells of what the first one changes, and asks for another
            await self._host.reconciler.reconcile()
        await self._settle()

    async def _hear(self, docker: PlayedDocker) -> None:
        """Let Docker be read, and what depends on that be done, as goes on all the time."""
        _tell(self._host.engine, docker)
        await self._host.witness.read()
        await self._host.kept.look()
        ways = self._host.container_ways
        await ways._find_gateways()
        for each in tuple(ways._waiting):
            if await ways._mend(each) is not None:
                ways._waiting.pop(each, None)

    async def mend(self, docker: PlayedDocker) -> None:
        """Let a quarter of an hour pass, in which we look at everything and Docker is read."""
        await self._hear(docker)
        for _ in range(4):
            await self._host.reconciler.reconcile()
            await self._collector.collect()
            self._now += 300.0
        await self._settle()

    async def _settle(self) -> None:
        """Let the northbound database hear what it is still to hear of, as goes on all the time."""
        northbound = self._host.world.northbound
        if northbound is not None:
            debts = Debts(notes=self._host.state, northbound=northbound)
            for each in debts.waiting():
                await debts.settle(each)

    async def all_there_is(self) -> dict[str, Any]:
        """Return what can be compared, without what differs from one time to the next."""
        host = self._host
        return {
            "networks": {each.id: replace(each, engine="") for each in host.state.networks()},
            "endpoints": {each.id: replace(each, leases=()) for each in host.state.endpoints()},
            "notes": {
                k: re.sub(r'"since":[^,}]+', "", v)
                for k, v in host.state.notes().items()
                if not k.startswith(("tso:", "segment-pool:", "fleet-name"))
            },
            "shared": _shared(host),
            "pools": {str(each.subnet) for each in host.ipam.pools()},
            "leases": {
                (str(lease.address), lease.kind)
                for pool in host.ipam.pools()
                for lease in await host.ipam.leases(pool.id)
            },
            "bridges": {
                name: replace(each, ports=()) for name, each in host.switch.bridges().items()
            },
            "switched": {
                each.name: replace(each, ofport=None, ifindex=None)
                for bridge in host.switch.bridges().values()
                for each in bridge.ports
            },
            "links": {
                name: replace(each, index=0, peer_index=None)
                for name, each in host.links.present().items()
            },
            "rules": host.firewall.plan,
            "access rules": host.firewall.access.plan,
            "names answered": set(host.world.gateway_names().running()),
            "flows": _flows(host),
            "ways": {
                (place, name): link.routes
                for place, sandbox in host.links.sandboxes.items()
                if sandbox.alive
                for name, link in sandbox.links.items()
                if link.routes
            },
            "ports": set(host.ports.held()),
            "shaped": await host.shapes.observed(),
        }


def _flows(host: Host) -> object:
    """Return flows on bridges that are there, by ports' names in the place of numbers.

    Our flows of a bridge that is gone are gone with it.
    """
    bridges = host.switch.bridges()
    names = {
        (bridge.name, of(port.ofport)): f"{of.__name__} {port.name}"
        for bridge in bridges.values()
        for port in bridge.ports
        if port.ofport is not None
        for of in (int, judging.port_number)
    }
    return {
        (bridge, names.get((bridge, number), number)): replace(
            wanted, flows=frozenset(replace(each, port=None) for each in wanted.flows)
        )
        for (bridge, number), wanted in host.flows._ports.items()
        if bridge in bridges
    }


def _shared(host: Host) -> object:
    """Return what the fleet has, without what differs from one time to the next."""
    if host.world.northbound is None:
        return None
    northbound = host.world.northbound
    return {
        name: (
            replace(segment, pools=()),
            len(segment.pools),
            northbound.gateway(name),
            {
                address: replace(each, serial=0, pool=None, created=0.0)
                for address, each in northbound.leases(name).items()
            },
        )
        for name, segment in northbound.segments().items()
    }


def _tell(engine: FakeEngine, docker: PlayedDocker) -> None:
    engine.forget()
    for network in docker.networks:
        engine.add_network(network.id, "played")
        for subnet in network.subnets:
            engine.add_subnet(network.id, subnet.cidr)
    for each in docker.containers:
        engine.add_endpoint(each.endpoint, each.network.id, each.name, *each.addresses.values())


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fate]:
    fate = Fate()
    monkeypatch.setattr(flow_rules, "SETTLE_S", 0.0)  # nobody else is at work
    monkeypatch.setattr(flow_rules, "LEISURE_S", 0.0)  # nothing is left there for the next one

    def cut(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            fate.reach()
            found = await method(*arguments, **named)
            fate.reach()
            return found

        @wraps(method)
        def begun(*arguments: Any) -> None:
            *what, told = arguments
            fate.reach()

            def heard(result: Any, error: BaseException | None) -> None:
                try:
                    fate.reach()
                except KilledError as killed:
                    error = killed
                told(result, error)

            method(*what, heard)

        return awaited if iscoroutinefunction(method) else begun

    for kind, fulfilled in FULFILLED:
        for port in fulfilled:
            for name in changing(port):
                monkeypatch.setattr(kind, name, cut(getattr(kind, name)))
    yield fate
    assert not fate.dead


_SEGMENT = Scene(
    subnets=DUAL,
    options={"ovs.segment": "blue"},
    ipam_options={"ipam.segment": "blue"},
)
HERE = {
    **SCENES,
    "segment": _SEGMENT,
    "segment-router": replace(
        _SEGMENT, options={"ovs.segment": "blue", "ovs.router": "main", "ovs.routes": "10.9.0.0/16"}
    ),
    "segment-wire": replace(
        _SEGMENT, options={"ovs.segment": "blue", "ovs.uplink": "nic0", "ovs.vlan": "30"}
    ),
}
FLEET = HERE.keys() - SCENES.keys()
"""The northbound database of a fleet is a fake: only here."""

ALL = os.environ.get("TESTS_FAULTS") == "all"
EVERY = 1 if ALL else 5
"""Of what has many awaits."""

CASES = [
    (way, scene)
    for way in WAYS
    for scene in HERE
    if ALL or scene == "nat" or way == "docker-goes-on"
]


def _less(some: Any, others: Any) -> Any:
    """Return what is not in others, too, to be read by people."""
    if isinstance(some, dict) and isinstance(others, dict):
        return {key: each for key, each in some.items() if others.get(key) != each}
    return some - others if isinstance(some, set) else some


@dataclass
class Played:
    """A host, and who speaks to it."""

    machine: Machine
    docker: PlayedDocker
    person: Person
    kept: dict[str, dict[str, Any]]

    @classmethod
    async def begin(cls, path: Path, fate: Fate, way: str, scene: str) -> "Played":
        host = await Host.start(path, central=FakeCentral() if scene in FLEET else None)
        host.switch.system_id, host.switch.integration = "host1", "br-int"
        host.switch.put_bridge(foreign_bridge("br-int"))
        host.links.add_tap("br-int", tso=False)
        host.switch.put_bridge(foreign_bridge("br-phys"))
        host.links.add_tap("br-phys", tso=False)
        nic = EUI("02:00:00:00:00:01", dialect=mac_unix_expanded)
        host.links.add_link("nic0", mac=nic, up=True)
        machine = Machine(host, fate, asyncio.get_running_loop())
        docker = PlayedDocker(machine.ask, machine, WAYS[way][0], machine.revive)
        return cls(machine, docker, Person(machine.asked, machine.revive), {})

    # from a thread of its own

    def stand(self) -> None:
        """Have something stand beside."""
        self.person.ask(LAB)
        subnets = [Subnet("10.78.9.0/24"), Subnet("fd00:78:9::/64")]
        beside = Network(self.docker.new_id(), subnets)
        self.docker.create_network(beside)
        self.docker.start(Container("beside", beside, ports=[(8079, 80)]))

    def reference(self, name: str = BEFORE) -> None:
        """Keep how all is."""
        self.machine.wait_for(self.machine.mend(self.docker))
        self.kept[name] = self.machine.wait_for(self.machine.all_there_is())

    def is_one_of(self, names: Sequence[str], what: str, *, later: bool = False) -> None:
        """Assert that one look, or else a quarter of an hour, makes all as one of those."""
        self.machine.wait_for(self.machine.look(self.docker))
        if later:
            self.machine.wait_for(self.machine.mend(self.docker))
        found = self.machine.wait_for(self.machine.all_there_is())
        differences = {
            name: [
                f"{part}: {_less(found[part], known)}, not {_less(known, found[part])}"
                for part, known in self.kept[name].items()
                if found[part] != known
            ]
            for name in names
        }
        assert not all(differences.values()), "\n".join([what, *map(str, differences.items())])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("way", "scene"), CASES)
async def test_killed_at_any_await_of_any_call_it_leaves_all_as_it_was(
    tmp_path: Path, fate: Fate, way: str, scene: str, phase: str
) -> None:
    played = await Played.begin(tmp_path, fate, way, scene)
    dies = WAYS[way][1]
    every = EVERY if HERE[scene].around else 1

    def play_phase() -> int:
        played.stand()
        life = Life(played.docker, HERE[scene])
        with life.surrounded():
            return play(
                life,
                played.docker,
                fate,
                phase,
                dies=dies,
                every=every,
                reference=played.reference,
                as_it_was=lambda call, what: played.is_one_of(
                    [BEFORE], what, later=dies or call in FORGETTING
                ),
            )

    kills = await asyncio.to_thread(play_phase)
    await played.machine.stop()
    assert kills * every >= 2 * len(PHASES)


@pytest.mark.parametrize("name", CHANGES)
async def test_killed_at_any_await_of_a_change_it_has_made_it_or_not(
    tmp_path: Path, fate: Fate, name: str
) -> None:
    change = CHANGES[name]
    played = await Played.begin(tmp_path, fate, "docker-29-goes-on", change.scene)

    def play_it() -> int:
        played.stand()
        life = Life(played.docker, HERE[change.scene])
        with life.surrounded():
            return play_change(
                life,
                played.person,
                fate,
                change,
                every=EVERY,
                reference=played.reference,
                is_one_of=played.is_one_of,
            )

    kills = await asyncio.to_thread(play_it)
    await played.machine.stop()
    assert kills >= 2


@pytest.mark.parametrize("name", ["a patch's cable", "for a while"])
async def test_killed_when_a_change_ends_the_next_process_ends_it(
    tmp_path: Path, fate: Fate, name: str
) -> None:
    change = CHANGES[name]
    played = await Played.begin(tmp_path, fate, "docker-29-goes-on", change.scene)

    def play_it() -> int:
        played.stand()
        life = Life(played.docker, HERE[change.scene])
        with life.surrounded():
            life.started()
            played.person.ask(change.do, life)
            played.person.ask(change.undo, life)
            played.reference()
            for number in range(1, MOST_POINTS, EVERY):
                played.person.ask(change.do, life)
                fate.doom("timed", number)
                played.machine.wait_for(played.machine.turn(PERIOD_S))
                if not fate.dead:
                    break
                played.machine.revive()
                played.is_one_of([BEFORE], f"killed at its end, at point {number}")
            played.is_one_of([BEFORE], "not killed")
            life.removed()
            return number

    number = await asyncio.to_thread(play_it)
    await played.machine.stop()
    assert number > EVERY


@pytest.mark.parametrize("scene", ["rules", "lan"])
async def test_a_call_that_comes_twice_changes_nothing_the_second_time(
    tmp_path: Path, fate: Fate, scene: str
) -> None:
    played = await Played.begin(tmp_path, fate, "docker-29-goes-on", scene)
    machine = played.machine

    def twice(name: str, body: bytes) -> dict[str, Any]:
        found = machine.ask(name, body)
        if not name.startswith("IpamDriver.Request"):  # each asks for another one
            known = machine.wait_for(machine.all_there_is())
            again = machine.ask(name, body)
            assert again.get("Err", "") == found.get("Err", ""), name
            there = machine.wait_for(machine.all_there_is())
            for part, before in known.items():
                assert there[part] == before, f"{name}: {part}: {_less(there[part], before)}"
        return found

    def play_it() -> None:
        played.stand()
        docker = PlayedDocker(twice, machine, E29, machine.revive, first_id=100)
        life = Life(docker, HERE[scene])
        with life.surrounded():
            life.started()
            life.removed()

    await asyncio.to_thread(play_it)
    await machine.stop()
