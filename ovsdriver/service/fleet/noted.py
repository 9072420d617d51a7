"""What is kept of segments in the host's notes, read back."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from ovsdriver import codec
from ovsdriver.ports import HostNotes

log = logging.getLogger(__name__)

T = TypeVar("T")


def noted(notes: HostNotes, prefix: str, kind: type[T]) -> Sequence[T]:
    """Return what the notes hold whose keys begin with ``prefix``.

    One that cannot be read is left out, as it keeps nobody from the others; the log says so once.
    """
    found = []
    for key, text in notes.notes().items():
        if key.startswith(prefix):
            try:
                found.append(codec.decode(kind, text))
            except codec.UnreadableError as error:
                _tell(key, str(error))
    return found


@lru_cache(64)
def _tell(key: str, why: str) -> None:
    log.warning("segment.note-unreadable", extra={"note": key, "why": why})
