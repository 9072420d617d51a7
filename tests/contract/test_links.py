"""What every ``Links`` does: the fake in memory and the kernel's netlink side by side."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.observed import RouteKind, Traffic
from ovsdriver.domain.wires.plumbing import Gateway, Probe
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import Links, Route
from tests.builders import OWNER, SECOND, TAP, VETH, a_network, a_subnet
from tests.fakes.links import FakeLinks, FakeSandbox
from tests.integration.netns import Sandbox, own_namespace, run
from tests.integration.taps import held_tap

NETWORK = a_network(subnets=(a_subnet(), a_subnet("fd00:1::/64", "fd00:1::1")), mtu=1400)
ABSENT = "ovh000000000000"
FRAME = b"\xff" * 6 + b"\x0a\x0f" * 3 + b"\x08\x00" + bytes(50)
"""Of a kind that every host has a handler for, or it would count as dropped."""
ANYWHERE = [IPNetwork("0.0.0.0/0"), IPNetwork("::/0")]


def the_gateway() -> Gateway:
    gateway = desired.gateway(NETWORK, owner=OWNER)
    assert gateway is not None
    return gateway


def the_probe() -> Probe:
    probe = desired.probe(replace(NETWORK, mode=Mode.FLAT, probe=True), owner=OWNER)
    assert probe is not None
    return probe


class World(Protocol):
    """What surrounds the links: other people, Docker and vswitchd."""

    links: Links

    def make_link(self, name: str) -> None: ...
    def make_tap(self, name: str) -> None: ...
    def hold_tap(self, name: str) -> None: ...
    def give_address(self, link: str, address: str) -> None: ...
    def add_route(self, destination: str, link: str) -> None: ...
    def throw_away(self, destination: str, kind: RouteKind) -> None: ...
    def sandbox(self) -> str: ...
    def enter(self, sandbox: str, *, waiting: bool = False) -> None: ...
    def leftover(self) -> str: ...
    def move(self, container: str, sandbox: str) -> None: ...
    def tx_offload(self, container: str) -> bool: ...
    def tx_offload_inside(self, sandbox: str, mac: EUI) -> bool: ...
    def mtu_inside(self, sandbox: str, mac: EUI) -> int: ...
    def neighbour_behind(self, host: str, address: IPNetwork, mac: EUI) -> None: ...
    def set_up(self, link: str) -> None: ...
    def send(self, link: str, frames: int) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeLinks(owner=OWNER)
        self.links: Links = self.fake

    def make_link(self, name: str) -> None:
        self.fake.add_link(name, kind="bridge")

    def make_tap(self, name: str) -> None:
        self.fake.add_tap(name)

    def hold_tap(self, name: str) -> None:
        self.fake.add_tap(name, tso=False)

    def give_address(self, link: str, address: str) -> None:
        self.fake.add_address(link, address)

    def add_route(self, destination: str, link: str) -> None:
        self.fake.add_route(Route(destination=IPNetwork(destination), link=link))

    def throw_away(self, destination: str, kind: RouteKind) -> None:
        self.fake.add_route(Route(destination=IPNetwork(destination), kind=kind))

    def sandbox(self) -> str:
        self.fake.sandboxes["/sandbox"] = FakeSandbox(used=False)
        return "/sandbox"

    def enter(self, sandbox: str, *, waiting: bool = False) -> None:
        self.fake.sandboxes[sandbox].used = True
        self.fake.sandboxes[sandbox].started = not waiting

    def leftover(self) -> str:
        self.fake.sandboxes["/leftover"] = FakeSandbox(alive=False)
        return "/leftover"

    def move(self, container: str, sandbox: str) -> None:
        self.fake.move(container, sandbox)

    def tx_offload(self, container: str) -> bool:
        return self.fake.tx_offload[container]

    def tx_offload_inside(self, sandbox: str, mac: EUI) -> bool:
        return self.fake.sandboxes[sandbox].tx_offload[mac]

    def mtu_inside(self, sandbox: str, mac: EUI) -> int:
        return self.fake.sandboxes[sandbox].mtu[mac]

    def neighbour_behind(self, host: str, address: IPNetwork, mac: EUI) -> None:
        self.fake.answering[(host, address.ip)] = mac

    def set_up(self, link: str) -> None:
        self.fake.set_link(link, up=True)

    def send(self, link: str, frames: int) -> None:
        sent = Traffic(sent_packets=frames, sent_bytes=frames * len(FRAME))
        self.fake.passed = {link: sent, VETH.host: sent.turned}


class KernelWorld:
    def __init__(self, links: KernelLinks, folder: Path, undo: ExitStack) -> None:
        self.links: Links = links
        self._folder = folder
        self._undo = undo
        self._sandboxes: dict[str, Sandbox] = {}

    def make_link(self, name: str) -> None:
        run("ip", "link", "add", "name", name, "type", "bridge")

    def make_tap(self, name: str) -> None:
        run("ip", "tuntap", "add", "dev", name, "mode", "tap")

    def hold_tap(self, name: str) -> None:
        self._undo.callback(os.close, held_tap(name))

    def give_address(self, link: str, address: str) -> None:
        run("ip", "addr", "add", address, "dev", link, "scope", "link")

    def add_route(self, destination: str, link: str) -> None:
        run("ip", "link", "set", link, "up")
        run("ip", "route", "add", destination, "dev", link)

    def throw_away(self, destination: str, kind: RouteKind) -> None:
        run("ip", "route", "add", kind.value, destination, "table", "77")

    def sandbox(self) -> str:
        made = self._undo.enter_context(Sandbox())
        self._sandboxes[made.path] = made
        return made.path

    def enter(self, sandbox: str, *, waiting: bool = False) -> None:
        waits = "open('/proc/self/comm', 'w').write('runc:[2:INIT]'); import time; time.sleep(600)"
        command = (sys.executable, "-c", waits) if waiting else ("sleep", "600")
        process = self._sandboxes[sandbox].start(*command)
        self._undo.callback(process.wait)
        self._undo.callback(process.kill)

    def leftover(self) -> str:
        path = self._folder / "4a1e0c7d9b22"
        path.touch()
        return str(path)

    def move(self, container: str, sandbox: str) -> None:
        run("ip", "link", "set", container, "netns", sandbox)
        self._sandboxes[sandbox].run("ip", "link", "set", container, "name", "eth0")

    def tx_offload(self, container: str) -> bool:
        return _tx_checksumming(run("ethtool", "-k", container))

    def tx_offload_inside(self, sandbox: str, mac: EUI) -> bool:
        return _tx_checksumming(self._sandboxes[sandbox].run("ethtool", "-k", "eth0"))

    def mtu_inside(self, sandbox: str, mac: EUI) -> int:
        (link,) = json.loads(self._sandboxes[sandbox].run("ip", "-json", "link", "show", "eth0"))
        assert link["address"] == names.mac_text(mac)
        return int(link["mtu"])

    def neighbour_behind(self, host: str, address: IPNetwork, mac: EUI) -> None:
        inside = self._sandboxes[self.sandbox()]
        run("ip", "link", "set", VETH.container, "netns", inside.path)
        inside.run("ip", "link", "set", VETH.container, "up", "address", names.mac_text(mac))
        nodad = ("nodad",) if address.version == 6 else ()
        inside.run("ip", "addr", "add", str(address), "dev", VETH.container, *nodad)

    def set_up(self, link: str) -> None:
        # Nothing but what the test sends is to be counted.
        Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").write_text("1")
        run("ip", "link", "set", link, "up")

    def send(self, link: str, frames: int) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((link, 0))
            for _ in range(frames):
                sock.send(FRAME)


def _tx_checksumming(features: str) -> bool:
    return "\ntx-checksumming: on" in features


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.netns)])
def kernel(request: pytest.FixtureRequest) -> Iterator[bool]:
    if request.param == "fake":
        yield False
        return
    with own_namespace():
        yield True


@pytest.fixture
async def world(kernel: bool, tmp_path: Path) -> AsyncIterator[World]:
    if not kernel:
        yield FakeWorld()
        return
    made = Kernel(owner=OWNER, timeout_s=10, held_s=1)
    with ExitStack() as undo:
        yield KernelWorld(made.links, tmp_path, undo)
        await made.close()


async def test_the_switchs_end_of_a_pair_is_set_down_and_up(world: World) -> None:
    down = replace(VETH, up=False)
    for wanted in (down, down, VETH, VETH, down):
        await world.links.ensure_veth(wanted)
        assert (await world.links.links())[VETH.host].up == wanted.up


async def test_a_new_pair_is_as_described(world: World) -> None:
    await world.links.ensure_veth(VETH)

    found = await world.links.links()
    host, container = found[VETH.host], found[VETH.container]
    assert (host.kind, host.up, host.mtu, host.alias) == ("veth", True, 1400, VETH.alias)
    assert (container.kind, container.mtu, container.mac) == ("veth", 1400, VETH.mac)
    assert (host.peer_index, container.peer_index) == (container.index, host.index)


async def test_what_one_end_sends_the_other_has_received(world: World) -> None:
    await world.links.ensure_veth(VETH)
    for link in (VETH.host, VETH.container):
        world.set_up(link)
    before = await world.links.measured()

    world.send(VETH.container, 5)

    after = await world.links.measured()
    sent, received = after[VETH.container].traffic, after[VETH.host].traffic
    earlier = before[VETH.host].traffic
    assert received.received_packets - earlier.received_packets == 5
    assert received.received_bytes - earlier.received_bytes == 5 * len(FRAME)
    assert sent.turned == received
    assert received.received_dropped == received.sent_dropped == 0


async def test_nothing_passes_a_pair_whose_other_end_is_down(world: World) -> None:
    await world.links.ensure_veth(VETH)
    assert not (await world.links.measured())[VETH.host].up

    world.set_up(VETH.container)

    found = await world.links.measured()
    assert found[VETH.host].up
    assert found[VETH.container].up
    assert ABSENT not in found


async def test_who_waits_for_a_new_pair_hears_of_both_ends(world: World) -> None:
    heard = asyncio.Event()
    making = asyncio.create_task(world.links.ensure_veth(VETH, heard.set))
    async with asyncio.timeout(30):
        await heard.wait()
    assert {VETH.host, VETH.container} <= (await world.links.links()).keys()
    await making
    assert (await world.links.links())[VETH.host].alias == VETH.alias

    heard.clear()
    await world.links.ensure_veth(VETH, heard.set)
    await world.links.links()
    assert not heard.is_set(), "it was there before"


async def test_the_offload_is_on_behind_a_bridge_of_the_kernels_datapath(world: World) -> None:
    await world.links.ensure_veth(VETH)

    assert world.tx_offload(VETH.container) is True


async def test_the_offload_is_off_behind_a_bridge_without_tso(world: World) -> None:
    world.make_link("br0")  # no tap of a vswitchd with TSO

    await world.links.ensure_veth(replace(VETH, tso_of="br0"))

    assert world.tx_offload(VETH.container) is False


async def test_no_pair_is_made_while_nobody_tells_of_tso(world: World) -> None:
    world.make_tap("br0")

    with pytest.raises(UnavailableError, match="no process holds it"):
        await world.links.ensure_veth(replace(VETH, tso_of="br0"))

    assert VETH.host not in await world.links.links()


@pytest.mark.parametrize("there", [False, True])
async def test_a_pair_waits_for_a_switch_that_is_coming_back(world: World, there: bool) -> None:
    if there:
        world.make_tap("br0")
    making = asyncio.create_task(world.links.ensure_veth(replace(VETH, tso_of="br0")))
    await asyncio.sleep(0.1)
    assert not making.done()

    world.hold_tap("br0")
    await making

    assert world.tx_offload(VETH.container) is False


async def test_ensuring_a_pair_twice_leaves_it_as_it_was(world: World) -> None:
    await world.links.ensure_veth(VETH)
    before = await world.links.links()

    await world.links.ensure_veth(VETH)

    assert await world.links.links() == before


async def test_a_pair_of_ours_is_put_right(world: World) -> None:
    world.make_link("br0")
    await world.links.ensure_veth(replace(VETH, tso_of="br0"))
    changed = replace(VETH, mtu=9000, mac=EUI("0a:0f:0a:01:00:09"))

    await world.links.ensure_veth(changed)

    found = await world.links.links()
    assert (found[VETH.host].mtu, found[VETH.container].mtu) == (9000, 9000)
    assert found[VETH.container].mac == changed.mac
    assert world.tx_offload(VETH.container) is True


async def test_somebody_elses_link_of_that_name_is_a_conflict_and_stays(world: World) -> None:
    world.make_link(VETH.host)
    before = await world.links.links()

    with pytest.raises(ConflictError, match=VETH.host):
        await world.links.ensure_veth(VETH)

    assert await world.links.links() == before


async def test_a_pair_of_another_endpoint_is_a_conflict(world: World) -> None:
    await world.links.ensure_veth(VETH)

    with pytest.raises(ConflictError, match="ovsnet did not make"):
        await world.links.ensure_veth(replace(VETH, alias=names.alias(OWNER, SECOND)))


async def test_a_taken_name_of_the_containers_end_is_a_conflict_and_leaves_nothing(
    world: World,
) -> None:
    world.make_link(VETH.container)
    before = await world.links.links()

    with pytest.raises(ConflictError, match=VETH.container):
        await world.links.ensure_veth(VETH)

    assert await world.links.links() == before


async def test_removing_a_pair_removes_both_ends_at_once_for_the_reader(world: World) -> None:
    await world.links.ensure_veth(VETH)

    assert await world.links.remove_link(VETH.host) is True

    assert VETH.host not in await world.links.links()


async def test_removing_a_pair_twice_succeeds(world: World) -> None:
    await world.links.ensure_veth(VETH)
    await world.links.remove_link(VETH.host)

    assert await world.links.remove_link(VETH.host) is False


async def test_removing_what_never_was_succeeds(world: World) -> None:
    assert await world.links.remove_link(ABSENT) is False


async def test_somebody_elses_link_is_not_removed(world: World) -> None:
    world.make_link(VETH.host)

    assert await world.links.remove_link(VETH.host) is False

    assert VETH.host in await world.links.links()


async def test_a_containers_tap_is_settled_and_stays_down(world: World) -> None:
    world.make_tap(TAP.name)

    await world.links.ensure_tap(TAP)

    found = (await world.links.links())[TAP.name]
    assert (found.mac, found.mtu, found.alias, found.up) == (TAP.mac, 1400, TAP.alias, False)


async def test_settling_a_tap_twice_changes_what_differs_alone(world: World) -> None:
    world.make_tap(TAP.name)
    await world.links.ensure_tap(TAP)
    before = await world.links.links()

    await world.links.ensure_tap(TAP)
    assert await world.links.links() == before

    await world.links.ensure_tap(replace(TAP, mtu=1300))
    assert (await world.links.links())[TAP.name].mtu == 1300


async def test_what_is_no_tap_of_this_endpoint_is_a_conflict(world: World) -> None:
    world.make_link(TAP.name)
    with pytest.raises(ConflictError, match=TAP.name):
        await world.links.ensure_tap(TAP)

    other = replace(TAP, name="ovi000000000000")
    world.make_tap(other.name)
    await world.links.ensure_tap(replace(other, alias=names.alias(OWNER, SECOND)))
    with pytest.raises(ConflictError, match="not this endpoint's"):
        await world.links.ensure_tap(other)


async def test_a_tap_of_ours_is_removed_and_one_without_our_mark_stays(world: World) -> None:
    world.make_tap(TAP.name)
    assert await world.links.remove_link(TAP.name) is False
    assert TAP.name in await world.links.links()

    await world.links.ensure_tap(TAP)

    assert await world.links.remove_link(TAP.name) is True
    assert TAP.name not in await world.links.links()
    assert await world.links.remove_link(TAP.name) is False


async def test_a_tap_in_a_container_is_not_there(world: World) -> None:
    world.make_tap(TAP.name)
    await world.links.ensure_tap(TAP)

    world.move(TAP.name, world.sandbox())

    assert TAP.name not in await world.links.links()
    assert await world.links.remove_link(TAP.name) is False


async def test_a_pair_can_be_made_again_right_after_its_removal(world: World) -> None:
    await world.links.ensure_veth(VETH)
    old = (await world.links.links())[VETH.host].index
    await world.links.remove_link(VETH.host)

    await world.links.ensure_veth(VETH)

    found = await world.links.links()
    assert found[VETH.host].index != old
    assert found[VETH.container].mac == VETH.mac


async def test_a_pair_in_use_is_left_to_its_container(world: World) -> None:
    await world.links.ensure_veth(VETH)
    sandbox = world.sandbox()
    world.move(VETH.container, sandbox)

    await world.links.ensure_veth(VETH)

    found = await world.links.links()
    assert found[VETH.host].peer_index is not None
    assert VETH.container not in found


async def test_removing_a_pair_in_use_takes_it_from_the_container(world: World) -> None:
    await world.links.ensure_veth(VETH)
    sandbox = world.sandbox()
    world.move(VETH.container, sandbox)
    await world.links.remove_link(VETH.host)
    await world.links.ensure_veth(replace(VETH, mac=EUI("0a:0f:0a:01:00:07")))  # waits for it

    assert await world.links.ensure_offload(sandbox, VETH.mac, tx=False) is False


async def test_a_gateway_is_settled_as_described(world: World) -> None:
    gateway = the_gateway()
    world.make_tap(gateway.port.name)

    await world.links.ensure_gateway(gateway)

    found = (await world.links.links())[gateway.port.name]
    assert (found.kind, found.up, found.mtu, found.mac) == ("tun", True, 1400, gateway.port.mac)
    assert _without_link_local(found.addresses) == ["10.1.0.1/24", "fd00:1::1/64"]


async def test_a_gateway_that_vswitchd_left_behind_is_removed(world: World) -> None:
    name = the_gateway().port.name
    world.make_tap(name)
    assert not await world.links.remove_link(name)  # not marked: it may be anybody's
    await world.links.ensure_gateway(the_gateway())
    assert await world.links.remove_link(name)
    assert name not in await world.links.links()
    assert not await world.links.remove_link(name)


async def test_a_gateways_addresses_are_replaced_by_what_is_wanted(world: World) -> None:
    gateway = the_gateway()
    world.make_tap(gateway.port.name)
    await world.links.ensure_gateway(gateway)

    wanted = (IPNetwork("10.1.0.2/24"), IPNetwork("10.1.0.3/24"), IPNetwork("10.1.0.1/25"))
    await world.links.ensure_gateway(replace(gateway, addresses=wanted))

    found = (await world.links.links())[gateway.port.name]
    assert _without_link_local(found.addresses) == sorted(str(each) for each in wanted)


async def test_an_address_stays_when_the_one_before_it_in_its_subnet_goes(world: World) -> None:
    gateway = the_gateway()
    world.make_tap(gateway.port.name)
    both = (IPNetwork("10.1.0.1/24"), IPNetwork("10.1.0.2/24"))
    await world.links.ensure_gateway(replace(gateway, addresses=both))

    await world.links.ensure_gateway(replace(gateway, addresses=both[1:]))

    found = (await world.links.links())[gateway.port.name]
    assert list(map(str, found.addresses)) == ["10.1.0.2/24"]


async def test_a_gateway_may_be_up_without_an_address(world: World) -> None:
    gateway = the_gateway()
    world.make_tap(gateway.port.name)

    await world.links.ensure_gateway(replace(gateway, addresses=()))

    found = (await world.links.links())[gateway.port.name]
    assert (found.up, found.addresses) == (True, ())


async def test_a_gateway_whose_name_is_taken_is_a_conflict(world: World) -> None:
    world.make_link(the_gateway().port.name)

    with pytest.raises(ConflictError, match="internal port"):
        await world.links.ensure_gateway(the_gateway())


async def test_a_probing_port_is_up_and_has_no_address(world: World) -> None:
    probe = the_probe()
    world.make_tap(probe.port.name)

    await world.links.ensure_probe(probe)

    found = (await world.links.links())[probe.port.name]
    assert (found.up, found.mtu, found.mac, found.addresses) == (True, 1400, probe.port.mac, ())


async def test_an_address_that_somebody_gave_a_probing_port_is_taken_away(world: World) -> None:
    probe = the_probe()
    world.make_tap(probe.port.name)
    await world.links.ensure_probe(probe)
    world.give_address(probe.port.name, "169.254.7.7/16")
    world.give_address(probe.port.name, "169.254.7.8/16")

    await world.links.ensure_probe(probe)

    assert (await world.links.links())[probe.port.name].addresses == ()


async def test_a_probing_port_whose_name_is_taken_is_a_conflict(world: World) -> None:
    world.make_link(the_probe().port.name)

    with pytest.raises(ConflictError, match="internal port"):
        await world.links.ensure_probe(the_probe())


async def test_a_gateways_subnet_is_a_route(world: World) -> None:
    gateway = the_gateway()
    world.make_tap(gateway.port.name)
    await world.links.ensure_gateway(gateway)

    found = {(str(each.destination), each.link) for each in await world.links.routes(ANYWHERE)}

    assert ("10.1.0.0/24", gateway.port.name) in found
    assert ("fd00:1::/64", gateway.port.name) in found


async def test_a_route_of_the_administrators_is_seen(world: World) -> None:
    world.make_link("lan")
    world.add_route("192.0.2.0/24", "lan")

    route = Route(destination=IPNetwork("192.0.2.0/24"), link="lan")
    for near in ("192.0.2.0/24", "192.0.0.0/8", "192.0.2.128/25", "192.0.2.1/32", "0.0.0.0/0"):
        assert route in await world.links.routes([IPNetwork("fd00::/8"), IPNetwork(near)])
    for far in ("192.0.3.0/24", "193.0.2.0/24", "::/0"):
        assert route not in await world.links.routes([IPNetwork(far)])
    assert route in await world.links.routes_by("lan")
    assert route not in await world.links.routes_by("lo")
    assert not await world.links.routes_by("absent")


async def test_a_default_route_is_a_route_by_its_link_and_near_nothing(world: World) -> None:
    world.make_link("lan")
    world.add_route("0.0.0.0/0", "lan")

    assert "0.0.0.0/0" in {str(each.destination) for each in await world.links.routes_by("lan")}
    for found in (await world.links.routes(ANYWHERE), await world.links.taken(ANYWHERE)):
        assert "0.0.0.0/0" not in {str(each.destination) for each in found}


@pytest.mark.parametrize("kind", [k for k in RouteKind if k.name not in ("UNICAST", "LOCAL")])
async def test_what_the_host_throws_away_is_taken_and_no_route(
    world: World, kind: RouteKind
) -> None:
    world.make_link("lan")
    world.add_route("192.0.2.0/24", "lan")
    world.give_address("lan", "198.51.100.7/32")
    world.throw_away("203.0.113.0/24", kind)

    routes = {str(each.destination) for each in await world.links.routes(ANYWHERE)}
    taken = {
        (str(each.destination), each.kind, each.link) for each in await world.links.taken(ANYWHERE)
    }

    assert "203.0.113.0/24" not in routes
    assert taken >= {
        ("192.0.2.0/24", RouteKind.UNICAST, "lan"),
        ("198.51.100.7/32", RouteKind.LOCAL, "lan"),
        ("203.0.113.0/24", kind, ""),
    }


async def test_a_live_sandbox_is_told_from_a_leftover(world: World) -> None:
    assert await world.links.sandbox_alive(world.sandbox()) is True
    assert await world.links.sandbox_alive(world.leftover()) is False
    assert await world.links.sandbox_alive("/no/such/sandbox") is False


async def test_a_sandbox_is_used_while_a_process_is_in_it(world: World) -> None:
    sandbox = world.sandbox()
    assert await world.links.sandbox_used(sandbox) is False
    world.enter(sandbox)
    async with asyncio.timeout(30):
        while not await world.links.sandbox_used(sandbox):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await world.links.sandbox_used(sandbox, started=True) is True
    assert await world.links.sandbox_used(world.leftover()) is False
    assert await world.links.sandbox_used("/no/such/sandbox") is False


async def test_a_process_that_waits_to_become_the_containers_has_not_started(
    world: World,
) -> None:
    sandbox = world.sandbox()
    world.enter(sandbox, waiting=True)
    async with asyncio.timeout(30):
        while not await world.links.sandbox_used(sandbox):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        while await world.links.sandbox_used(sandbox, started=True):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await world.links.sandbox_used(sandbox) is True


@pytest.mark.parametrize("tx", [False, True])
async def test_the_offload_is_switched_inside_a_sandbox(world: World, tx: bool) -> None:
    world.make_link("br0")  # no tap of a vswitchd with TSO
    await world.links.ensure_veth(replace(VETH, tso_of="br0" if tx else ""))
    sandbox = world.sandbox()
    world.move(VETH.container, sandbox)

    assert await world.links.ensure_offload(sandbox, VETH.mac, tx=tx) is True

    assert world.tx_offload_inside(sandbox, VETH.mac) is tx


async def test_there_is_no_offload_to_switch_in_a_dead_or_empty_sandbox(world: World) -> None:
    for sandbox in (world.sandbox(), world.leftover(), "/no/such/sandbox"):
        assert await world.links.ensure_offload(sandbox, VETH.mac, tx=False) is False


@pytest.mark.parametrize("mtu", [1300, 9000])
async def test_both_ends_of_a_pair_in_use_get_another_mtu(world: World, mtu: int) -> None:
    await world.links.ensure_veth(VETH)
    sandbox = world.sandbox()
    world.move(VETH.container, sandbox)

    assert await world.links.ensure_mtu(replace(VETH, mtu=mtu), sandbox)

    assert world.mtu_inside(sandbox, VETH.mac) == mtu
    host = (await world.links.links())[VETH.host]
    assert (host.mtu, host.up) == (mtu, True)


async def test_a_pair_that_docker_has_not_moved_yet_gets_another_mtu(world: World) -> None:
    await world.links.ensure_veth(VETH)

    assert await world.links.ensure_mtu(replace(VETH, mtu=1300), world.sandbox())

    found = await world.links.links()
    assert (found[VETH.host].mtu, found[VETH.container].mtu) == (1300, 1300)


async def test_the_mtu_of_a_pair_whose_other_end_nobody_finds_is_set_on_what_is_there(
    world: World,
) -> None:
    await world.links.ensure_veth(VETH)
    world.move(VETH.container, world.sandbox())

    assert await world.links.ensure_mtu(replace(VETH, mtu=1300), world.leftover())

    assert (await world.links.links())[VETH.host].mtu == 1300


async def test_nobody_elses_link_and_no_link_gets_another_mtu(world: World) -> None:
    assert not await world.links.ensure_mtu(VETH, world.leftover())
    await world.links.ensure_veth(replace(VETH, alias=names.alias(OWNER, SECOND)))

    assert not await world.links.ensure_mtu(replace(VETH, mtu=1300), world.leftover())

    assert (await world.links.links())[VETH.host].mtu == 1400


@pytest.mark.parametrize("address", ["10.1.0.7/24", "fd00:1::7/64"])
async def test_a_neighbour_is_found_by_its_address(world: World, address: str) -> None:
    await world.links.ensure_veth(VETH)
    held, mac = IPNetwork(address), EUI("02:00:00:00:00:07")
    world.neighbour_behind(VETH.host, held, mac)

    assert await world.links.neighbours(VETH.host, [held.ip], within_s=10) == {held.ip: mac}


async def test_of_many_addresses_those_are_told_that_somebody_has(world: World) -> None:
    await world.links.ensure_veth(VETH)
    held, mac = IPNetwork("10.1.0.7/24"), EUI("02:00:00:00:00:07")
    world.neighbour_behind(VETH.host, held, mac)
    asked = [IPAddress(f"10.1.0.{last}") for last in range(2, 18)]

    assert await world.links.neighbours(VETH.host, asked, within_s=1) == {held.ip: mac}


@pytest.mark.parametrize("address", ["10.1.0.8", "fd00:1::8"])
async def test_nobody_answers_for_a_free_address(world: World, address: str) -> None:
    await world.links.ensure_veth(VETH)
    world.neighbour_behind(VETH.host, IPNetwork("10.1.0.7/24"), EUI("02:00:00:00:00:07"))

    assert await world.links.neighbours(VETH.host, [IPAddress(address)], within_s=0.3) == {}


async def test_asking_on_a_link_that_is_not_there_says_so(world: World) -> None:
    with pytest.raises(UnavailableError, match=ABSENT):
        await world.links.neighbours(ABSENT, [IPAddress("10.1.0.7")], within_s=10)


async def test_tso_of_a_tap_that_nobody_holds_is_unknown(world: World) -> None:
    world.make_tap("br0")

    with pytest.raises(UnavailableError, match="no process holds it"):
        await world.links.tso("br0")
    with pytest.raises(UnavailableError, match="not there"):
        await world.links.tso("br1")


async def test_tso_is_no_matter_of_a_link_that_is_no_tap(world: World) -> None:
    world.make_link("br0")

    assert await world.links.tso("br0") is False


def _without_link_local(addresses: tuple[IPNetwork, ...]) -> list[str]:
    return sorted(str(each) for each in addresses if not each.ip.is_link_local())


async def test_a_bridges_device_is_marked_once_and_then_may_be_removed(world: World) -> None:
    world.make_tap(TAP.name)
    assert await world.links.remove_link(TAP.name) is False

    await world.links.mark_bridge(TAP.name)
    await world.links.mark_bridge(TAP.name)

    marked = (await world.links.links())[TAP.name]
    assert marked.alias == names.bridge_alias(OWNER, TAP.name)
    assert await world.links.remove_link(TAP.name) is True
    assert TAP.name not in await world.links.links()
    await world.links.mark_bridge(TAP.name)


async def test_what_is_no_tap_or_has_an_alias_is_not_marked_as_a_bridges(world: World) -> None:
    world.make_link(VETH.host)
    await world.links.mark_bridge(VETH.host)
    assert (await world.links.links())[VETH.host].alias == ""
    world.make_tap(TAP.name)
    await world.links.ensure_tap(TAP)
    await world.links.mark_bridge(TAP.name)
    assert (await world.links.links())[TAP.name].alias == TAP.alias
