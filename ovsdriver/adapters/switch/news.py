"""Who is told when rows change: callbacks for rows of ours, waiters for one Interface each."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ovsdriver.adapters.ovsdb import Change
from ovsdriver.adapters.switch.rows import is_ours


class News:
    """Passes on what the monitor says; everything happens on the loop."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._callbacks: list[Callable[[], None]] = []
        self._announced = False
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def call(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` from now on; once for changes that arrive together."""
        self._callbacks.append(callback)

    @contextmanager
    def of(self, interface: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the Interface row of that name may be different."""
        changed = asyncio.Event()
        waiters = self._waiters.setdefault(interface, set())
        waiters.add(changed)
        try:
            yield changed
        finally:
            waiters.discard(changed)
            if not waiters and self._waiters.get(interface) is waiters:
                del self._waiters[interface]

    def everything(self, *, connected: bool) -> None:
        """Tell everybody, after a (re)connect; of a lost connection, only those who wait."""
        for interface in self._waiters:
            self._wake(interface)
        if connected:
            self._announce()

    def rows(self, changes: Sequence[Change]) -> None:
        """Tell those whom these changes concern."""
        ours = False
        for change in changes:
            for row in (change.old, change.new):
                if row is not None and change.table == "Interface":
                    self._wake(row["name"])
                if row is not None and change.table != "Open_vSwitch":
                    ours = ours or is_ours(row, self._owner)
        if ours:
            self._announce()

    def _wake(self, interface: str) -> None:
        for changed in self._waiters.get(interface, ()):
            changed.set()

    def _announce(self) -> None:
        if self._callbacks and not self._announced:
            self._announced = True
            asyncio.get_running_loop().call_soon(self._call_all)

    def _call_all(self) -> None:
        self._announced = False
        for callback in self._callbacks:
            callback()
