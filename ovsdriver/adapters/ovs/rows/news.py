"""Who is told when rows change: callbacks for rows of ours, waiters for one Interface each.

Ports of others are told of where ports of ours are: on a bridge they are each other's neighbours.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ovsdriver.adapters.ovs.rows.rows import is_ours
from ovsdriver.adapters.ovsdb import Row, RowChange
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId

Callback = Callable[[Collection[EndpointId] | None], None]

_TAKING = ("ofport", "ifindex")
"""What vswitchd fills in when it takes a new port."""


class News:
    """Passes on what the monitor says; everything happens on the loop."""

    def __init__(self, owner: str, *, beside: Callable[[str, Row], bool] | None = None) -> None:
        """``beside`` tells whether a row, of a table, is about a bridge that has ports of ours."""
        self._owner = owner
        self._beside = beside or (lambda *_: False)
        self._callbacks: list[Callback] = []
        self._announced = False
        self._plugged: set[EndpointId] = set()
        self._else = False
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def call(self, callback: Callback) -> None:
        """Call ``callback`` from now on; once for changes that arrive together.

        It is given the endpoints whose ports came, went or were taken by vswitchd, if that was
        all; else None.
        """
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
            self._announce(None)

    def rows(self, changes: Sequence[RowChange]) -> None:
        """Tell those whom these changes concern."""
        ours = False
        for change in changes:
            for row in (change.old, change.new):
                if row is not None and change.table == "Interface":
                    self._wake(row["name"])
                if row is not None and change.table != "Open_vSwitch":
                    ours = ours or is_ours(row, self._owner) or self._beside(change.table, row)
            if change.table == "Open_vSwitch" and change.old and change.new:
                # how many tags it looks at, which our flows depend on
                ours = ours or change.old["other_config"] != change.new["other_config"]
        if ours:
            self._announce(self._plugging(changes))

    def _plugging(self, changes: Sequence[RowChange]) -> set[EndpointId] | None:
        """Return the endpoints whose ports changes are about; None if they are about more.

        A bridge's set of ports does not say who came or went. That is somebody of ours alone if no
        port of others did, in the same transaction.
        """
        found: set[EndpointId] = set()
        for change in changes:
            if change.table == "Bridge" and _same(change.old, change.new, but=("ports",)):
                continue
            row = change.new or change.old or {}
            endpoint = row.get("external_ids", {}).get(names.ENDPOINT_KEY)
            if endpoint is None or not is_ours(row, self._owner):
                return None
            modified = change.old is not None and change.new is not None
            if modified and not (change.table == "Interface" and _taken(change)):
                return None
            found.add(EndpointId(endpoint))
        return found or None

    def _wake(self, interface: str) -> None:
        for changed in self._waiters.get(interface, ()):
            changed.set()

    def _announce(self, plugged: set[EndpointId] | None) -> None:
        if not self._callbacks:
            return
        if plugged is None:
            self._else = True
        else:
            self._plugged |= plugged
        if not self._announced:
            self._announced = True
            asyncio.get_running_loop().call_soon(self._call_all)

    def _call_all(self) -> None:
        self._announced = False
        plugged = None if self._else else frozenset(self._plugged)
        self._else = False
        self._plugged.clear()
        for callback in self._callbacks:
            callback(plugged)


def _taken(change: RowChange) -> bool:
    """Whether vswitchd has taken a new port, and all else of its Interface is as it was."""
    old, new = change.old or {}, change.new or {}
    return (
        (new["ofport"] or 1) > 0
        and all(not old[column] or old[column] == new[column] for column in _TAKING)
        and _same(old, new, but=(*_TAKING, "external_ids"))
        and _without_ovn(old) == _without_ovn(new)
    )


def _without_ovn(row: Row) -> Mapping[str, str]:
    """Return the marks of an Interface without those of OVN's controller, which takes it too."""
    ids: Mapping[str, str] = row["external_ids"]
    return {key: value for key, value in ids.items() if not key.startswith("ovn-")}


def _same(old: Row | None, new: Row | None, *, but: Collection[str]) -> bool:
    """Whether a row differs in those columns at most; a set of references compares as the same."""
    if old is None or new is None:
        return False
    return all(old[column] == new[column] for column in new if column not in but)
