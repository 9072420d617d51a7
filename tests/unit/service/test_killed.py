"""The process is killed at every await of every call; what Docker does next leaves all as it was.

The services, the protocol and the store are the real ones. What is beyond the process is fake, and
outlasts it; so each await can be cut before and after it, on every kind of network, and one of them
in every way in which dockerd goes on; ``TESTS_FAULTS=all`` does all of them in all ways.
``tests/faults/test_kill_points.py`` does it to a real process.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from netaddr import EUI, mac_unix_expanded

from ovsdriver import ports
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.docker import methods
from ovsdriver.http.server import PluginServer
from ovsdriver.metrics import Metrics
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.forgotten.foreign_pools import ForeignPools
from ovsdriver.service.forgotten.lost_networks import LostNetworks
from tests.fakes.engine import FakeEngine
from tests.fakes.firewall import FakeFirewall
from tests.fakes.flows import FakeFlows
from tests.fakes.host_ports import FakeHostPorts
from tests.fakes.links import FakeLinks, FakeSandbox
from tests.fakes.name_servers import FakeNameServers
from tests.fakes.nics import FakeNics
from tests.fakes.northbound import FakeCentral, FakeNorthbound
from tests.fakes.shapes import FakeShapes
from tests.fakes.switch import foreign_bridge
from tests.faults.lives import DUAL, PHASES, SCENES, WAYS, Life, Scene, play
from tests.faults.played import Container, Network, PlayedDocker, Subnet
from tests.faults.points import STORE, changing
from tests.unit.service.conftest import Host, HostSwitch

FULFILLED: Sequence[tuple[type, tuple[type, ...]]] = (
    (SqliteState, STORE[:2]),
    (SqliteLeases, STORE[2:]),
    (HostSwitch, (ports.Switch,)),
    (FakeLinks, (ports.Links,)),
    (FakeFlows, (ports.Flows,)),
    (FakeShapes, (ports.Shapes,)),
    (FakeNics, (ports.Nics,)),
    (FakeFirewall, (ports.Firewall,)),
    (FakeHostPorts, (ports.HostPorts,)),
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

    def revive(self) -> None:
        self.wait_for(self._restart())

    def make(self, key: str) -> str:
        self._host.links.sandboxes[f"/netns/{key}"] = FakeSandbox()
        return f"/netns/{key}"

    def move_in(self, key: str, source: str, prefix: str, mac: str, cidrs: Sequence[str]) -> None:
        self._host.links.move(source, f"/netns/{key}")

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

    async def look(self) -> None:
        """Look at everything, as at the start."""
        await self._host.reconciler.reconcile()
        await self._settle()

    async def mend(self, docker: PlayedDocker) -> None:
        """Let a quarter of an hour pass, in which we look at everything and Docker is read."""
        _tell(self._host.engine, docker)
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
                k: v
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
            "ports": set(host.ports.held()),
            "shaped": await host.shapes.observed(),
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

CASES = [
    (way, scene)
    for way in WAYS
    for scene in HERE
    if os.environ.get("TESTS_FAULTS") == "all" or scene == "nat" or way == "docker-goes-on"
]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("way", "scene"), CASES)
async def test_killed_at_any_await_of_any_call_it_leaves_all_as_it_was(
    tmp_path: Path, fate: Fate, way: str, scene: str, phase: str
) -> None:
    host = await Host.start(tmp_path, central=FakeCentral() if scene in FLEET else None)
    host.switch.system_id, host.switch.integration = "host1", "br-int"
    host.switch.put_bridge(foreign_bridge("br-int"))
    host.links.add_tap("br-int", tso=False)
    host.switch.put_bridge(foreign_bridge("br-phys"))
    host.links.add_tap("br-phys", tso=False)
    host.links.add_link("nic0", mac=EUI("02:00:00:00:00:01", dialect=mac_unix_expanded), up=True)
    machine = Machine(host, fate, asyncio.get_running_loop())
    engine, dies = WAYS[way]
    docker = PlayedDocker(machine.ask, machine, engine, machine.revive)
    kept: list[dict[str, Any]] = []

    def reference() -> None:
        machine.wait_for(machine.mend(docker))
        kept.append(machine.wait_for(machine.all_there_is()))

    def as_it_was(call: str, what: str) -> None:
        machine.wait_for(machine.look())
        if dies or call in FORGETTING:
            machine.wait_for(machine.mend(docker))
        found = machine.wait_for(machine.all_there_is())
        for name, before in kept[0].items():
            assert found[name] == before, f"{what}: {name}\n{found[name]}\n{before}"

    def played() -> int:
        beside = Network(docker.new_id(), [Subnet("10.78.9.0/24"), Subnet("fd00:78:9::/64")])
        docker.create_network(beside)
        docker.start(Container("beside", beside, ports=[(8079, 80)]))
        return play(
            Life(docker, HERE[scene]),
            docker,
            fate,
            phase,
            dies=dies,
            every=1,
            reference=reference,
            as_it_was=as_it_was,
        )

    kills = await asyncio.to_thread(played)
    await machine.stop()
    assert kills >= 2 * len(PHASES)
