"""Whether ovsdb-server was stopped, and would only be started by whoever connects to it."""

import os
from pathlib import Path

_File = tuple[int, int]


class Doorbell:
    """Tells a socket at which a server listens from one that would wake a server.

    systemd keeps the socket of Open vSwitch 4 when it stops the service (``ovsdb-server.socket``),
    and starts the service for the next one who connects. A server with a socket of its own removes
    it at its end, or makes another at its next start.
    """

    def __init__(self, path: str) -> None:
        """``path`` is the server's socket."""
        self._socket = Path(path)
        self._pidfile = self._socket.with_name("ovsdb-server.pid")
        self._answered: _File | None = None

    def note_answer(self) -> None:
        """Note that a server answered; without its pidfile nothing is known of its end."""
        self._answered = self._file() if self._runs() else None

    @property
    def would_wake(self) -> bool:
        """Whether the server that answered has ended, and its socket is still there."""
        return self._answered is not None and self._answered == self._file() and not self._runs()

    def _file(self) -> _File | None:
        try:
            found = self._socket.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _runs(self) -> bool:
        try:
            os.kill(int(self._pidfile.read_text()), 0)
        except PermissionError:
            return True
        except (OSError, ValueError):
            return False
        return True
