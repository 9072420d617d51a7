"""Program: one long TCP connection, to see whether it outlives a fault.

    session.py serve PORT
    session.py hold ADDRESS PORT

Who holds it says a number, waits until it comes back, and prints it, ten times a second; it ends
with the connection. Runs on any Python 3 without packages.
"""

import socket
import sys
import threading
import time

_PAUSE_S = 0.1


def serve(port: int) -> None:
    """Send back what comes, on any number of connections of both families."""
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print("listening", flush=True)  # noqa: T201
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


def hold(address: str, port: int) -> None:
    """Print each number that came back, until the connection ends."""
    with socket.create_connection((address, port)) as connection:
        heard = connection.makefile()
        number = 0
        while True:
            number += 1
            connection.sendall(f"{number}\n".encode())
            if heard.readline() != f"{number}\n":
                raise ConnectionError(f"not {number}")
            print(number, flush=True)  # noqa: T201
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        hold(sys.argv[2], int(sys.argv[3]))
