"""Switches of single links below ``/proc/sys/net``, which shows the reading thread's namespace."""

from collections.abc import Mapping
from pathlib import Path

_ROOT = Path("/proc/sys/net")


class Sysctls:
    """Compares before it writes, so that what is as wanted causes no change."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._root = root
        self.changes = 0
        """How many values were written, for tests that count."""

    def settle(self, wanted: Mapping[str, int]) -> None:
        """Give each key below ``net/``, such as ``ipv4/conf/eth0/rp_filter``, its value.

        In the order of ``wanted``. Raises OSError: FileNotFoundError for a key that this kernel
        or this link does not have.
        """
        for key, value in wanted.items():
            if self.read(key) != value:
                self.write(key, value)

    def write(self, key: str, value: int) -> None:
        """Give a key its value without looking first, where it is known to differ."""
        with (self._root / key).open("wb", buffering=0) as file:
            file.write(b"%d" % value)
        self.changes += 1

    def read(self, key: str) -> int:
        """Return a key's value; OSError as of :meth:`settle`."""
        return int((self._root / key).read_bytes())

    def has_ipv6(self, link: str) -> bool:
        """Whether a link knows IPv6: not with ``ipv6.disable=1``, nor with an MTU below 1280."""
        return (self._root / "ipv6" / "conf" / link).is_dir()
