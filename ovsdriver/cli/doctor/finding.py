"""A line of ``ovsnet check``."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """Works, but not as well as it could, or not as one might expect."""
    FAIL = "fail"
    """Does not work before this is mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, what was found, and what to type."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(subject=subject, level=Level.OK, text=text)


def warn(subject: str, text: str, remedy: str = "") -> Finding:
    """Return one that can be lived with."""
    return Finding(subject=subject, level=Level.WARN, text=text, remedy=remedy)


def fail(subject: str, text: str, remedy: str) -> Finding:
    """Return one that has to be mended."""
    return Finding(subject=subject, level=Level.FAIL, text=text, remedy=remedy)
