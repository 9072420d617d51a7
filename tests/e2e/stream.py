"""One TCP connection that is used all the time, and the program at both of its ends.

    stream.py serve PORT             echoes every line
    stream.py hold ADDRESS PORT      sends numbers, one at a time, and prints each that comes back

A connection outlives what interrupts it for a moment, and nothing that ends it: so a number that
comes back after a change says that the change has ended no connection.
"""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PAUSE_S = 0.05


def serve(port: int) -> None:
    """Echo the lines of one connection after the other, for ever."""
    with socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True
    ) as listening:
        print("listening", flush=True)  # noqa: T201
        while True:
            connection, _ = listening.accept()
            # a client that ends with something unread resets it
            with (
                suppress(ConnectionError),
                connection,
                connection.makefile("rwb", buffering=0) as stream,
            ):
                for line in stream:
                    stream.write(line)


def hold(address: str, port: int) -> None:
    """Print what comes back, until the connection ends."""
    with socket.create_connection((address, port)) as connection:
        stream = connection.makefile("rwb", buffering=0)
        number = 0
        while True:
            stream.write(f"{number}\n".encode())
            answer = stream.readline()
            if not answer:
                return
            print(answer.decode().strip(), flush=True)  # noqa: T201
            number += 1
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        hold(sys.argv[2], int(sys.argv[3]))
else:
    from tests.e2e.traffic import Place
    from tests.e2e.world import Program, World, until

    class Stream:
        """A connection that is held."""

        def __init__(self, program: Program, name: str) -> None:
            self._program = program
            self._name = name

        def goes_on(self) -> None:
            """Assert that something that was sent from now on comes back."""
            before = len(self._program.said().splitlines())
            # one may have been on its way
            until(
                lambda: len(self._program.said().splitlines()) > before + 1,
                lambda: f"the connection {self._name} goes on: {self._program.said()[-200:]}",
            )
            assert self._program.running

        def stands_still(self) -> None:
            """Assert that nothing comes back any more."""

            def nothing_more() -> bool:
                before = len(self._program.said().splitlines())
                time.sleep(20 * _PAUSE_S)
                return len(self._program.said().splitlines()) == before

            until(nothing_more, f"the connection {self._name} stands still")

    @contextmanager
    def held(
        world: World, name: str, client: Place, server: Place, address: str, port: int = 7
    ) -> Iterator[Stream]:
        """Hold a connection from one place to another that has ``address``."""
        program = (sys.executable, str(Path(__file__)))
        serving = Program(world, f"{name}-server", *program, "serve", str(port), netns=server.netns)
        holding = Program(
            world, f"{name}-client", *program, "hold", address, str(port), netns=client.netns
        )
        try:
            serving.start()
            until(lambda: "listening" in serving.said(), f"the server of {name} listens")
            holding.start()
            stream = Stream(holding, name)
            stream.goes_on()
            yield stream
        finally:
            for each in (holding, serving):
                each.stop()
                each.log.unlink(missing_ok=True)
