"""The port AccessFirewall: a fake, and the host's in a namespace of the test's own."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.domain.access.policy import AccessPlan, Judgement, Member, Policy, Reach
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.access import AccessProtocol, Side
from ovsdriver.ports import AccessFirewall, Verdict
from tests.fakes.access import FakeAccessFirewall
from tests.fakes.firewall import MemoryNotes
from tests.integration.netns import Sandbox, own_namespace, run


@dataclass
class World:
    """A firewall and what others can do to it."""

    firewall: AccessFirewall
    lose: Callable[[], None]
    stands: Callable[[], bool]


@asynccontextmanager
async def fake() -> AsyncIterator[World]:
    firewall = FakeAccessFirewall()
    yield World(firewall, firewall.lose, lambda: bool(firewall.plan.members))


@asynccontextmanager
async def real() -> AsyncIterator[World]:
    with ExitStack() as stack:
        stack.enter_context(own_namespace())
        firewall = HostFirewall(instance="acctest", notes=MemoryNotes())
        watching = asyncio.create_task(firewall.run())
        try:
            yield World(
                firewall.access,
                lambda: run("nft", "flush", "ruleset") and None,
                lambda: "10.66.1.2" in run("nft", "list", "ruleset"),
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


WEB = Reach(
    rule="to 10.1.0.0/16 tcp/443",
    prefix=IPNetwork("10.1.0.0/16"),
    protocol=AccessProtocol.TCP,
    first_port=443,
    last_port=443,
)
ALL_OF_10 = Reach(rule="to 10.0.0.0/8", prefix=IPNetwork("10.0.0.0/8"))
API = Reach(
    rule="to api.example.com tcp/443",
    names=("api.example.com",),
    protocol=AccessProtocol.TCP,
    first_port=443,
    last_port=443,
)
ONE = Policy(key="0" * 11 + "1", to=Judgement(allow=(WEB,), closed=True))
OTHER = Policy(key="0" * 11 + "2", to=Judgement(deny=(ALL_OF_10,), allow=(API,), closed=True))


def member(number: int, policy: Policy, *, gateway: str = "ovg000000000001") -> Member:
    return Member(
        endpoint=EndpointId(f"{number:064x}"),
        network=NetworkId("1" * 64),
        policy=policy.key,
        gateway=gateway,
        mac=EUI(0x02_42_00_00_00_00 + number),
        addresses=(IPAddress(f"10.66.1.{number}"), IPAddress(f"fd66::{number}")),
    )


PLAN = AccessPlan(policies=(ONE, OTHER), members=(member(2, ONE), member(3, OTHER)))


async def test_applying_the_same_plan_again_changes_nothing(world: World) -> None:
    assert await world.firewall.apply(PLAN)
    assert not await world.firewall.apply(PLAN)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(PLAN, members=PLAN.members[:1]), id="a-member-less"),
        pytest.param(replace(PLAN, members=(*PLAN.members, member(4, ONE))), id="a-member-more"),
        pytest.param(replace(PLAN, members=(member(2, OTHER), member(3, OTHER))), id="moved"),
        pytest.param(replace(PLAN, names_port=5353), id="a-name-server"),
        pytest.param(
            replace(PLAN, names_port=5353, names_at=(IPAddress("192.0.2.53"),)), id="a-server-more"
        ),
        pytest.param(AccessPlan(), id="nothing"),
    ],
)
async def test_applying_another_plan_changes_something_once(
    world: World, other: AccessPlan
) -> None:
    await world.firewall.apply(PLAN)
    assert await world.firewall.differs(other)
    assert await world.firewall.apply(other)
    assert not await world.firewall.differs(other)
    assert not await world.firewall.apply(other)


async def test_a_member_without_a_gateway_is_nothing_to_it(world: World) -> None:
    plan = AccessPlan(policies=(ONE,), members=(member(2, ONE, gateway=""),))
    assert not await world.firewall.differs(plan)
    assert not await world.firewall.apply(plan)
    assert not world.stands()


async def test_what_was_lost_is_told_by_a_look_and_made_again(world: World) -> None:
    await world.firewall.apply(PLAN)
    world.lose()
    assert not world.stands()
    assert await world.firewall.differs(PLAN)
    assert not world.stands()
    assert await world.firewall.apply(PLAN)
    assert world.stands()


async def test_removing_twice_succeeds_and_what_was_removed_can_be_made_again(
    world: World,
) -> None:
    await world.firewall.apply(PLAN)
    await world.firewall.remove()
    assert not world.stands()
    await world.firewall.remove()
    assert await world.firewall.apply(PLAN)


async def test_every_rule_is_counted_and_what_no_rule_is_about(world: World) -> None:
    await world.firewall.apply(PLAN)
    counted = [
        (each.policy, each.side, each.verdict, each.rule, each.packets)
        for each in await world.firewall.counts()
    ]
    assert counted == [
        (ONE.key, Side.TO, Verdict.ALLOWED, WEB.rule, 0),
        (ONE.key, Side.TO, Verdict.CLOSED, "", 0),
        (OTHER.key, Side.TO, Verdict.DENIED, ALL_OF_10.rule, 0),
        (OTHER.key, Side.TO, Verdict.ALLOWED, API.rule, 0),
        (OTHER.key, Side.TO, Verdict.CLOSED, "", 0),
    ]


async def test_addresses_are_learnt_twice_and_for_nobody(world: World) -> None:
    learn = world.firewall.learn
    addresses = {IPAddress("203.0.113.1"): 60, IPAddress("2001:db8::1"): 60}
    await world.firewall.apply(PLAN)
    await learn(OTHER.key, ["api.example.com"], addresses)
    await learn(OTHER.key, ["api.example.com"], dict.fromkeys(addresses, 90))
    await learn(OTHER.key, ["www.example.com"], addresses)
    await learn(ONE.key, ["api.example.com"], addresses)
    await learn("f" * 12, ["api.example.com"], addresses)
    assert not await world.firewall.differs(PLAN)


async def test_what_was_learnt_is_told_with_the_time_that_is_left(world: World) -> None:
    assert await world.firewall.learnt() == {}
    await world.firewall.apply(PLAN)
    one, two = IPAddress("203.0.113.1"), IPAddress("2001:db8::1")
    await world.firewall.learn(OTHER.key, ["api.example.com"], {one: 60, two: 90})
    found = await world.firewall.learnt()
    seconds = found[OTHER.key]["api.example.com"]
    assert found.keys() == {OTHER.key}
    assert seconds.keys() == {one, two}
    assert 0 < seconds[one] < seconds[two]
    world.lose()
    await world.firewall.apply(PLAN)
    assert not (await world.firewall.learnt()).get(OTHER.key)


@pytest.mark.netns
@pytest.mark.parametrize("world", [real], indirect=True)
async def test_who_has_answered_whom_is_known_of_connections_that_live(world: World) -> None:
    here, there = IPAddress("127.0.0.1"), IPAddress("127.0.0.2")
    await world.firewall.apply(PLAN)  # nothing is tracked without a rule that asks for it
    run("ip", "address", "add", "127.0.0.2/8", "dev", "lo")
    with socket.create_server((str(there), 7)), socket.create_connection((str(there), 7)):
        assert (here, there) in await world.firewall.answered()
    async with asyncio.timeout(20):
        while (here, there) in await world.firewall.answered():
            pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unheard:
        unheard.sendto(b"", ("127.0.0.3", 7))
        assert (here, IPAddress("127.0.0.3")) not in await world.firewall.answered()


ASK = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(float(sys.argv[2]))
    sock.sendto(b"which", (sys.argv[1], 53))
    print(sock.recv(9).decode())
"""


