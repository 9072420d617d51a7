"""What a change of a record has come to."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

TAKEN_BACK = "it was refused half-way, so what was changed is as before"
"""Why a record changes once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """A record that was changed."""

    before: T
    after: T
    pending: str = ""
    """What did not answer, so that not all is in force yet; the reconciler goes on from there."""
