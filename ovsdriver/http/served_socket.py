"""A socket that is served, and how it and its connections are left without losing a call."""

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

UNUSED_S = 1.0
"""Age from which a connection without a request is one that its caller keeps in store, and not
one whose first request is on its way."""

_TURNS = 3
"""Of the event loop, from taking a connection to its transport (asyncio, selector_events.py); a
server that is closed meanwhile would drop it."""


def stop_reading(transport: asyncio.Transport) -> None:
    """Let nothing more be sent on a connection; what was sent is still read, and then its end.

    One step, for the caller: a request that he writes arrives whole or not at all, unless it is
    so long that he writes it in pieces (unix(7); Go's net/http does from 4 KB on).
    """
    sock: socket.socket = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # the caller was faster
        sock.shutdown(socket.SHUT_RD)


@dataclass(frozen=True, slots=True)
class Site:
    """A listening socket."""

    sock: socket.socket
    server: asyncio.Server
    leave: Callable[[], object] | None
    """Takes its name away; None if it stays for whoever comes next."""

    async def end(self, most: int) -> None:
        """Take no more connections, where the socket ends with us; those that wait are taken.

        At most ``most`` wait in it.
        """
        if self.leave is None:
            return
        self.leave()
        for _ in range(most):  # each turn of the loop accepts all that wait
            if not _waits(self.sock):
                break
            await asyncio.sleep(0)
        await self.stop()

    async def stop(self) -> None:
        """Take no more connections; those that nobody has taken yet stay in the socket."""
        asyncio.get_running_loop().remove_reader(self.sock)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self.server.close()


def _waits(sock: socket.socket) -> bool:
    """Whether a connection waits to be accepted."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))
