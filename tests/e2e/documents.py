"""README and those of the folders, with what tests take from them as it stands there."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

README = REPOSITORY / "README.md"
DRIVER = REPOSITORY / "ovsdriver" / "README.md"
IPAM = REPOSITORY / "ipam" / "README.md"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the blocks of commands for users, in the order in which they are read."""
    texts = (path.read_text("utf-8") for path in (README, DRIVER, IPAM))
    return [block for text in texts for word, block in _BLOCK.findall(text) if word == "sh"]
