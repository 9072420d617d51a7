"""What every ``Nics`` does: the fake in memory and the kernel's netlink side by side."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Protocol

import pytest

from ovsdriver.adapters.nics import KernelNics
from ovsdriver.domain.uplink_notes import NicState
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Nics
from tests.fakes.links import FakeLinks
from tests.fakes.nics import FakeNics
from tests.integration.netns import own_namespace, run


class World(Protocol):
    nics: Nics

    def make(self, nic: str, *, up: bool) -> None: ...
    def lose(self, nic: str) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.links = FakeLinks()
        self.nics: Nics = FakeNics(self.links)

    def make(self, nic: str, *, up: bool) -> None:
        self.links.add_link(nic, up=up)

    def lose(self, nic: str) -> None:
        self.links.drop_link(nic)


class KernelWorld:
    def __init__(self, nics: KernelNics) -> None:
        self.nics: Nics = nics

    def make(self, nic: str, *, up: bool) -> None:
        run("ip", "link", "add", nic, "type", "veth", "peer", "name", f"{nic}w")
        if up:
            run("ip", "link", "set", nic, "up")

    def lose(self, nic: str) -> None:
        run("ip", "link", "del", nic)


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
    nics = KernelNics(timeout_s=10)
    yield KernelWorld(nics)
    await nics.close()


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
