"""What a daemon says again at its start, as recorded, to the real IPAM."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from netaddr import IPNetwork

from ipam import DefaultPool, Ipam, OverlapError
from ovsdriver.docker import methods
from ovsdriver.words.fields import Fields
from tests.fakes.leases import FakeLeaseStore
from tests.unit.ipam.conftest import Host
from tests.unit.wire.conversation import WIRE, Recorded, calls

REPLAYS = sorted(WIRE.glob("*-replay.jsonl"))
LAB = {"AddressSpace": "ovsnet", "Pool": "10.150.0.0/24", "SubPool": "", "V6": False}
GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}


class Driver:
    """One IPAM driver's table above the real IPAM, and a daemon that answers or not."""

    def __init__(self, ipam: Ipam) -> None:
        self.ipam = ipam
        self.daemon_answers = False
        backend = methods.Backend()
        services: Any = methods.Services(
            networks=None,  # type: ignore[arg-type]
            endpoints=NoEndpoints(),  # type: ignore[arg-type]
            ipam=ipam,
            daemon_answers=lambda: self.daemon_answers,
        )
        backend.ready(services)
        self.calls = methods.ipam_only(backend)

    async def say(self, call: str, **body: object) -> Mapping[str, Any]:
        return await self.calls[call].answer(Fields(body))

    async def begin(self) -> None:
        """A daemon starts."""
        self.daemon_answers = False
        await self.say("Plugin.Activate")

    async def lab(self) -> tuple[str, str]:
        """Make a network with a container; returns its pool and the container's address."""
        await self.begin()
        self.daemon_answers = True
        pool = (await self.say("IpamDriver.RequestPool", **LAB))["PoolID"]
        await self.say("IpamDriver.RequestAddress", PoolID=pool, Address="", Options=GATEWAY)
        given = await self.say("IpamDriver.RequestAddress", PoolID=pool, Address="", Options={})
        return pool, given["Address"].partition("/")[0]

    def held(self) -> int:
        return sum(self.ipam.usage(pool.id).held for pool in self.ipam.pools())


class NoEndpoints:
    async def release(self, *_: object) -> None:
        """Docker's own network driver has them."""


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    ipam = await Ipam.load(
        FakeLeaseStore(),
        defaults=(DefaultPool(base=IPNetwork("10.77.0.0/16"), size=24),),
        surroundings=Host(),
        clock=lambda: 1_700_000_000.0,
    )
    yield Driver(ipam)
    await ipam.close()


class Conversation:
    """A recording's calls with our ids in the place of the recorded plugin's."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.pools: dict[str, str] = {}
        self.addresses: dict[str, str] = {}

    async def play(self, call: Recorded) -> Mapping[str, Any]:
        body = dict(call.body) if isinstance(call.body, dict) else {}
        if "PoolID" in body:
            body["PoolID"] = self.pools[body["PoolID"]]
        if "AddressSpace" in body:
            body["AddressSpace"] = "ovsnet"
        for member in ("Pool", "Address"):
            body[member] = self.addresses.get(body.get(member, ""), body.get(member, ""))
        answer = await self.driver.say(call.call, **body)
        recorded = call.answer
        assert isinstance(recorded, dict)
        if call.call == "IpamDriver.RequestPool":
            self.pools[recorded["PoolID"]] = answer["PoolID"]
            self.addresses[recorded["Pool"]] = answer["Pool"]
        elif call.call == "IpamDriver.RequestAddress":
            theirs, ours = (each["Address"].partition("/")[0] for each in (recorded, answer))
            self.addresses[theirs] = ours
        return answer


def is_new(call: Recorded) -> bool:
    """Whether a container starts: a replay names every address."""
    body = call.body if isinstance(call.body, dict) else {}
    return call.call == "IpamDriver.RequestAddress" and not body["Address"]


@pytest.mark.parametrize("recording", REPLAYS, ids=lambda each: each.stem)
async def test_a_recorded_replay_gets_what_it_had_and_nothing_is_counted_twice(driver, recording):
    made = [call for call in calls(recording) if call.socket == "recipam"]
    starts = [n for n, call in enumerate(made) if call.call == "Plugin.Activate"]
    assert len(starts) == 2
    conversation = Conversation(driver)
    for call in made[: starts[1]]:
        driver.daemon_answers = True
        await conversation.play(call)
    held, pools = driver.held(), list(driver.ipam.pools())
    assert held >= 2
    driver.daemon_answers = False
    before, replayed = dict(conversation.pools), 0
    for call in made[starts[1] :]:
        if call.call == "IpamDriver.ReleaseAddress" or is_new(call):
            break
        await conversation.play(call)
        replayed += call.call.startswith("IpamDriver.Request")
        assert (driver.held(), list(driver.ipam.pools())) == (held, pools)
    assert replayed >= 4
    assert conversation.pools == before


async def test_a_second_network_with_the_same_subnet_is_no_replay(driver):
    await driver.lab()
    with pytest.raises(Exception, match=r"overlaps 10\.150\.0\.0/24"):
        await driver.say("IpamDriver.RequestPool", **LAB)


async def test_each_pool_and_each_lease_is_said_again_once(driver):
    pool, address = await driver.lab()
    await driver.begin()
    assert (await driver.say("IpamDriver.RequestPool", **LAB))["PoolID"] == pool
    with pytest.raises(Exception, match="is the gateway"):
        await driver.say("IpamDriver.RequestAddress", PoolID=pool, Address="10.150.0.1")
    again = {"PoolID": pool, "Address": address}
    await driver.say("IpamDriver.RequestAddress", **again)
    with pytest.raises(Exception, match="is held by a container"):
        await driver.say("IpamDriver.RequestAddress", **again)
    with pytest.raises(Exception, match="overlaps"):
        await driver.say("IpamDriver.RequestPool", **LAB)
    assert driver.held() == 2


async def test_once_the_daemon_answers_nothing_is_a_replay(driver):
    pool, address = await driver.lab()
    await driver.begin()
    await driver.say("IpamDriver.RequestPool", **LAB)
    driver.daemon_answers = True
    with pytest.raises(Exception, match="is held by a container"):
        await driver.say("IpamDriver.RequestAddress", PoolID=pool, Address=address)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"SubPool": "10.150.0.128/25"}, id="another range"),
        pytest.param({"Pool": "10.150.0.0/25"}, id="a part of the subnet"),
        pytest.param({"AddressSpace": "blue"}, id="another space"),
        pytest.param({"Pool": ""}, id="any subnet"),
    ],
)
async def test_a_request_for_something_else_ends_the_replay(driver, other):
    await driver.lab()
    await driver.begin()
    with suppress(OverlapError):
        answer = await driver.say("IpamDriver.RequestPool", **LAB | other)
        assert len(driver.ipam.pools()) == 2
        await driver.say("IpamDriver.ReleasePool", PoolID=answer["PoolID"])
    with pytest.raises(Exception, match="overlaps"):
        await driver.say("IpamDriver.RequestPool", **LAB)