@pytest.mark.netns
@pytest.mark.parametrize("world", [real], indirect=True)
@pytest.mark.parametrize("listed", [False, True])
async def test_questions_to_any_server_are_led_here_or_dropped_where_others_are_listed(
    world: World, listed: bool
) -> None:
    with Sandbox() as container, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        run("ip", "link", "add", "ovg000000000001", "type", "veth", "peer", "name", "eth0")
        run("ip", "link", "set", "eth0", "netns", container.path)
        run("ip", "address", "add", "10.66.1.1/24", "dev", "ovg000000000001")
        run("ip", "link", "set", "ovg000000000001", "up")
        container.run("ip", "address", "add", "10.66.1.3/24", "dev", "eth0")
        container.run("ip", "link", "set", "eth0", "up")
        container.run("ip", "route", "add", "default", "via", "10.66.1.1")
        server.bind(("10.66.1.1", 0))
        server.setblocking(False)
        servers = (IPAddress("192.0.2.53"),) if listed else ()
        port = server.getsockname()[1]
        await world.firewall.apply(replace(PLAN, names_port=port, names_at=servers))

        async def answered(to: str, *, wait_s: float = 20) -> bool:
            asking = asyncio.create_task(
                asyncio.to_thread(
                    container.run, sys.executable, "-c", ASK, to, str(wait_s), check=False
                )
            )
            loop = asyncio.get_running_loop()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    _, client = await loop.sock_recvfrom(server, 9)
                    await loop.sock_sendto(server, b"here", client)
            return "here" in await asking

        assert await answered("192.0.2.53")
        assert await answered("10.66.1.1")
        assert await answered("192.0.2.99", wait_s=1 if listed else 20) is not listed
