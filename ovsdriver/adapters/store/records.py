"""Records as JSON text with a version, for the columns that nothing queries."""

from typing import TypeVar

from ovsdriver import codec
from ovsdriver.codec import UnreadableError

T = TypeVar("T")

VERSION = 1
"""Raised when a member changes its meaning; :func:`decode` then reads the older ones too."""

_VERSION_KEY = "_version"


def encode(record: object) -> str:
    """Return ``record``, a dataclass, as JSON text."""
    return codec.encode({_VERSION_KEY: VERSION} | codec.members(record))


def decode(kind: type[T], text: str) -> T:
    """Return the record of ``kind`` that ``text`` holds.

    Raises:
        UnreadableError: it holds none, or one of a newer program.
    """
    members = codec.loads(text)
    version = members.get(_VERSION_KEY) if isinstance(members, dict) else None
    if version != VERSION:
        raise UnreadableError(f"it has version {version}, this ovsnet reads {VERSION}")
    return codec.read(kind, members)
