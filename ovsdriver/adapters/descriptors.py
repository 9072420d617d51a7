"""Numbers of open files."""

import fcntl
import socket

_FIRST = 1024


def out_of_the_way(made: socket.socket) -> socket.socket:
    """Give a socket a number that others do not need: libnftables waits with select(2).

    That knows the first 1,024 files alone, and ends the process that shows it another one.
    """
    try:
        number = fcntl.fcntl(made.fileno(), fcntl.F_DUPFD_CLOEXEC, _FIRST)
    except OSError:
        return made  # so many may not be open here
    made.close()
    return socket.socket(fileno=number)
