"""One TCP stream, as a program in a container's namespace: prints the bits per second received.

python stream.py receive PORT SECONDS   |   python stream.py send ADDRESS PORT SECONDS
"""

import socket
import sys
import time

_PIECE = bytes(1 << 20)


def receive(port: int, seconds: float) -> float:
    """Take one connection, and count what comes in the time after its first bytes."""
    with socket.create_server(("", port)) as listening:
        print("listening", flush=True)
        listening.settimeout(30)
        connection, _ = listening.accept()
    with connection:
        connection.settimeout(30)
        buffer = bytearray(1 << 20)
        connection.recv_into(buffer)
        began = time.perf_counter()
        total = 0
        while (passed := time.perf_counter() - began) < seconds:
            total += connection.recv_into(buffer)
    return total * 8 / passed


def send(address: str, port: int, seconds: float) -> None:
    """Send until the time is over, or the other side has had enough."""
    with socket.create_connection((address, port), timeout=30) as connection:
        end = time.perf_counter() + seconds
        try:
            while time.perf_counter() < end:
                connection.sendall(_PIECE)
        except OSError:
            return


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        print(receive(int(sys.argv[2]), float(sys.argv[3])))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
