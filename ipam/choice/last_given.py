"""Who had which address of a pool before, and may want it again; pure, on offsets.

An address that was asked for with ``--ip`` is remembered as long as the pool lives, one that a
named container got by our choice for a while: names are many and most never come back, each
``docker run --rm`` makes one up. Of a name the last address is remembered.
"""

from collections.abc import Iterator
from typing import NamedTuple

NAMED_SHARE = 4
"""Names are remembered for one in so many addresses of a pool."""

NAMED_S = 30 * 24 * 3600.0
"""How long a name is remembered, in seconds."""

MOST = 10_000
"""Of each kind, in the largest pool: they are read at every start."""


class Note(NamedTuple):
    """What is remembered of a free address."""

    name: str
    wanted: bool
    since: float


class Memories:
    """The free addresses of one pool that someone had before."""

    __slots__ = ("_limit", "_named", "_of_name", "_wanted")

    def __init__(self, *, capacity: int) -> None:
        """Remember nothing of a pool with ``capacity`` usable addresses."""
        self._limit = min(capacity // NAMED_SHARE, MOST)
        # Both with the oldest first.
        self._wanted: dict[int, Note] = {}
        self._named: dict[int, Note] = {}
        self._of_name: dict[str, int] = {}

    def __iter__(self) -> Iterator[tuple[int, Note]]:
        yield from self._wanted.items()
        yield from self._named.items()

    def __contains__(self, offset: int) -> bool:
        return offset in self._wanted or offset in self._named

    @property
    def named(self) -> bool:
        """Whether a name is remembered without which its address would be anybody's."""
        return bool(self._named)

    def of_name(self, name: str) -> int | None:
        """Return the address that ``name`` had last, if it is free."""
        return self._of_name.get(name)

    def note(self, offset: int, note: Note) -> list[int]:
        """Remember an address that became free; return those that are forgotten for it.

        Args:
            offset: not remembered now.
            note: with a name, or wanted; the latest of all.
        """
        forgotten = []
        if note.name:
            before = self._of_name.get(note.name)
            if before is not None:
                forgotten.append(before)
                self.forget(before)
            self._of_name[note.name] = offset
        (self._wanted if note.wanted else self._named)[offset] = note
        for notes, limit in ((self._wanted, MOST), (self._named, self._limit)):
            if len(notes) > limit:
                oldest = next(iter(notes))
                forgotten.append(oldest)
                self.forget(oldest)
        return forgotten

    def outdated(self, now: float) -> list[int]:
        """Forget the names that are too old, and return their addresses."""
        forgotten = []
        while self._named:
            offset, note = next(iter(self._named.items()))
            if note.since > now - NAMED_S:
                break
            forgotten.append(offset)
            self.forget(offset)
        return forgotten

    def forget(self, offset: int) -> Note | None:
        """Forget an address, because someone has it now; None if it was not remembered."""
        note = self._wanted.pop(offset, None) or self._named.pop(offset, None)
        if note is not None and self._of_name.get(note.name) == offset:
            del self._of_name[note.name]
        return note
