"""TCP sessions that count while something happens to what carries them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.e2e.traffic import Place
from tests.e2e.world import Program, World, until

PORT = 7000

_PROGRAM = (sys.executable, str(Path(__file__).parent / "session.py"))
_NUMBERS = count(1)


class Session:
    """One connection; the client sends on as soon as it has been answered."""

    def __init__(self, name: str, program: Program) -> None:
        self.name = name
        self._program = program

    def _answers(self) -> list[str]:
        return [line for line in self._program.said().split("\n")[:-1] if line[:1].isdigit()]

    @property
    def answers(self) -> int:
        """How many have come so far."""
        return len(self._answers())

    @property
    def peers(self) -> set[str]:
        """As what the server has seen the client, ``ADDRESS:PORT``."""
        return {line.partition(" ")[2] for line in self._answers()}

    def goes_on(self) -> None:
        """Assert that it counts on, over the same connection."""
        before = self.answers
        until(
            lambda: self.answers >= before + 5 or not self._program.running,
            lambda: f"{self.name} goes on after {before} answers\n{self._program.said()[-300:]}",
            timeout_s=60,
        )
        assert self._program.running, f"{self.name} has ended: {self._program.said()[-300:]}"


@contextmanager
def serving(world: World, place: Place) -> Iterator[None]:
    """Serve sessions at a place, on all of its addresses."""
    server = _program(world, place, "serve", str(PORT))
    server.start()
    try:
        until(lambda: "ready" in server.said(), f"{place.name} serves sessions")
        yield
    finally:
        server.stop()


@contextmanager
def session(world: World, place: Place, address: str) -> Iterator[Session]:
    """Hold a session from a place to a server; yields once it counts."""
    client = _program(world, place, "talk", address, str(PORT))
    client.start()
    try:
        made = Session(f"the session from {place.name} to {address}", client)
        made.goes_on()
        yield made
    finally:
        client.stop()


def _program(world: World, place: Place, *words: str) -> Program:
    name = f"session-{next(_NUMBERS)}"
    return Program(world, name, *_PROGRAM, *words, netns=place.netns)
