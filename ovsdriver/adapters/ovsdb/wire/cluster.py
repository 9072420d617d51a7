"""Several servers of one database: whose turn it is, and whether it leads."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ovsdriver.adapters.ovsdb.errors import ConnectionLostError, RefusedError
from ovsdriver.adapters.ovsdb.wire.address import Address
from ovsdriver.adapters.ovsdb.wire.connection import Connection

_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 1.0
_GROWTH = (2.0, 1.5)
"""Of the pause, with one server and with several: a new leader is there after 1 to 2 s."""

GONE = frozenset(
    {"canceled", "not leader", "cluster error", "disconnected", "database not available"}
)
"""Refusals that say of the server, and not of what was asked, that it will not do."""


class Turns:
    """Tries one server after the other; a pause after all of them, or after one that had us."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        """Begin anywhere: clients that begin alike would all ask the same one first."""
        self._order = random.sample(addresses, len(addresses))
        self._at = 0
        self._failures = 0
        self._pause_s = _FIRST_PAUSE_S
        self._reasons = {each.text: "not connected yet" for each in addresses}

    @property
    def now(self) -> Address:
        """Whose turn it is."""
        return self._order[self._at]

    @property
    def why(self) -> str:
        """Why none of them has us."""
        if len(self._reasons) == 1:
            return next(iter(self._reasons.values()))
        return "; ".join(f"{text}: {why}" for text, why in self._reasons.items())

    def pass_on(self, why: str, *, served: bool) -> float:
        """Go on to the next, and return how many seconds to wait before it is asked.

        ``served`` says whether the present one had us for a time.
        """
        self._reasons[self.now.text] = why
        self._at = (self._at + 1) % len(self._order)
        if served:
            self._failures, self._pause_s = 0, _FIRST_PAUSE_S
        else:
            self._failures += 1
            if self._failures % len(self._order):
                return 0
        pause_s = self._pause_s
        self._pause_s = min(_GROWTH[len(self._order) > 1] * pause_s, _LAST_PAUSE_S)
        return pause_s


class Leadership:
    """What a server says of itself in its database ``_Server`` (ovsdb-server(5))."""

    MONITOR = "ovsnet leader"

    def __init__(self, database: str) -> None:
        self._database = database
        self._rows: dict[str, Mapping[str, Any]] = {}

    async def ask(self, connection: Connection) -> None:
        """Ask the server whether it leads, and to say when that ends.

        Raises:
            ConnectionLostError: it does not lead.
        """
        columns = {"Database": {"columns": ["name", "connected", "leader"]}}
        try:
            initial = await connection.request("monitor", ["_Server", self.MONITOR, columns])
        except RefusedError as error:
            raise ConnectionLostError(f"it does not say whether it leads: {error}") from error
        self.take(initial)

    def take(self, updates: Mapping[str, Any]) -> None:
        """Take what it says.

        Raises:
            ConnectionLostError: it does not lead, or no longer.
            LookupError, TypeError, AttributeError: it is nonsense.
        """
        for uuid, update in updates.get("Database", {}).items():
            if "new" in update:
                self._rows[uuid] = update["new"]
            else:
                self._rows.pop(uuid, None)
        mine = [row for row in self._rows.values() if row["name"] == self._database]
        if not mine:
            raise ConnectionLostError(f"it has no database {self._database}")
        if not mine[0]["connected"]:
            raise ConnectionLostError("it has no contact to its cluster")
        if not mine[0]["leader"]:
            raise ConnectionLostError("it does not lead its cluster")
