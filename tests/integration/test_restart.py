"""The process is restarted under load, as an upgrade does it, and no call is lost."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from tests.integration.dockerd_client import load
from tests.integration.netns import Sandbox
from tests.integration.process import Process, made

pytestmark = pytest.mark.netns

CALLERS = 24
RESTARTS = 3
SUBNET = "10.77.0.0/24"


@pytest.fixture
def process() -> Iterator[Process]:
    with Sandbox() as netns, made(netns.path) as alone:
        yield alone


@pytest.fixture
def passed(process: Process) -> Iterator[Process]:
    """One that gets its sockets passed, as systemd does it, which keeps them."""
    process.plugin_dir.mkdir()
    with ExitStack() as stack:
        for name in ("ovsnet", "ovsipam"):
            sock = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
            sock.bind(str(process.plugin_dir / f"{name}.sock"))
            sock.listen(1024)
            process.passed.append(sock)
        yield process


def test_restarts_under_load_lose_no_call_where_the_sockets_are_kept(passed: Process):
    no_call_is_lost(passed)


def test_restarts_under_load_lose_no_call_where_the_sockets_are_made_anew(process: Process):
    no_call_is_lost(process)


def no_call_is_lost(process: Process) -> None:
    process.start()
    _, answer = process.ask("IpamDriver.RequestPool", {"Pool": SUBNET, "Options": {}})
    path, kept = process.plugin_dir / "ovsipam.sock", bool(process.passed)
    with load(path, answer["PoolID"], CALLERS, lenient=not kept) as callers:
        for _ in range(RESTARTS):
            before = [caller.calls for caller in callers]
            process.until(
                lambda seen=before: all(  # type: ignore[misc]
                    caller.fault or caller.calls > least + 5
                    for caller, least in zip(callers, seen, strict=True)
                ),
                "all callers are at work",
            )
            assert process.stop() == 0
            process.log.unlink()
            process.start()
    assert [caller.fault for caller in callers if caller.fault] == []
    assert "request is empty" not in process.said()
    assert process.stop() == 0
    held = [address for caller in callers for address in caller.held]
    assert len(held) == len(set(held)), "given twice"
    assert asyncio.run(_stored(process.store, answer["PoolID"])) == set(held)


async def _stored(path: Path, pool: str) -> set[str]:
    database = await Database.open(path)
    try:
        store = SqliteLeases(database)
        await store.load()
        return {str(lease.address) for lease in await store.leases(pool)}
    finally:
        await database.close()
