"""What we tell the service manager that started us: systemd, or whoever speaks sd_notify(3).

A datagram of lines ``NAME=value`` to the unix socket that ``NOTIFY_SOCKET`` names; without it
nothing is told. With ``WATCHDOG_USEC`` a sign of life is due in that time, else we are ended and
started again: it comes from the event loop, so a loop that hangs is a process that hangs.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

from ovsdriver.logs import event

log = logging.getLogger(__name__)

TELL_S = 15.0
"""Between two reports where no watchdog says how often."""

_TRIES = 20
_STEP_S = 0.1


class Supervisor:
    """The manager of this process. None of it raises: we serve whether we are heard or not."""

    def __init__(self, environ: Mapping[str, str], *, pid: int | None = None) -> None:
        """Read who it is.

        Args:
            environ: the environment of this process.
            pid: ours; variables that are meant for another process, and were inherited by this
                one, do not count (sd_watchdog_enabled(3)).
        """
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._interval_s = TELL_S
        microseconds = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", str(pid or os.getpid())) == str(pid or os.getpid())
        self._watched = meant and microseconds.isdecimal() and int(microseconds) > 0
        if self._watched:
            self._interval_s = int(microseconds) / 2e6

    async def ready(self) -> None:
        """Tell that we serve: what is ordered after us starts now."""
        await self._tell("READY=1")

    async def stopping(self) -> None:
        """Tell that we end."""
        await self._tell("STOPPING=1")

    async def run(self, state: Callable[[], str]) -> None:
        """Give signs of life and the ``state``, one line for people, until cancelled."""
        while True:
            sign = ["WATCHDOG=1"] if self._watched else []
            await self._tell(*sign, f"STATUS={_plain(state())}")
            await asyncio.sleep(self._interval_s)

    async def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        datagram = "\n".join(lines).encode(errors="replace")
        why = ""
        for _ in range(_TRIES):
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                    sock.setblocking(False)
                    sock.sendto(datagram, self._address)
            except BlockingIOError as error:  # its queue is full
                why = str(error)
                await asyncio.sleep(_STEP_S)
            except OSError as error:
                why = str(error)
                break
            else:
                return
        event(log, "supervisor.unheard", level=logging.WARNING, what=lines[0], why=why)


def _plain(text: str) -> str:
    """Return it on one line: another line would be an order, and there are words of users in it."""
    return "".join(each if each.isprintable() else " " for each in text)


def _address(said: str) -> str:
    """Return the socket's address; ``@`` stands for the NUL of an abstract one (unix(7))."""
    if said.startswith("@"):
        return f"\0{said[1:]}"
    return said if said.startswith("/") else ""
