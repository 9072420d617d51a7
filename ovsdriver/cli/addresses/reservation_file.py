"""Files of reservations: one a line, for people and for programs that write configuration.

    # comments and empty lines are passed over
    10.0.0.5   web          # what it is for
    10.0.0.6                # a printer: for who asks for it by address
    space team1
    10.0.0.5   web

What stands before the first ``space`` is of the default space.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ipam.model import DEFAULT_SPACE
from ovsdriver.cli import typed_file
from ovsdriver.cli.outcome import Refusal
from ovsdriver.words import values

_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One reservation."""

    number: int
    """1 is the file's first line."""
    space: str
    address: str
    """Canonical, as IPv6 addresses may be written in several ways."""
    name: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationFile:
    """A file that was read."""

    path: str
    lines: tuple[Line, ...]
    spaces: tuple[str, ...]
    """Those that the file is about, the default one always, in the order of the file."""

    def located(self, sentence: str) -> str:
        """Return a refusal of ours with the line that it is about."""
        found = re.match(r"reservations\[(\d{1,9})\](?:\.(\w+))?: ", sentence)
        if found is None or int(found[1]) >= len(self.lines):
            return sentence
        member = f"{found[2]}: " if found[2] else ""
        place = _place(self.path, self.lines[int(found[1])].number)
        return f"{place}: {member}{sentence[found.end() :]}"


def parse(content: bytes, path: str) -> ReservationFile:
    """Read a file.

    Raises:
        Refusal: with the line that is wrong.
    """
    text = typed_file.text(content, path, of="reservations", most_bytes=_BYTES)
    space = DEFAULT_SPACE
    spaces = {space: None}
    lines: list[Line] = []
    seen: dict[tuple[str, str], int] = {}
    # Not splitlines(), which sees ends of lines where editors and grep see none.
    for number, line in enumerate(text.split("\n"), start=1):
        said, _, note = line.partition("#")
        words = said.split()
        if not words:
            continue
        try:
            if words[0] == "space":
                space = _space(words)
                spaces[space] = None
                continue
            found = _line(words, number=number, space=space, note=note)
        except ValueError as error:
            raise Refusal(f"{_place(path, number)}: {error}") from error
        earlier = seen.setdefault((space, found.address), number)
        if earlier != number:
            raise Refusal(
                f"{_place(path, number)}: {found.address} of space {space} is in line {earlier} "
                "already; leave one of them out"
            )
        lines.append(found)
    return ReservationFile(path=path, lines=tuple(lines), spaces=tuple(spaces))


def _line(words: Sequence[str], *, number: int, space: str, note: str) -> Line:
    if len(words) > 2:
        raise ValueError(
            f"{values.quote(' '.join(words))} is too much; write ADDRESS [NAME] [# NOTE], or "
            "`space NAME` alone"
        )
    return Line(
        number=number,
        space=space,
        address=str(values.address(words[0])),
        name=words[1] if len(words) > 1 else "",
        note=note.strip(),
    )


def _space(words: Sequence[str]) -> str:
    if len(words) != 2:
        raise ValueError("write `space` with one name, for the lines that follow")
    values.space(words[1].removesuffix("-global"))  # swarm's own have that end
    return words[1]


def _place(path: str, number: int) -> str:
    return f"{path} line {number}"
