"""Long TCP connections between places of a world."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGKILL

from tests.e2e.traffic import Place
from tests.e2e.world import Program, until

_PROGRAM = (sys.executable, str(Path(__file__).parent / "session.py"))
_PORT = 7007
_MORE = 5
"""Numbers that come back through what works again."""


class Session:
    """A connection that is being held."""

    def __init__(self, name: str, program: Program) -> None:
        self._name = name
        self._program = program

    def goes_on(self) -> None:
        """Assert that the connection lives and carries something, now."""
        before = self._count()
        until(
            lambda: self._count() >= before + _MORE or not self._program.running,
            lambda: f"{self._name} goes on after {before}: {self._program.said()[-300:]}",
            timeout_s=90,  # TCP tries again at longer and longer intervals
        )
        assert self._program.running, f"{self._name} broke: {self._program.said()[-300:]}"

    def _count(self) -> int:
        return self._program.said().count("\n")


@contextmanager
def held(client: Place, server: Place, *addresses: str) -> Iterator[list[Session]]:
    """Hold a connection from one place to each of the other's addresses."""
    world = client.world
    with ExitStack() as undo:

        def start(name: str, *command: str, netns: str | None) -> Program:
            program = Program(world, name, *_PROGRAM, *command, netns=netns)
            program.log.unlink(missing_ok=True)
            program.start()
            undo.callback(program.stop, SIGKILL)
            return program

        served = start(f"served-by-{server.name}", "serve", str(_PORT), netns=server.netns)
        until(lambda: "listening" in served.said(), f"{server.name} listens")
        sessions = []
        for number, address in enumerate(addresses):
            name = f"held-{client.name}-{server.name}-{number}"
            program = start(name, "hold", address, str(_PORT), netns=client.netns)
            sessions.append(Session(f"{client.name} to {address}", program))
        for session in sessions:
            session.goes_on()
        yield sessions
