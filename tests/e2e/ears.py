"""Who hears which frames: labelled frames sent from some links, listened for on many."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.e2e.traffic import Place
from tests.e2e.world import Program, World, until

_PROGRAM = (sys.executable, str(Path(__file__).parent / "frames.py"))

Link = tuple[Place, str]
"""Where a link is, and its name there."""


class Ears:
    """Listeners on links, by the names that were given to them."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = programs

    def heard(self, name: str) -> dict[str, set[str]]:
        """Return the labels that one listener has heard, each with the outer tags it had."""
        found: dict[str, set[str]] = {}
        for line in self._programs[name].said().splitlines():
            label, _, tag = line.partition(" ")
            if tag:
                found.setdefault(label, set()).add(tag)
        return found

    def hearers(self, label: str) -> set[str]:
        """Return who has heard a label."""
        return {name for name in self._programs if label in self.heard(name)}

    def wait_for(self, label: str, at: set[str]) -> None:
        """Wait until all of ``at`` have heard ``label``."""
        until(lambda: self.hearers(label) >= at, f"{sorted(at)} hear {label}")


@contextmanager
def listening(world: World, links: Mapping[str, Link], *, stacks: bool = False) -> Iterator[Ears]:
    """Listen on all of ``links`` at once; ``stacks``: to all tags, not to the outer one."""
    how = "stacks" if stacks else "hear"
    programs = {
        name: Program(world, f"ears-{name}", *_PROGRAM, how, link, netns=place.netns)
        for name, (place, link) in links.items()
    }
    with _started(programs) as ears:
        yield ears


@contextmanager
def _started(programs: Mapping[str, Program]) -> Iterator[Ears]:
    try:
        for program in programs.values():
            program.start()
        for name, program in programs.items():
            until(partial(_listens, program), f"{name} listens")
            assert program.running, f"{name} does not listen: {program.said()}"
        yield Ears(programs)
    finally:
        for program in programs.values():
            program.stop()
            program.log.unlink(missing_ok=True)


def _listens(program: Program) -> bool:
    return "ready" in program.said() or not program.running


def send(link: Link, frames: Iterable[tuple[str, str]]) -> None:
    """Send frames, each a label and a stack of tags as ``frames.py`` reads it."""
    place, name = link
    lines = "".join(f"{label} {stack}\n" for label, stack in frames)
    place.world.run(*_PROGRAM, "send", name, netns=place.netns, stdin=lines)


def forge(link: Link, packets: Iterable[tuple[str, str, str, str]], *, port: int) -> None:
    """Send UDP packets, each a label, its source and destination, and the MAC it is sent to."""
    place, name = link
    lines = "".join(f"{' '.join(packet)} {port}\n" for packet in packets)
    place.world.run(*_PROGRAM, "forge", name, netns=place.netns, stdin=lines)


def send_raw(link: Link, frames: Mapping[str, bytes]) -> None:
    """Send frames as they are, by label."""
    place, name = link
    lines = "".join(f"{label} {frame.hex()}\n" for label, frame in frames.items())
    place.world.run(*_PROGRAM, "raw", name, netns=place.netns, stdin=lines)


@contextmanager
def receiving(world: World, places: Mapping[str, Place], *, port: int) -> Iterator[Ears]:
    """Take what is delivered to a UDP port in all of ``places`` at once."""
    programs = {
        name: Program(world, f"ears-{name}", *_PROGRAM, "receive", str(port), netns=place.netns)
        for name, place in places.items()
    }
    with _started(programs) as ears:
        yield ears
