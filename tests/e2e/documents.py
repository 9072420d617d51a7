"""README and those of the folders, with what tests take from them as it stands there."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.bed import Bed
from tests.e2e.world import Result

REPOSITORY = Path(__file__).parents[2]

README = REPOSITORY / "README.md"
DRIVER = REPOSITORY / "ovsdriver" / "README.md"
IPAM = REPOSITORY / "ipam" / "README.md"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the blocks of commands for users, in the order in which they are read."""
    texts = (path.read_text("utf-8") for path in (README, DRIVER, IPAM))
    return [block for text in texts for word, block in _BLOCK.findall(text) if word == "sh"]


def hosts_commands() -> tuple[str, str]:
    """Return what README has for several hosts: for the first one, and for each other one."""
    (block,) = (text for word, text in _BLOCK.findall(README.read_text("utf-8")) if word == "bash")
    before, first, others = re.split(r"^# on .*\n", block, flags=re.MULTILINE)
    assert not before
    return first, others


class Shell:
    """A shell on a host, in a new folder."""

    def __init__(
        self,
        bed: Bed,
        *,
        elsewhere: tuple[str, ...] = (),
        answered: Mapping[str, str] | None = None,
    ) -> None:
        """Open one.

        Args:
            bed: the host.
            elsewhere: how commands begin that are left out.
            answered: what is typed behind a command.
        """
        self._bed = bed
        self._elsewhere = elsewhere
        self._answered = answered or {}
        self.folder = bed.home / "pasted"
        self.folder.mkdir()
        self.said: dict[str, Result] = {}

    def paste(self, block: str) -> None:
        """Type all commands of a block, none of which may fail."""
        known = {
            "PATH": f"{Path(sys.executable).parent}:{self._bed.environment()['PATH']}",
            "OVSNET_STATE_DIR": str(self._bed.state_dir),
        }
        env = [f"{name}={value}" for name, value in known.items()]
        for command in re.sub(r"\\\n\s*", "", block).splitlines():
            typed = command.partition("  #")[0].strip() if "  #" in command else command.strip()
            if not typed or typed.startswith(self._elsewhere):
                continue
            there = f"cd {self.folder} && {typed}{self._answered.get(typed, '')}"
            self.said[typed] = self._bed.attempt("env", *env, "sh", "-c", there)
            assert not self.said[typed].code, f"{typed}\n{self.said[typed]}"
