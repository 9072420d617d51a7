"""Program: a server that says who it is and whom it sees, over TCP and UDP, and a client for it.

    echo.py serve PORT …
    echo.py ask tcp|udp ADDRESS PORT [SOURCE-PORT]

Runs on any Python 3 without packages: containers start it from the machine's own files.
"""

import select
import socket
import sys
from ipaddress import IPv6Address

_PATIENCE_S = 2.0


def serve(ports: list[int]) -> None:
    """Answer for ever, on all addresses of both families."""
    streams, datagrams = [], []
    for port in ports:
        streams.append(
            socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("::", port))
        datagrams.append(made)
    while True:
        ready, _, _ = select.select([*streams, *datagrams], [], [])
        for each in ready:
            if each in streams:
                connection, client = each.accept()
                connection.sendall(_answer(client[0]))
                connection.close()
            else:
                _, client = each.recvfrom(100)
                each.sendto(_answer(client[0]), client)


def ask(protocol: str, address: str, port: int, source: int = 0) -> str:
    """Return the answer; empty if none came in time."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as client:
        client.settimeout(_PATIENCE_S)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source:
            client.bind(("", source))
        try:
            client.connect((address, port))
            if protocol == "udp":
                client.send(b"who")
            return client.recv(200).decode().strip()
        except OSError:
            return ""


def _answer(client: str) -> bytes:
    seen = IPv6Address(client)
    return f"{socket.gethostname()} {seen.ipv4_mapped or seen}\n".encode()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve([int(each) for each in sys.argv[2:]])
    else:
        print(ask(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:])))  # noqa: T201
