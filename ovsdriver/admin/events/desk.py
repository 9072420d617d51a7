"""What a person or a program may ask of events."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from ovsdriver.admin import asks
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.events.views import EventPage, report
from ovsdriver.domain.events import turns
from ovsdriver.domain.events.event import Event
from ovsdriver.domain.events.query import Query
from ovsdriver.errors import InvalidRequestError
from ovsdriver.ports import Events, State
from ovsdriver.service.events.called import Called

_READ = 1000
"""Events read at once: 5 ms of the loop."""

IDLE_S = 15.0
"""Who follows hears something at least so often, if only up to where nothing was for them."""


class EventDesk:
    """Reads what is kept, and follows what comes."""

    def __init__(
        self,
        *,
        events: Events,
        state: State,
        called: Called,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._events = events
        self._state = state
        self._called = called
        self._clock = clock

    def answers(self) -> Answers:
        """Return what is answered here."""
        return {asks.ListEvents: self.page}

    async def page(self, ask: asks.ListEvents) -> EventPage:
        """Return the next events that are asked for.

        Raises:
            InvalidRequestError: a page is not as long as that.
            UnavailableError: the store does not answer.
        """
        if not 1 <= ask.limit <= asks.PAGE_MOST:
            raise InvalidRequestError(f"limit: 1 to {asks.PAGE_MOST}")
        missed = await self._missed(ask.after)
        last = 0 if missed else ask.after
        if ask.since is not None:
            last = max(last, await self._events.since(ask.since))
        found = self._present(ask.query) if ask.initial_state else []
        more = True
        while more and len(found) < ask.limit:
            events = await self._called.after(last, limit=_READ)
            taken = [each for each in events if ask.query.takes(each)][: ask.limit - len(found)]
            found += taken
            full = len(found) == ask.limit
            last = taken[-1].id if full and taken else events[-1].id if events else last
            more = bool(events) and last < self._events.newest
            await asyncio.sleep(0)  # with filters, much may be read for little
        return EventPage(events=tuple(map(report, found)), last=last, more=more, missed=missed)

    async def follow(self, query: Query, after: int | None) -> AsyncGenerator[EventPage, None]:
        """Give what comes after an event, and what is to come, for good; None: only the latter.

        A page comes every ``IDLE_S`` at least, an empty one if need be. Nothing is kept for who
        takes long: the next page is read when it is asked for.
        """
        last = self._events.newest if after is None else after
        missed = await self._missed(last)
        last = 0 if missed else last
        news = asyncio.Event()
        stop = self._events.on_event(news.set)
        try:
            yield EventPage(last=last, missed=missed)
            said = self._clock()
            while True:
                news.clear()
                events = await self._called.after(last, limit=_READ)
                taken = [each for each in events if query.takes(each)]
                last = events[-1].id if events else last
                if taken or self._clock() - said >= IDLE_S:
                    said = self._clock()
                    yield EventPage(events=tuple(map(report, taken)), last=last)
                if len(events) < _READ:
                    await _either(news, IDLE_S)
        finally:
            stop()

    async def _missed(self, last: int) -> bool:
        """Whether what follows an event is not all there, or the event itself is not ours.

        After a store was restored numbers may be smaller than a reader knows.
        """
        if not last:
            return False
        return last > self._events.newest or last < await self._events.oldest() - 1

    def _present(self, query: Query) -> list[Event]:
        """Return what is there as events that say so."""
        said = [turns.of_network(None, each) for each in self._state.networks()]
        said += [turns.of_endpoint(None, each) for each in self._state.endpoints()]
        there = (each._replace(action="present") for each in said if each is not None)
        return [each for each in map(self._events.of_now, there) if query.takes(each)]


async def _either(news: asyncio.Event, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await news.wait()
    except TimeoutError:
        return
