"""Options of which some are said and the others left to somebody else. Pure."""

from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Said:
    """A field that is None, or empty, says nothing; that is the default of each."""

    def said(self) -> dict[str, Any]:
        """Return what is said, by field."""
        names: tuple[str, ...] = self.__slots__
        return {n: value for n in names if (value := getattr(self, n)) is not None and value != ()}

    def __or__(self, other: Self) -> Self:
        """Return what is said here, and where nothing is, what ``other`` says."""
        said = {n: value for n, value in self.said().items() if value != getattr(other, n)}
        return replace(other, **said) if said else other
