"""Options of which some are said and the others left to somebody else. Pure."""

from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Said:
    """A field that is None, or empty, says nothing."""

    def said(self) -> dict[str, Any]:
        """Return what is said, by field."""
        names: tuple[str, ...] = self.__slots__
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None and value != ()}

    def __or__(self, other: Self) -> Self:
        """Return what is said here, and where nothing is, what ``other`` says."""
        said = self.said()
        return replace(other, **said) if said else other
