"""What happened: who has something to tell hands it over here, and who wants to know reads it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ovsdriver.domain.events.event import Event, EventType, Happening


class Journal(Protocol):
    """Takes events that no change of a record tells."""

    def tell(self, happening: Happening, *, level: int = logging.INFO) -> None:
        """Log it, and keep it with the next commit, which comes soon; cheap.

        A crash before that loses it.
        """
        ...


class Events(Protocol):
    """Events that are kept: 10,000 in memory, and in the store for seven days, 100,000 at most."""

    @property
    def newest(self) -> int:
        """Id of the last event; 0: there was none yet."""
        ...

    async def oldest(self) -> int:
        """Return the id of the first event that is still kept; 0: there is none."""
        ...

    async def since(self, time: float) -> int:
        """Return the id of the last event before ``time``; 0 if none of those is kept."""
        ...

    async def after(self, last: int, *, limit: int) -> Sequence[Event]:
        """Return the next events after the one with id ``last``; UnavailableError."""
        ...

    def of_now(self, happening: Happening) -> Event:
        """Return an event, with id 0, of what is there and did not happen."""
        ...

    def on_event(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` on the loop whenever there are more, until what returns is called."""
        ...

    def note_names(self, names: Mapping[str, str]) -> None:
        """Note what networks and containers are called, by ids of networks and endpoints."""
        ...

    def names(self) -> Mapping[str, str]:
        """Return what was noted so, and not so long ago that no event is kept from then."""
        ...


class Readers(Protocol):
    """How far those who are told of events have got."""

    def positions(self) -> Mapping[str, int]:
        """Return the id of the last event that each has taken."""
        ...

    def note_position(self, reader: str, position: int) -> None:
        """Note it: at once here, and durably with what is written next."""
        ...

    def forget_reader(self, reader: str) -> None:
        """Forget one that is told no more."""
        ...


class StoredEvents(Journal, Events, Readers, Protocol):
    """All of it."""

    def latest(self, kind: EventType) -> Mapping[str, str]:
        """Return the last action that was told of each endpoint, of events in memory."""
        ...

    async def run(self) -> None:
        """Remove what is too old or too much, a little at a time, until cancelled."""
        ...
