"""The port Firewall: a fake and the host's, in a namespace of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest
from netaddr import IPNetwork

from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.domain.records.model import Mode, NetworkId
from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules
from ovsdriver.ports import Firewall
from tests.fakes.firewall import FakeFirewall, MemoryNotes
from tests.integration.netns import own_namespace, run

PATIENCE_S = 30


@dataclass
class World:
    """A firewall and what others can do to it."""

    firewall: Firewall
    lose: Callable[[], None]
    stands: Callable[[], bool]


@asynccontextmanager
async def fake() -> AsyncIterator[World]:
    firewall = FakeFirewall()
    yield World(firewall, firewall.lose, lambda: bool(firewall.plan.gateways))


@asynccontextmanager
async def real() -> AsyncIterator[World]:
    with ExitStack() as stack:
        stack.enter_context(own_namespace())
        firewall = HostFirewall(instance="fwttest", notes=MemoryNotes())
        watching = asyncio.create_task(firewall.run())
        try:
            yield World(
                firewall,
                lambda: run("nft", "flush", "ruleset") and None,
                lambda: "fwttest" in run("nft", "list", "tables"),
            )
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await firewall.close()


@pytest.fixture(params=[fake, pytest.param(real, marks=pytest.mark.netns)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with request.param() as made:
        yield made


def plan(*numbers: int, masquerade: bool = True) -> FirewallPlan:
    return FirewallPlan(
        gateways=tuple(
            GatewayRules(
                network=NetworkId(f"{number:064x}"),
                link=f"ovg{number:012x}",
                mode=Mode.NAT,
                subnets=(IPNetwork(f"10.66.{number}.0/24"),),
                masquerade=masquerade,
            )
            for number in numbers
        )
    )


async def test_ensuring_the_same_plan_again_changes_nothing(world: World) -> None:
    assert await world.firewall.ensure(plan(1, 2))
    assert not await world.firewall.ensure(plan(1, 2))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(plan(1), id="one-network-less"),
        pytest.param(plan(1, 2, 3), id="one-network-more"),
        pytest.param(plan(1, 2, masquerade=False), id="no-masquerade"),
        pytest.param(replace(plan(1, 2), refuses_names=True), id="no-names"),
    ],
)
async def test_ensuring_another_plan_changes_something_once(
    world: World, other: FirewallPlan
) -> None:
    await world.firewall.ensure(plan(1, 2))
    assert await world.firewall.ensure(other)
    assert not await world.firewall.ensure(other)


async def test_what_would_be_changed_is_told_and_not_changed(world: World) -> None:
    assert not await world.firewall.differs(FirewallPlan())
    assert await world.firewall.differs(plan(1))
    assert not world.stands()
    await world.firewall.ensure(plan(1))
    assert not await world.firewall.differs(plan(1))
    assert await world.firewall.differs(plan(1, 2))
    assert await world.firewall.differs(FirewallPlan())
    world.lose()
    assert await world.firewall.differs(plan(1))
    assert not world.stands()
    assert await world.firewall.ensure(plan(1)), "what only looks has not settled it"


async def test_without_gateways_nothing_stands(world: World) -> None:
    assert not await world.firewall.ensure(FirewallPlan())
    assert not world.stands()
    await world.firewall.ensure(plan(1))
    assert world.stands()
    assert await world.firewall.ensure(FirewallPlan(outside_bridges=("br0",)))
    assert not world.stands()


async def test_removing_twice_succeeds_and_what_was_removed_can_be_made_again(
    world: World,
) -> None:
    await world.firewall.ensure(plan(1))
    await world.firewall.remove()
    assert not world.stands()
    await world.firewall.remove()
    assert await world.firewall.ensure(plan(1))


async def test_a_loss_is_told_and_what_was_lost_is_made_again(world: World) -> None:
    told = asyncio.Event()
    world.firewall.on_loss(told.set)
    await world.firewall.ensure(plan(1))
    await settled(told)
    world.lose()
    assert not world.stands()
    async with asyncio.timeout(PATIENCE_S):
        await told.wait()
    assert await world.firewall.ensure(plan(1))
    assert world.stands()
    assert not await world.firewall.ensure(plan(1))


async def test_ensuring_many_plans_at_once_ends_with_the_last(world: World) -> None:
    plans = [plan(*range(1, number)) for number in range(2, 30)]
    await asyncio.gather(*(world.firewall.ensure(each) for each in plans))
    assert not await world.firewall.ensure(plans[-1])


async def test_a_host_without_other_firewalls_has_no_findings(world: World) -> None:
    await world.firewall.ensure(plan(1))
    assert not await world.firewall.findings()


async def settled(told: asyncio.Event) -> None:
    """Wait until what we did ourselves has been heard of, if it is, and forget it."""
    await asyncio.sleep(0.5)
    told.clear()
