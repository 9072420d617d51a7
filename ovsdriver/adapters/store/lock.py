"""One daemon for each state directory."""

import fcntl
import os
from pathlib import Path

from ovsdriver.errors import ConflictError, UnavailableError


class StateLock:
    """An exclusive lock on a state directory; the kernel drops it with the process."""

    def __init__(self, descriptor: int) -> None:
        """Use :meth:`take`."""
        self._descriptor = descriptor

    @classmethod
    def take(cls, state_dir: Path) -> "StateLock":
        """Lock ``state_dir``, made if it is not there; at once, without waiting.

        Raises:
            ConflictError: another process has it; the text says which.
            UnavailableError: the directory cannot be made or written.
        """
        path = state_dir / "lock"
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(
                f"the state directory {state_dir} cannot be used: {error.strerror}; "
                "make it writable for the user that runs ovsnet, or give another --state-dir"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise ConflictError(
                f"another ovsnet{f', pid {holder},' if holder else ''} uses the state directory "
                f"{state_dir}; stop it first, or give this one another --state-dir"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise UnavailableError(f"{path} cannot be locked: {error.strerror}") from error
        return cls(descriptor)

    def release(self) -> None:
        """Let the next one in. The file stays: removing it would race with who waits for it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
