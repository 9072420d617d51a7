"""What every ``Sandboxes`` does: the fake in memory and the kernel's namespaces side by side."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.domain.records.model import Way
from ovsdriver.domain.wires import sandbox_link
from ovsdriver.domain.wires.plumbing import Tap, Veth
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.domain.wires.ways import WayChange
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import Links, Sandboxes
from tests.builders import OWNER, TAP, VETH, a_network, an_endpoint
from tests.fakes.links import FakeLinks, FakeSandbox
from tests.integration.netns import Sandbox, own_namespace, run
from tests.integration.taps import held_tap


class World(Protocol):
    """What surrounds the sandboxes: other people, Docker and vswitchd."""

    links: Links
    sandboxes: Sandboxes

    def sandbox(self) -> str: ...
    def leftover(self) -> str: ...
    def make_tap(self, name: str) -> None: ...
    def let_go(self, name: str) -> None: ...
    def move(self, link: str, sandbox: str) -> None: ...
    def delete(self, link: str) -> None: ...
    def make_link_inside(self, sandbox: str, name: str) -> None: ...
    def inside(self, sandbox: str) -> set[str]: ...
    def put_route(self, sandbox: str, way: Way) -> None: ...
    def routes(self, sandbox: str) -> set[Way]: ...


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeLinks(owner=OWNER)
        self.links: Links = self.fake
        self.sandboxes: Sandboxes = self.fake

    def sandbox(self) -> str:
        self.fake.sandboxes["/sandbox"] = FakeSandbox()
        return "/sandbox"

    def leftover(self) -> str:
        self.fake.sandboxes["/leftover"] = FakeSandbox(alive=False)
        return "/leftover"

    def make_tap(self, name: str) -> None:
        self.fake.add_tap(name)

    def let_go(self, name: str) -> None:
        self.fake.let_go(name)

    def move(self, link: str, sandbox: str) -> None:
        self.fake.move(link, sandbox)

    def delete(self, link: str) -> None:
        self.fake.drop_link(link)

    def make_link_inside(self, sandbox: str, name: str) -> None:
        self.fake.add_inside(sandbox, name)

    def inside(self, sandbox: str) -> set[str]:
        return set(self.fake.sandboxes[sandbox].links)

    def put_route(self, sandbox: str, way: Way) -> None:
        self.fake.sandboxes[sandbox].links["eth0"].routes[way] = False

    def routes(self, sandbox: str) -> set[Way]:
        return set(self.fake.sandboxes[sandbox].links["eth0"].routes)


class KernelWorld:
    def __init__(self, kernel: Kernel, folder: Path, undo: ExitStack) -> None:
        self.links: Links = kernel.links
        self.sandboxes: Sandboxes = kernel.sandboxes
        self._folder = folder
        self._undo = undo
        self._made: dict[str, Sandbox] = {}
        self._held: dict[str, int] = {}

    def sandbox(self) -> str:
        made = self._undo.enter_context(Sandbox())
        self._made[made.path] = made
        return made.path

    def leftover(self) -> str:
        path = self._folder / "4a1e0c7d9b22"
        path.touch()
        return str(path)

    def make_tap(self, name: str) -> None:
        self._held[name] = held_tap(name)

    def let_go(self, name: str) -> None:
        os.close(self._held.pop(name))

    def close(self) -> None:
        for name in tuple(self._held):
            self.let_go(name)

    def move(self, link: str, sandbox: str) -> None:
        made = self._made[sandbox]
        run("ip", "link", "set", link, "netns", sandbox)
        made.run("ip", "link", "set", link, "name", "eth0")
        made.run("ip", "link", "set", "eth0", "up")

    def delete(self, link: str) -> None:
        run("ip", "link", "del", link)

    def make_link_inside(self, sandbox: str, name: str) -> None:
        self._made[sandbox].run("ip", "link", "add", "name", name, "type", "bridge")

    def inside(self, sandbox: str) -> set[str]:
        listed = self._made[sandbox].described("ip", "-json", "link", "show")
        return {each["ifname"] for each in listed} - {"lo"}

    def put_route(self, sandbox: str, way: Way) -> None:
        self._made[sandbox].run("ip", "route", "add", str(way.to), "via", str(way.via))

    def routes(self, sandbox: str) -> set[Way]:
        return {
            _way(each["dst"], each["gateway"])
            for family in (4, 6)
            for each in self._made[sandbox].described("ip", f"-{family}", "-json", "route", "show")
            if "gateway" in each
        }


def _way(to: str, via: str) -> Way:
    gateway = IPAddress(via)
    anywhere = "0.0.0.0/0" if gateway.version == 4 else "::/0"
    return Way(to=IPNetwork(anywhere if to == "default" else to), via=gateway)


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
    real = Kernel(owner=OWNER, timeout_s=30)
    with ExitStack() as undo:
        made = KernelWorld(real, tmp_path, undo)
        undo.callback(made.close)
        yield made
        await real.close()


async def pair_inside(world: World) -> str:
    """Do what Join and Docker do with a veth pair; returns the sandbox."""
    sandbox = world.sandbox()
    await world.links.ensure_veth(VETH)
    world.move(VETH.container, sandbox)
    return sandbox


async def tap_inside(world: World) -> str:
    """Do what Join and Docker do with an internal port; returns the sandbox."""
    sandbox = world.sandbox()
    world.make_tap(TAP.name)
    await world.links.ensure_tap(TAP)
    world.move(TAP.name, sandbox)
    return sandbox


async def seen(world: World, sandbox: str, link: Veth | Tap) -> SandboxLink:
    found = await world.sandboxes.look(sandbox, link)
    assert found is not None
    return found.link


@pytest.mark.parametrize("put_inside", [pair_inside, tap_inside])
async def test_a_link_in_its_container_is_seen_as_it_is(world: World, put_inside) -> None:
    link = VETH if put_inside is pair_inside else TAP
    sandbox = await put_inside(world)
    found = await world.sandboxes.look(sandbox, link)
    assert found is not None
    assert found.attached
    assert (found.link.sandbox, found.link.name, found.link.up) == (sandbox, "eth0", True)
    assert (found.link.mac, found.link.mtu) == (link.mac, 1400)
    assert await world.sandboxes.look(sandbox, link, found.link) == found


async def test_what_docker_has_yet_to_move_is_not_seen(world: World) -> None:
    await world.links.ensure_veth(VETH)
    world.make_tap(TAP.name)
    await world.links.ensure_tap(TAP)
    sandbox = world.sandbox()
    for link in (VETH, TAP):
        assert await world.sandboxes.look(sandbox, link) is None


async def test_nothing_is_seen_in_a_dead_sandbox_or_of_another_endpoint(world: World) -> None:
    for dead in (world.leftover(), "/no/such/sandbox"):
        assert await world.sandboxes.look(dead, VETH) is None
        assert await world.sandboxes.look(dead, TAP) is None
    sandbox = await tap_inside(world)
    assert await world.sandboxes.look(sandbox, replace(TAP, alias="ovsnet endpoint f2")) is None


async def test_a_destroyed_pair_is_made_again_as_it_was(world: World) -> None:
    sandbox = await pair_inside(world)
    noted = await seen(world, sandbox, VETH)
    world.delete(VETH.host)
    assert await world.sandboxes.look(sandbox, VETH, noted) is None
    await world.links.ensure_veth(VETH)

    for _ in range(2):
        assert await world.sandboxes.restore(sandbox, VETH, noted) == ()

        found = await world.sandboxes.look(sandbox, VETH, noted)
        assert found is not None
        assert (found.link, found.attached) == (noted, True)
        assert world.inside(sandbox) == {"eth0"}
    assert VETH.container not in await world.links.links()


async def test_a_dead_tap_is_replaced_by_the_one_that_vswitchd_made_anew(world: World) -> None:
    sandbox = await tap_inside(world)
    noted = await seen(world, sandbox, TAP)
    world.let_go(TAP.name)
    dead = await world.sandboxes.look(sandbox, TAP, noted)
    assert dead is not None
    assert (dead.link, dead.attached) == (noted, False)
    world.make_tap(TAP.name)
    await world.links.ensure_tap(TAP)

    for _ in range(2):
        assert await world.sandboxes.restore(sandbox, TAP, noted) == ()

        found = await world.sandboxes.look(sandbox, TAP, noted)
        assert found is not None
        assert (found.link, found.attached) == (noted, True)
        assert world.inside(sandbox) == {"eth0"}
    assert TAP.name not in await world.links.links()


async def test_a_tap_that_nobody_holds_replaces_nothing(world: World) -> None:
    sandbox = await tap_inside(world)
    noted = await seen(world, sandbox, TAP)
    world.let_go(TAP.name)
    world.make_tap(TAP.name)
    await world.links.ensure_tap(TAP)
    world.let_go(TAP.name)

    with pytest.raises(UnavailableError, match="no process holds"):
        await world.sandboxes.restore(sandbox, TAP, noted)

    dead = await world.sandboxes.look(sandbox, TAP, noted)
    assert dead is not None
    assert dead.link == noted
    assert TAP.name in await world.links.links()


async def test_a_name_that_is_taken_by_now_is_a_conflict_and_nothing_is_moved(
    world: World,
) -> None:
    sandbox = await pair_inside(world)
    noted = await seen(world, sandbox, VETH)
    world.delete(VETH.host)
    world.make_link_inside(sandbox, "eth0")
    await world.links.ensure_veth(VETH)

    with pytest.raises(ConflictError, match="eth0"):
        await world.sandboxes.restore(sandbox, VETH, noted)

    assert VETH.container in await world.links.links()
    assert world.inside(sandbox) == {"eth0"}


async def test_there_must_be_a_device_and_a_place_to_put_it(world: World) -> None:
    sandbox = await pair_inside(world)
    noted = await seen(world, sandbox, VETH)
    world.delete(VETH.host)
    with pytest.raises(UnavailableError, match="nothing to put back"):
        await world.sandboxes.restore(sandbox, VETH, noted)
    await world.links.ensure_veth(VETH)
    for dead in (world.leftover(), "/no/such/sandbox"):
        with pytest.raises(UnavailableError, match="gone"):
            await world.sandboxes.restore(dead, VETH, replace(noted, sandbox=dead))
    assert VETH.container in await world.links.links()


@pytest.mark.parametrize("taken", ["eth0", "eth1"])
async def test_what_was_never_seen_gets_the_first_free_name(world: World, taken: str) -> None:
    network = a_network(mtu=1400)
    endpoint = an_endpoint(mac=VETH.mac, mtu=1400, addresses=(IPNetwork("10.1.0.2/24"),))
    sandbox = world.sandbox()
    world.make_link_inside(sandbox, taken)
    await world.links.ensure_veth(VETH)
    wanted = sandbox_link.never_seen(network, endpoint, sandbox=sandbox, prefix="eth")

    for _ in range(2):
        assert await world.sandboxes.restore(sandbox, VETH, wanted) == ()

        assert world.inside(sandbox) == {"eth0", "eth1"}
        found = await seen(world, sandbox, VETH)
        assert {found.name, taken} == {"eth0", "eth1"}
        assert (found.mac, found.mtu, found.up) == (VETH.mac, 1400, True)
        assert [str(each.address) for each in found.held.addresses] == ["10.1.0.2/24"]
        assert (found.gateways, found.on_link, found.restoring) == ((), (), False)


async def test_what_a_tap_in_a_sandbox_has_counted_is_told_by_its_mark(world: World) -> None:
    sandbox = await tap_inside(world)
    there = await world.sandboxes.measured({TAP.alias: sandbox})
    assert there[TAP.alias].up
    assert there[TAP.alias].traffic.received_packets == 0
    world.let_go(TAP.name)
    assert not (await world.sandboxes.measured({TAP.alias: sandbox}))[TAP.alias].up


async def test_what_is_in_no_sandbox_has_counted_nothing(world: World) -> None:
    sandbox = await tap_inside(world)
    dead = {"nobody's mark": sandbox, TAP.alias: world.leftover(), "another": "/no/such/file"}
    assert await world.sandboxes.measured(dead) == {}


@pytest.mark.parametrize("put_inside", [pair_inside, tap_inside])
async def test_routes_of_a_link_become_what_they_should_be_and_others_stay(
    world: World, kernel: bool, put_inside
) -> None:
    link = VETH if put_inside is pair_inside else TAP
    nothing = WayChange(put=(), take=())
    assert await world.sandboxes.settle_ways("/no/such/sandbox", link, nothing) is None
    assert await world.sandboxes.settle_ways(world.sandbox(), link, nothing) is None
    sandbox = await put_inside(world)
    if kernel:
        for address in ("10.1.0.5/24", "fd00:1::5/64"):
            command = ("ip", "address", "add", address, "dev", "eth0", "nodad")
            world._made[sandbox].run(*command)  # type: ignore[attr-defined]
    theirs, told = _way("10.70.0.0/16", "10.1.0.7"), _way("10.60.0.0/16", "10.1.0.9")
    docker, ours = _way("default", "10.1.0.1"), _way("default", "10.1.0.2")
    six, eight = _way("fd51::/48", "fd00:1::9"), _way("10.80.0.0/16", "10.1.0.9")
    for each in (theirs, told, docker):
        world.put_route(sandbox, each)

    async def settle(*put: Way, take: tuple[Way, ...] = ()) -> bool:
        change = WayChange(put=put, take=take)
        told = await world.sandboxes.settle_ways(sandbox, link, change, dry=True)
        done = await world.sandboxes.settle_ways(sandbox, link, change)
        assert done is told
        return bool(done)

    assert await settle(told, six, eight, ours)
    assert world.routes(sandbox) == {theirs, told, docker, six, eight, ours}
    assert not await settle(told, six, eight, ours)
    # one that was told and one of ours go, and one to the same place comes
    other = _way("10.80.0.0/16", "10.1.0.8")
    assert await settle(six, other, take=(told, docker))
    assert world.routes(sandbox) == {theirs, six, other}
    assert await settle()
    assert world.routes(sandbox) == {theirs}
    assert not await settle()
    # somebody else's to the same place stands in the way
    barred = WayChange(put=(_way("10.70.0.0/16", "10.1.0.9"),), take=())
    await world.sandboxes.settle_ways(sandbox, link, barred)
    assert world.routes(sandbox) == {theirs}
