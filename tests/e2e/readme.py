"""The examples of README as they stand there: its fenced blocks."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text() -> str:
    """Return all of README."""
    return README.read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the contents of the fenced blocks of a language."""
    return [block for found, block in _BLOCK.findall(text()) if found == language]
