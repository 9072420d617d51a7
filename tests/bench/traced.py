"""Program: ``python -m ovsdriver``, which also notes when it was busy with what.

What it noted is written to the file in BENCH_SPANS at its end, as a JSON list of
``[what, begin, end]`` in seconds of the monotonic clock, which is the same in all processes.
"""

import atexit
import json
import os
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

from ovsdriver.__main__ import main
from ovsdriver.adapters.kernel.netlink import NetlinkThread
from ovsdriver.adapters.ovs.rows.switch import OvsSwitch
from ovsdriver.adapters.ovsdb import client
from ovsdriver.adapters.store.database import Database
from ovsdriver.http.connection import PlainConnection
from tests.bench.where import CALL, NETLINK, OVSDB, STORE, VSWITCHD, WAITING

spans: list[tuple[str, float, float]] = []
began: dict[int, float] = {}


def running(what: str, owner: type, name: str) -> None:
    """Note each run of a function."""
    inner: Callable[..., Any] = getattr(owner, name)

    @wraps(inner)
    def outer(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        try:
            return inner(*arguments, **named)
        finally:
            spans.append((what, begin, time.perf_counter()))

    setattr(owner, name, outer)


def awaited(what: str, owner: type, name: str) -> None:
    """Note each run of a coroutine, its waits included."""
    inner: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @wraps(inner)
    async def outer(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        try:
            return await inner(*arguments, **named)
        finally:
            spans.append((what, begin, time.perf_counter()))

    setattr(owner, name, outer)


def handed_over(owner: type, name: str) -> None:
    """Note each future's time, from its making until it has a result."""
    inner: Callable[..., Any] = getattr(owner, name)

    @wraps(inner)
    def outer(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        future = inner(*arguments, **named)
        future.add_done_callback(lambda _: spans.append((WAITING, begin, time.perf_counter())))
        return future

    setattr(owner, name, outer)


def calls() -> None:
    """Note each call, from its first byte until its answer is given to the kernel."""
    received, answered = PlainConnection.data_received, PlainConnection._answered

    def receive(self: PlainConnection, data: bytes) -> None:
        began[id(self)] = time.perf_counter()
        received(self, data)

    def answer(self: PlainConnection, given: Any) -> None:
        answered(self, given)
        spans.append((CALL, began[id(self)], time.perf_counter()))

    PlainConnection.data_received = receive  # type: ignore[method-assign]
    PlainConnection._answered = answer  # type: ignore[method-assign]


if __name__ == "__main__":
    calls()
    running(STORE, Database, "_commit")
    handed_over(Database, "write")
    running(NETLINK, NetlinkThread, "_with_socket")
    handed_over(NetlinkThread, "call")
    awaited(OVSDB, client._Session, "transact")
    awaited(VSWITCHD, OvsSwitch, "_taken")
    atexit.register(lambda: Path(os.environ["BENCH_SPANS"]).write_text(json.dumps(spans)))
    main()
