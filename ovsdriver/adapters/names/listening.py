"""Sockets that name servers listen at."""

import socket
from collections.abc import Sequence

from ovsdriver.adapters.descriptors import out_of_the_way


def bound(
    family: socket.AddressFamily,
    kind: socket.SocketKind,
    port: int,
    options: Sequence[tuple[int, int, int | bytes]] = (),
) -> socket.socket:
    """Return a socket on every address, those that are not there yet as well; one of TCP listens.

    Args:
        family: of addresses.
        kind: of UDP or TCP.
        port: where.
        options: as ``setsockopt`` takes them, set before it is bound.

    Raises:
        OSError: the kernel does not do it.
    """
    made = out_of_the_way(socket.socket(family, kind | socket.SOCK_CLOEXEC))
    try:
        made.setblocking(False)
        for level, name, value in options:
            made.setsockopt(level, name, value)
        made.bind(("", port))
        if kind == socket.SOCK_STREAM:
            made.listen()
    except BaseException:
        made.close()
        raise
    return made
