"""Serves the page until it is told to end."""

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.http import sockets
from ovsdriver.web.asking import Asking
from ovsdriver.web.door import Door
from ovsdriver.web.pages import Pages
from ovsdriver.web.programs import Programs
from ovsdriver.web.watching import Watch

ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a page is to be."""

    run_dir: Path
    flags: Sequence[str]
    """Of captures: where the process is."""
    trace_flags: Sequence[str]
    port: int = 0
    """0: any free one of the loopback's."""
    socket: Path | None = None
    """Listen here instead, behind a reverse proxy that lets in whom it knows."""
    host: str = ""
    """The proxy's name, with ``socket``."""
    write: bool = False


async def serve(wanted: Serving, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called with the link.

    Raises:
        UnavailableError: the port cannot be had.
        ConflictError, ConfigurationError: the socket cannot be had.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    door = Door(write=wanted.write, host=wanted.host)
    asking = Asking(wanted.run_dir)
    pages = Pages(
        asking=asking,
        watch=Watch(asking),
        started=Programs(flags=wanted.flags, trace_flags=wanted.trace_flags),
        door=door,
        write=wanted.write,
    )
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        async with AsyncExitStack() as stack:
            ready(await _listen(runner, wanted, door, stack))
            await ended.wait()
    finally:
        await runner.cleanup()
        await asking.close()


async def _listen(runner: web.AppRunner, wanted: Serving, door: Door, stack: AsyncExitStack) -> str:
    """Listen, and return the link."""
    if wanted.socket is not None:
        # Whoever starts it by systemd says Group=, and that group's proxy may open it.
        listening = sockets.listen(wanted.socket, group=os.getegid())
        stack.callback(listening.remove)
        await web.SockSite(runner, listening.sock).start()
        return f"{wanted.socket}, for https://{wanted.host}/"
    try:
        await web.TCPSite(runner, ADDRESS, wanted.port).start()
    except OSError as error:
        raise _refused(wanted.port, error) from error
    port = runner.addresses[0][1]
    return f"http://{ADDRESS}:{port}/#{door.token}"


def _refused(port: int, error: OSError) -> DriverError:
    if error.errno == errno.EADDRINUSE:
        return UnavailableError(
            f"another program listens on port {port}; name another one with --port, or leave it "
            "out for any that is free"
        )
    return UnavailableError(
        f"cannot listen on port {port}: {error.strerror or error}; name another one with --port"
    )
