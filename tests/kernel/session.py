"""Program: a TCP session that lasts, and the server that it needs.

    session.py serve PORT
    session.py talk ADDRESS PORT

``serve`` answers each line of each client with the line, a space and the client's address and
port. ``talk`` sends a number every fifth of a second, over one connection, and prints each
answer; it waits as long as it takes, and ends with the connection.
"""

import socket
import sys
import threading
import time

_PAUSE_S = 0.2


def serve(port: int) -> None:
    """Answer for ever, on all addresses of both families."""
    family = socket.AF_INET6
    with socket.create_server(("::", port), family=family, dualstack_ipv6=True) as server:
        print("ready", flush=True)  # noqa: T201
        while True:
            client, (address, source, *_) = server.accept()
            threading.Thread(target=_answer, args=(client, f"{address}:{source}")).start()


def _answer(client: socket.socket, name: str) -> None:
    with client, client.makefile("rw") as lines:
        for line in lines:
            lines.write(f"{line.strip()} {name.removeprefix('::ffff:')}\n")
            lines.flush()


def talk(address: str, port: int) -> None:
    """Count, until the connection ends."""
    with socket.create_connection((address, port)) as server, server.makefile("rw") as lines:
        number = 0
        while True:
            number += 1
            lines.write(f"{number}\n")
            lines.flush()
            answer = lines.readline()
            if not answer:
                return
            print(answer, end="", flush=True)  # noqa: T201
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        talk(sys.argv[2], int(sys.argv[3]))
