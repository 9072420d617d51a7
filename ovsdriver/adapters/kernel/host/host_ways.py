"""Through which links the host forwards, held from look to look.

A router has a million routes and a handful of links, and its routing daemon changes some of them
all the time. So the table is read once, and again only where what is heard of it leaves a doubt.
"""

import time
from collections.abc import Callable, Collection, Mapping

from ovsdriver.adapters.kernel.codec.route_messages import Way, count_ways
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket

_REST = 50
"""After a look that took so long, none for this many times as long: two percent of a processor."""
_BUSY = 1000
"""So many routes do not go one by one unless the link goes, which is seen at the link."""


class HostWays:
    """The ways that routes lead. Looked at on one thread, while news of routes come on another."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: Mapping[Way, int] = {}
        self._heard: set[Way] = set()
        """Since the last look began."""
        self._up: frozenset[int] = frozenset()
        self._doubt = True
        self._not_before = clock()

    def current(self, netlink: RouteSocket, up: frozenset[int]) -> Collection[Way]:
        """Return the ways there are; ``up`` are the links that are, by index.

        A link that is set down loses its routes of IPv4 without a word.
        """
        down, self._up = self._up - up, up
        if any(way.link in down for way in self._known):
            self._doubt = True
        start = self._clock()
        if self._doubt and start >= self._not_before:
            # Before the look: of what changes during it we hear.
            self._doubt = False
            self._heard = set()
            self._known = count_ways(netlink)
            now = self._clock()
            self._not_before = now + (now - start) * _REST
        return self._known.keys() | frozenset(self._heard)

    def tells(self, way: Way, *, new: bool) -> bool:
        """Whether it is news that a route that leads this way came, or else went."""
        if new:
            return way not in self._known and way not in self._heard
        return way in self._heard or 0 < self._known.get(way, 0) < _BUSY

    def hear(self, way: Way, *, new: bool) -> bool:
        """Take such news; whether it makes anyone know more, or doubt."""
        if new:
            self._heard.add(way)
            return True
        return self.miss()

    def miss(self) -> bool:
        """Doubt what is known; whether that is new."""
        doubted, self._doubt = self._doubt, True
        return not doubted

    @property
    def busy(self) -> frozenset[Way]:
        """Ways of so many routes that one more or less is no news; no default ones."""
        return frozenset(w for w, many in self._known.items() if many >= _BUSY and not w.default)
