"""The kernel's switches below ``/proc/sys``; those of ``net`` are the calling thread's namespace's.

A path is one below that folder: ``net/ipv4/conf/eth0/rp_filter``. Everything here blocks.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/proc/sys")
_BOOT_ID = "kernel/random/boot_id"


class Sysctls:
    """Reads and writes switches."""

    def __init__(self, root: Path = _ROOT) -> None:
        """Look below ``root``; tests put a tree of their own there."""
        self._root = root
        self.changes = 0
        """How many values were written, for tests that count."""

    def read(self, path: str) -> str | None:
        """Return a value; None if it cannot be read.

        It went with its link, or this kernel has none such, or no IPv6; some have to be set first.
        """
        with suppress(OSError):
            return (self._root / path).read_text().strip()
        return None

    def present(self, paths: Iterable[str]) -> Mapping[str, str]:
        """Return the values of those that can be read."""
        return {path: value for path in paths if (value := self.read(path)) is not None}

    def every(self, pattern: str) -> Mapping[str, str]:
        """Return the values of all whose path matches a glob pattern."""
        return self.present(str(path.relative_to(self._root)) for path in self._root.glob(pattern))

    def write(self, path: str, value: int | str) -> None:
        """Set one; OSError, FileNotFoundError if it is not there (any more)."""
        # not for writing alone: that would create it
        with (self._root / path).open("r+b", buffering=0) as file:
            file.write(str(value).encode())
        self.changes += 1

    def settle(self, wanted: Mapping[str, int]) -> None:
        """Set those that differ, in the order of ``wanted``; errors as of :meth:`write`."""
        for path, value in wanted.items():
            if self.read(path) != str(value):
                self.write(path, value)

    def has_ipv6(self, link: str) -> bool:
        """Whether a link knows IPv6: not with ``ipv6.disable=1``, nor with an MTU below 1280."""
        return (self._root / "net/ipv6/conf" / link).is_dir()

    def boot_id(self) -> str:
        """Return what tells this boot of the machine from others."""
        return self.read(_BOOT_ID) or ""
