import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ovsdriver.adapters import systemd
from ovsdriver.adapters.systemd import Supervisor


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager, at ``manager.sock``."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "manager.sock"))
        sock.setblocking(False)
        yield sock


def supervised(tmp_path: Path, **more: str) -> Supervisor:
    return Supervisor({"NOTIFY_SOCKET": str(tmp_path / "manager.sock"), **more})


async def heard(manager: socket.socket) -> str:
    async with asyncio.timeout(60):
        return (await asyncio.get_running_loop().sock_recv(manager, 4096)).decode()


async def first_report(subject: Supervisor, manager: socket.socket, state: str = "fine") -> str:
    task = asyncio.create_task(subject.run(lambda: state))
    try:
        return await heard(manager)
    finally:
        task.cancel()


async def test_the_manager_hears_when_we_serve_and_when_we_end(tmp_path, manager):
    subject = supervised(tmp_path)
    await subject.ready()
    await subject.stopping()
    assert [await heard(manager), await heard(manager)] == ["READY=1", "STOPPING=1"]


async def test_signs_of_life_come_twice_in_the_time_of_the_watchdog(tmp_path, manager):
    subject = supervised(tmp_path, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()))
    task = asyncio.create_task(subject.run(lambda: "fine"))
    try:
        for _ in range(5):
            assert await heard(manager) == "WATCHDOG=1\nSTATUS=fine"
    finally:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "watchdog",
    [
        pytest.param({}, id="none"),
        pytest.param({"WATCHDOG_USEC": "0"}, id="switched-off"),
        pytest.param({"WATCHDOG_USEC": "soon"}, id="no-number"),
        pytest.param({"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}, id="of-another-process"),
    ],
)
async def test_without_a_watchdog_only_the_state_is_told(tmp_path, manager, watchdog):
    subject = supervised(tmp_path, **watchdog)
    assert await first_report(subject, manager) == "STATUS=fine"


async def test_a_state_cannot_give_orders_to_the_manager(tmp_path, manager):
    state = 'network "x\nMAINPID=1\r\x1b[2J\u2028" is lost'
    told = await first_report(supervised(tmp_path), manager, state)
    assert told == 'STATUS=network "x MAINPID=1  [2J " is lost'


async def test_an_abstract_socket_is_reached(tmp_path):
    name = f"ovsnet-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(f"\0{name}")
        sock.setblocking(False)
        await Supervisor({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert await heard(sock) == "READY=1"


@pytest.mark.parametrize("said", ["", "relative.sock", "vsock:2:1"])
async def test_without_a_manager_nothing_is_told(said, caplog: pytest.LogCaptureFixture):
    await Supervisor({"NOTIFY_SOCKET": said} if said else {}).ready()
    assert not caplog.records


async def test_a_manager_that_is_gone_is_noted_and_harms_nobody(
    tmp_path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    await supervised(tmp_path).ready()
    assert [record.msg for record in caplog.records] == ["supervisor.unheard"]


async def test_a_manager_with_a_full_queue_is_told_when_it_has_room(
    tmp_path, manager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(systemd, "_STEP_S", 0.01)
    monkeypatch.setattr(systemd, "_TRIES", 6000)
    full = 0
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other:
        other.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                other.sendto(b"noise", str(tmp_path / "manager.sock"))
                full += 1
    telling = asyncio.create_task(supervised(tmp_path).ready())
    await asyncio.sleep(0)
    assert not telling.done()
    told = [await heard(manager) for _ in range(full + 1)]
    assert told[-1] == "READY=1"
    await telling
