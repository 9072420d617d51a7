"""What every ``Nics`` does: the fake in memory and the kernel's netlink side by side."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Protocol

import pytest
from netaddr import IPAddress

from ovsdriver.adapters.kernel.host.nics import KernelNics
from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.records.uplink_notes import NicState
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Nics
from tests.fakes.links import FakeLinks
from tests.fakes.nics import FakeNics
from tests.integration.netns import own_namespace, run


class World(Protocol):
    nics: Nics

    def make(self, nic: str, *, up: bool) -> None: ...
    def lose(self, nic: str) -> None: ...
    def address(self, link: str, address: str) -> None: ...
    def route(self, link: str, destination: str, gateway: str) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.links = FakeLinks()
        self.fake = FakeNics(self.links)
        self.nics: Nics = self.fake

    def make(self, nic: str, *, up: bool) -> None:
        self.links.add_link(nic, up=up)

    def lose(self, nic: str) -> None:
        self.links.drop_link(nic)

    def address(self, link: str, address: str) -> None:
        self.links.add_address(link, address)

    def route(self, link: str, destination: str, gateway: str) -> None:
        self.fake.add_route(link, destination, gateway)


class KernelWorld:
    def __init__(self, nics: KernelNics) -> None:
        self.nics: Nics = nics

    def make(self, nic: str, *, up: bool) -> None:
        run("ip", "link", "add", nic, "type", "veth", "peer", "name", f"{nic}w")
        if up:
            run("ip", "link", "set", nic, "up")

    def lose(self, nic: str) -> None:
        run("ip", "link", "del", nic)

    def address(self, link: str, address: str) -> None:
        run("ip", "address", "add", address, "dev", link, *(("nodad",) if ":" in address else ()))

    def route(self, link: str, destination: str, gateway: str) -> None:
        run("ip", "route", "add", destination, "via", gateway, "dev", link)


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.netns)])
def kernel(request: pytest.FixtureRequest) -> Iterator[bool]:
    if request.param == "fake":
        yield False
        return
    with own_namespace():
        yield True


@pytest.fixture
async def world(kernel: bool) -> AsyncIterator[World]:
    if not kernel:
        yield FakeWorld()
        return
    netlink = Netlink(timeout_s=10)
    yield KernelWorld(KernelNics(netlink))
    await netlink.close()


@pytest.mark.parametrize("up", [False, True])
async def test_a_nic_is_described_as_it_is(world: World, up: bool) -> None:
    world.make("eth1", up=up)

    state = await world.nics.state("eth1")

    assert state is not None
    assert (state.up, state.arp, state.disable_ipv6) == (up, True, 0)


async def test_a_nic_that_is_taken_is_up_and_the_host_silent_on_it(world: World) -> None:
    world.make("eth1", up=False)

    await world.nics.take("eth1")

    state = await world.nics.state("eth1")
    assert state is not None
    assert state.rp_filter
    assert (state.up, state.arp, state.disable_ipv6) == (True, False, 1)


async def test_a_nic_with_its_cable_pulled_is_down_and_the_host_silent_on_it(world: World) -> None:
    world.make("eth1", up=True)
    for up in (False, False, True, False):
        await world.nics.take("eth1", up=up)
        state = await world.nics.state("eth1")
        assert state is not None
        assert (state.up, state.arp, state.disable_ipv6) == (up, False, 1)


@pytest.mark.parametrize("up", [False, True])
async def test_a_nic_is_given_back_as_it_was(world: World, up: bool) -> None:
    world.make("eth1", up=up)
    before = await world.nics.state("eth1")
    assert before is not None
    await world.nics.take("eth1")
    await world.nics.take("eth1")

    assert await world.nics.give_back("eth1", before) is True
    assert await world.nics.give_back("eth1", before) is True

    assert await world.nics.state("eth1") == before


@pytest.mark.netns
async def test_a_nic_that_the_switch_has_not_let_go_of_is_waited_for_a_moment() -> None:
    with own_namespace():
        netlink = Netlink(timeout_s=10)
        nics = KernelNics(netlink)
        KernelWorld(nics).make("eth1", up=True)
        await nics.let_go("eth1")  # nothing holds it
        await nics.let_go("eth9")  # nor what is not there
        run("ip", "link", "set", "eth1", "promisc", "on")
        waiting = asyncio.create_task(nics.let_go("eth1"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        run("ip", "link", "set", "eth1", "promisc", "off")
        await waiting
        run("ip", "link", "set", "eth1", "promisc", "on")
        await nics.let_go("eth1")  # a switch that is away does not hold anybody up
        await netlink.close()


async def test_what_was_off_before_stays_off(world: World) -> None:
    world.make("eth1", up=False)
    before = await world.nics.state("eth1")
    assert before is not None
    silent = replace(before, arp=False, disable_ipv6=1, rp_filter=2)
    await world.nics.give_back("eth1", silent)

    await world.nics.take("eth1")
    await world.nics.give_back("eth1", silent)

    assert await world.nics.state("eth1") == silent


async def test_a_nic_that_is_not_there_is_said_or_passed_over(world: World) -> None:
    assert await world.nics.state("eth1") is None
    with pytest.raises(UnavailableError, match="eth1"):
        await world.nics.take("eth1")
    world.make("eth1", up=True)
    world.lose("eth1")
    assert await world.nics.give_back("eth1", NicState(up=True)) is False


def furnish(world: World) -> None:
    """Let the host live on eth1, with a second link br1 that is down."""
    world.make("eth1", up=True)
    world.make("br1", up=False)
    for address in ("192.0.2.7/24", "2001:db8::7/64"):
        world.address("eth1", address)
    for destination, gateway in (("default", "192.0.2.1"), ("default", "2001:db8::1")):
        world.route("eth1", destination, gateway)


async def test_what_the_host_has_on_a_link_is_read(world: World) -> None:
    furnish(world)

    held = await world.nics.held("eth1")

    assert [str(each.address) for each in held.addresses] == ["192.0.2.7/24", "2001:db8::7/64"]
    assert all(each.permanent for each in held.addresses)
    assert held.gateways == (IPAddress("192.0.2.1"), IPAddress("2001:db8::1"))
    assert await world.nics.held("br1") == Held()
    assert await world.nics.held("nowhere") == Held()


async def test_the_host_moves_to_another_link_which_is_up_then(world: World) -> None:
    furnish(world)
    held = await world.nics.held("eth1")

    assert list(await world.nics.move(held, source="eth1", target="br1")) == []

    assert await world.nics.held("eth1") == Held()
    moved = await world.nics.held("br1")
    assert moved.lacks(held) == held.lacks(moved) == ()
    assert {each.text for each in moved.routes} == {each.text for each in held.routes}
    state = await world.nics.state("br1")
    assert state is not None
    assert state.up


async def test_a_move_may_be_made_again_and_turned_back(world: World) -> None:
    furnish(world)
    held = await world.nics.held("eth1")
    await world.nics.move(held, source="eth1", target="br1")
    await world.nics.move(held, source="eth1", target="br1")
    there = await world.nics.held("br1")

    await world.nics.move(there, source="br1", target="eth1")

    assert await world.nics.held("br1") == Held()
    back = await world.nics.held("eth1")
    assert held.lacks(back) == back.lacks(held) == ()
    assert {each.text for each in back.routes} == {each.text for each in held.routes}


async def test_what_else_is_on_the_other_link_stays(world: World) -> None:
    furnish(world)
    world.make("lab1", up=True)
    world.address("lab1", "198.51.100.7/24")
    held = await world.nics.held("eth1")

    await world.nics.move(held, source="eth1", target="lab1")
    await world.nics.move(held, source="lab1", target="eth1")

    left = (await world.nics.held("lab1")).addresses
    assert [str(each.address) for each in left] == ["198.51.100.7/24"]


async def test_the_host_comes_back_from_a_link_that_is_gone(world: World) -> None:
    furnish(world)
    held = await world.nics.held("eth1")
    await world.nics.move(held, source="eth1", target="br1")
    world.lose("br1")

    await world.nics.move(held, source="br1", target="eth1")

    assert held.lacks(await world.nics.held("eth1")) == ()


async def test_there_is_nowhere_to_move_to_without_the_other_link(world: World) -> None:
    furnish(world)
    held = await world.nics.held("eth1")

    with pytest.raises(UnavailableError, match="nowhere"):
        await world.nics.move(held, source="eth1", target="nowhere")

    assert await world.nics.held("eth1") == held


async def test_a_boot_is_told_by_the_same_word_each_time(world: World) -> None:
    assert await world.nics.boot() == await world.nics.boot() != ""
