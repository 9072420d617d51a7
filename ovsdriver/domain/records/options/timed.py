"""Options that are changed for a while and taken back by themselves. Pure.

When a change holds follows from the clock alone, so a process that was away goes on as if it had
been there.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ovsdriver import codec

PREFIX = "timed:"
"""Before scope and id in the key of a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """How long a change holds, and how often it comes."""

    for_s: float
    """Seconds, above 0."""
    every_s: float | None = None
    """From one begin to the next, in seconds, above ``for_s``; None: it comes once."""

    def __post_init__(self) -> None:
        if not 0 < self.for_s < math.inf:
            raise ValueError("for_s: say more than 0 seconds")
        if self.every_s is not None and not self.for_s < self.every_s < math.inf:
            raise ValueError("every_s: say more than for_s, or there is nothing in between")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A change that is taken back."""

    options: Mapping[str, str]
    """As typed; empty: the default."""
    back: Mapping[str, str]
    """What was typed before, of the same rows and as far as it was; empty: nothing."""
    since: float
    """Unix time, in seconds."""
    spell: Spell

    def holds(self, now: float) -> bool:
        """Whether the change is to be in force."""
        return self._within(now) < self.spell.for_s

    def over(self, now: float) -> bool:
        """Whether it will not come again."""
        return self.spell.every_s is None and not self.holds(now)

    def at(self, now: float) -> Mapping[str, str]:
        """Return what is to be in force."""
        return self.options if self.holds(now) else self.back

    def turn(self, now: float) -> float:
        """Return when :meth:`holds` changes next, as Unix time; infinite if never."""
        within = self._within(now)
        begin = now - within
        if within < self.spell.for_s:
            return begin + self.spell.for_s
        return math.inf if self.spell.every_s is None else begin + self.spell.every_s

    def _within(self, now: float) -> float:
        # A clock that was set back leaves it at its begin.
        passed = max(now - self.since, 0.0)
        return passed if self.spell.every_s is None else passed % self.spell.every_s

    def without(self, rows: Iterable[str]) -> "Timed | None":
        """Return what is left without some options; None if that is nothing."""
        rows = frozenset(rows)
        left = {key: text for key, text in self.options.items() if key not in rows}
        back = {key: text for key, text in self.back.items() if key not in rows}
        return replace(self, options=left, back=back) if left else None


def last_said(changes: Sequence[Timed]) -> Sequence[Timed]:
    """Return changes without what a later one says of the same options."""
    found: list[Timed] = []
    for each in changes:
        found = [left for one in found if (left := one.without(each.options)) is not None]
        found.append(each)
    return found


def encode(changes: Sequence[Timed]) -> str:
    """Return a note's text."""
    return codec.encode(_Note(changes=tuple(changes)))


def decode(text: str | None) -> Sequence[Timed]:
    """Return what a note says; nothing if that has no meaning."""
    try:
        return () if text is None else codec.decode(_Note, text).changes
    except codec.UnreadableError:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    changes: tuple[Timed, ...]
