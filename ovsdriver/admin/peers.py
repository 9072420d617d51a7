"""Who asks, by what the kernel says of the other end of the socket."""

import pwd
import socket
import struct
from pathlib import Path

from aiohttp import web

_CREDENTIALS = struct.Struct("=iII")
"""unix(7), ``struct ucred``: process, user, group."""
_NO_LOGIN = "4294967295"


def user(request: web.BaseRequest) -> str:
    """Return the name of who logged in, and as whom, if that is another: ``ann as root``.

    A user without a name is told by number; empty if the kernel does not know.
    """
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return ""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, uid, _ = _CREDENTIALS.unpack(data)
    name, login = _name(uid), _login(process)
    return name if login in ("", name) else f"{login} as {name}"


def _login(process: int) -> str:
    """Return who logged in where a process was started: ``sudo`` does not change that."""
    try:
        uid = Path(f"/proc/{process}/loginuid").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return "" if uid in ("", _NO_LOGIN) else _name(int(uid))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
