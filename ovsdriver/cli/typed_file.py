"""Files that people write for a command, one thing a line; ``-`` is standard input."""

import sys
from pathlib import Path

from ovsdriver.cli.outcome import Refusal


def content(path: str) -> bytes:
    """Return what is in a file; Refusal if it cannot be read."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}") from error


def shown(path: str) -> str:
    """Return what a sentence calls a file."""
    return "standard input" if path == "-" else path


def text(content: bytes, path: str, *, of: str, most_bytes: int) -> str:
    """Return a file's content as text.

    Args:
        content: of the file.
        path: as sentences call it.
        of: what it is a file of, for a sentence.
        most_bytes: it may have.

    Raises:
        Refusal: it is too large, or no text.
    """
    if len(content) > most_bytes:
        raise Refusal(f"{path}: {len(content)} bytes are no file of {of}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: byte {error.start} is not UTF-8") from error
