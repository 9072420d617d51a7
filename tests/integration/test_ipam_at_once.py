"""Two hundred calls at once on the socket of the real process, on one pool and on many."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.integration.netns import Sandbox
from tests.integration.process import PATIENCE_S, Process, made

pytestmark = pytest.mark.netns

AT_ONCE = 200


@pytest.fixture
def process() -> Iterator[Process]:
    with Sandbox() as netns, made(netns.path) as alone:
        alone.start()
        alone.until(lambda: "process.ready" in alone.said(), "the store is open")
        yield alone


async def _asked(
    process: Process, call: str, member: dict[str, Any], ready: asyncio.Barrier
) -> Any:
    reader, writer = await asyncio.open_unix_connection(process.plugin_dir / "ovsipam.sock")
    try:
        body = json.dumps(member).encode()
        head = f"POST /IpamDriver.{call} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        await ready.wait()  # everybody is connected, and nobody has asked
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = answer.partition("content-length: ")[2].partition("\r\n")[0]
        return json.loads(await reader.readexactly(int(length)))
    finally:
        writer.close()


def at_once(process: Process, call: str, members: Sequence[dict[str, Any]]) -> list[Any]:
    """Do calls at once, each on a connection of its own; return the answers in their order."""

    async def all_of_them() -> list[Any]:
        ready = asyncio.Barrier(len(members))
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(_asked(process, call, m, ready) for m in members))

    return asyncio.run(all_of_them())


def pool(process: Process, subnet: str) -> str:
    _, answer = process.ask("IpamDriver.RequestPool", {"Pool": subnet}, name="ovsipam")
    return str(answer["PoolID"])


def held(process: Process) -> dict[str, list[str]]:
    """Return the held addresses by pool, as the command shows them."""
    shown = process.command("ipam", "leases", "--json", *process.flags("run-dir"))
    found: dict[str, list[str]] = {}
    for each in json.loads(shown.stdout):
        found.setdefault(each["lease"]["pool"], []).append(each["lease"]["address"])
    return found


def test_requests_at_once_on_one_pool_get_its_lowest_addresses_and_keep_them(process: Process):
    one = pool(process, "10.77.0.0/16")
    answers = at_once(process, "RequestAddress", [{"PoolID": one}] * AT_ONCE)
    assert process.running is not None
    process.running.kill()
    process.running.wait(PATIENCE_S)
    expected = [f"10.77.0.{last}" for last in range(2, AT_ONCE + 2)]  # .1 is left to a router
    given = {each["Address"].removesuffix("/16") for each in answers}
    assert given == set(expected)
    process.log.unlink()
    process.start()
    process.until(lambda: "process.ready" in process.said(), "the store is open")
    assert held(process) == {one: expected}
    releases = [{"PoolID": one, "Address": each} for each in expected]
    # each twice, as a call may come
    assert at_once(process, "ReleaseAddress", releases * 2) == [{}] * AT_ONCE * 2
    assert held(process) == {}


def test_requests_at_once_on_many_pools_fill_each_from_its_start(process: Process):
    pools = [pool(process, f"10.{second}.0.0/16") for second in range(20)]
    wishes = [{"PoolID": each} for _ in range(AT_ONCE // 20) for each in pools]
    at_once(process, "RequestAddress", wishes)
    assert held(process) == {
        each: [f"10.{second}.0.{last}" for last in range(2, AT_ONCE // 20 + 2)]
        for second, each in enumerate(pools)
    }


def test_more_requests_at_once_than_there_are_addresses_fill_the_pool_exactly(process: Process):
    one = pool(process, "10.77.0.0/25")
    answers = at_once(process, "RequestAddress", [{"PoolID": one}] * AT_ONCE)
    given = [each["Address"] for each in answers if "Address" in each]
    refused = [each["Error"] for each in answers if "Error" in each]
    assert (len(given), len(set(given)), len(refused)) == (125, 125, AT_ONCE - 125)
    assert all("10.77.0.0/25 is full: of its 126 addresses" in each for each in refused)


def test_of_many_who_ask_for_the_same_at_once_one_gets_it(process: Process):
    pools = at_once(process, "RequestPool", [{"Pool": "10.77.0.0/24"}] * AT_ONCE)
    (one,) = [each["PoolID"] for each in pools if "PoolID" in each]
    wish = {"PoolID": one, "Address": "10.77.0.9"}
    answers = at_once(process, "RequestAddress", [wish] * AT_ONCE)
    assert [each["Address"] for each in answers if "Address" in each] == ["10.77.0.9/24"]
    assert held(process) == {one: ["10.77.0.9"]}


def test_automatic_subnets_at_once_are_all_different(process: Process):
    answers = at_once(
        process, "RequestPool", [{"V6": number % 2 == 0} for number in range(AT_ONCE)]
    )
    assert len({each["Pool"] for each in answers}) == AT_ONCE
    for family, mark in (("4", "."), ("6", ":")):
        assert sum(mark in each["Pool"] for each in answers) == AT_ONCE // 2, family
