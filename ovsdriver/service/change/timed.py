"""Changes that are taken back by themselves: ``ovsnet set … --for 30s``.

What is to be taken back is noted before the change is made. So whatever is cut short, a later look
at the clock and the note puts right what is in force; doing it twice changes nothing.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ovsdriver.causes import because
from ovsdriver.domain.records.model import Endpoint, EndpointId, NetworkId
from ovsdriver.domain.records.options import timed
from ovsdriver.domain.records.options.timed import Spell, Timed
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import HostNotes, State
from ovsdriver.service.change.changes import Changes, Done
from ovsdriver.words.changes import OtherOptions, Scope

log = logging.getLogger(__name__)

_AGAIN_S = 5.0
"""After a change could not be made or taken back."""
_LONGEST_S = 600.0
"""Between two looks at the clock: somebody may set it."""


@dataclass(frozen=True, slots=True)
class Whose:
    """A network or an endpoint."""

    scope: Scope
    id: str

    @property
    def key(self) -> str:
        """Of its note."""
        return f"{timed.PREFIX}{self.scope.value}:{self.id}"


class TimedChanges:
    """Changes what stands, for a while or for good, and takes back what was for a while."""

    def __init__(
        self, *, state: State, notes: HostNotes, changes: Changes, clock: Callable[[], float]
    ) -> None:
        """Build it.

        Args:
            state: networks and endpoints.
            notes: where it is kept.
            changes: changes.
            clock: Unix time, in seconds.
        """
        self._state = state
        self._notes = notes
        self._changes = changes
        self._clock = clock
        self._one = asyncio.Lock()
        self._news = asyncio.Event()

    async def network(
        self, network: NetworkId, wish: OtherOptions, spell: Spell | None = None
    ) -> Done:
        """Change options of a network, for good without ``spell``.

        An option that was to be taken back is so no more: the last command about it holds.

        Raises:
            DriverError: it was refused, and nothing is changed.
        """
        return await self._timed(Whose(Scope.NETWORK, network), wish, spell)

    async def endpoint(
        self, endpoint: EndpointId, wish: OtherOptions, spell: Spell | None = None
    ) -> Done:
        """Change options of an endpoint, as :meth:`network`. What is for a while ends with it."""
        return await self._timed(Whose(Scope.ENDPOINT, endpoint), wish, spell)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Hold off every change: for who removes things faster than their records."""
        async with self._one, self._changes.paused():
            yield

    def lasting(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Return an endpoint's options, as typed, without what is for a while."""
        return self._lasting(Whose(Scope.ENDPOINT, endpoint.id), endpoint.options)

    def running(self) -> Mapping[Whose, Sequence[Timed]]:
        """Return what is for a while, by whose it is."""
        return {
            Whose(Scope(scope), id_): timed.decode(text)
            for key, text in self._notes.notes().items()
            if key.startswith(timed.PREFIX)
            for scope, _, id_ in [key.removeprefix(timed.PREFIX).partition(":")]
        }

    async def look(self) -> float:
        """Make and take back what the clock says; return for how many seconds that holds."""
        return min([_LONGEST_S, *[await self._look(whose) for whose in self.running()]])

    async def run(self) -> None:
        """Look whenever the clock says so, until cancelled."""
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(await self.look()):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _timed(self, whose: Whose, wish: OtherOptions, spell: Spell | None) -> Done:
        async with self._one:
            old, typed = self._of(whose), wish.named(whose.scope)
            rest = [left for each in old if (left := each.without(typed)) is not None]
            new: list[Timed] = []
            if spell is not None:
                before = self._lasting(whose, self._options(whose) or {})
                back = wish.before(whose.scope, before)
                new = [Timed(options=typed, back=back, since=self._clock(), spell=spell)]
                await self._put(whose, [*old, *new])
            try:
                done = await self._change(whose, wish)
            except DriverError:
                await self._put(whose, old)
                raise
            await self._put(whose, [*rest, *new])
        self._news.set()
        return done

    async def _look(self, whose: Whose) -> float:
        """Have in force what the clock says of one of them; return for how long that holds."""
        async with self._one:
            # a process that was killed in a change may have left the one before it, too
            noted = timed.last_said(self._of(whose))
            now, options = self._clock(), self._options(whose)
            if options is None:
                await self._put(whose, ())
                return _LONGEST_S
            wanted = {k: v for each in noted for k, v in each.at(now).items()}
            is_now = OtherOptions(typed=wanted).before(whose.scope, options)
            other = {key: text for key, text in wanted.items() if is_now[key] != text}
            try:
                if other:
                    with because(why="by the clock, as the user said"):
                        await self._change(whose, OtherOptions(typed=other))
                await self._put(whose, [each for each in noted if not each.over(now)])
            except DriverError as error:
                told = log.info if isinstance(error, UnavailableError) else log.warning
                told("timed.not-changed", extra={"whose": whose.id, "why": str(error)})
                return _AGAIN_S
            return max(min((each.turn(now) for each in noted), default=math.inf) - now, 0.0)

    def _change(self, whose: Whose, wish: OtherOptions) -> Awaitable[Done]:
        if whose.scope is Scope.NETWORK:
            return self._changes.network(NetworkId(whose.id), wish)
        return self._changes.endpoint(EndpointId(whose.id), wish)

    def _options(self, whose: Whose) -> Mapping[str, str] | None:
        record = (
            self._state.network(NetworkId(whose.id))
            if whose.scope is Scope.NETWORK
            else self._state.endpoint(EndpointId(whose.id))
        )
        return None if record is None or record.ended else record.options

    def _lasting(self, whose: Whose, options: Mapping[str, str]) -> Mapping[str, str]:
        back = {key: text for each in self._of(whose) for key, text in each.back.items()}
        return OtherOptions(typed=back).onto(whose.scope, options) if back else options

    def _of(self, whose: Whose) -> Sequence[Timed]:
        return timed.decode(self._notes.notes().get(whose.key))

    async def _put(self, whose: Whose, changes: Sequence[Timed]) -> None:
        text = timed.encode(changes) if changes else None
        if text == self._notes.notes().get(whose.key):
            return  # each note is a commit
        if text is None:
            await self._notes.forget_note(whose.key)
        else:
            await self._notes.put_note(whose.key, text)
