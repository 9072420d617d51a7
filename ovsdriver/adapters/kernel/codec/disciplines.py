"""Queueing disciplines on links, whosever they are: read, put and removed.

Structures are those of linux/rtnetlink.h.
"""

import errno
import struct
from dataclasses import dataclass

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NetlinkError,
    RouteSocket,
    attribute,
    attributes,
    passed_over,
    read_text,
    text,
)

_NEW, _DELETE, _GET = 36, 37, 38
TCMSG = struct.Struct("=BxxxiIII")
"""Family, index of the link, handle, parent, and what the kind of message has besides."""
KIND, OPTIONS = 1, 2
ROOT = 0xFFFF_FFFF
ETHERNET = 1
"""TC_LINKLAYER_ETHERNET: the kernel counts by itself, and no table has to be sent."""
TICK_NS = 64
"""Of the clock in which the kernel tells a burst (PSCHED_SHIFT)."""


class NoSuchKindError(Exception):
    """The kernel has no such discipline or classifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discipline:
    """A discipline on a link."""

    index: int
    """Of the link."""
    handle: int
    """0 for the one that the kernel gives every link."""
    parent: int
    kind: str
    options: bytes
    message: bytes
    """All of it, as the kernel describes it."""

    @property
    def root(self) -> bool:
        """Whether it is the outermost, and somebody's."""
        return self.parent == ROOT and bool(self.handle)


def disciplines(routes: RouteSocket, index: int = 0) -> list[Discipline]:
    """Return the disciplines of one link or (index 0) of all."""
    found = map(_read, routes.dump(_GET, TCMSG.pack(0, index, 0, 0, 0)))
    # the kernel does not filter
    return [each for each in found if index in (0, each.index)]


def put_root(routes: RouteSocket, index: int, message: bytes) -> None:
    """Give a link the root discipline that a message describes; it replaces the one there."""
    _, _, handle, parent, _ = TCMSG.unpack_from(message)
    told = attributes(message, TCMSG.size)
    said = [attribute(kind, told[kind]) for kind in (KIND, OPTIONS) if kind in told]
    body = TCMSG.pack(0, index, handle, parent, 0) + b"".join(said)
    routes.change(_NEW, body, flags=NLM_F_CREATE | NLM_F_REPLACE)


def add(
    routes: RouteSocket, index: int, handle: int, parent: int, kind: str, options: bytes
) -> None:
    """Give a link a discipline, at its root or in a class of another one.

    Raises:
        NoSuchKindError: the kernel lacks it.
    """
    body = TCMSG.pack(0, index, handle, parent, 0) + text(KIND, kind) + attribute(OPTIONS, options)
    make(routes, _NEW, body, kind, flags=NLM_F_CREATE | NLM_F_REPLACE)


def make(routes: RouteSocket, message: int, body: bytes, kind: str, *, flags: int) -> None:
    """Have the kernel make a part of a discipline; NoSuchKindError: it lacks ``kind``."""
    try:
        routes.change(message, body, flags=flags)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            raise NoSuchKindError(kind) from error
        raise


def remove(routes: RouteSocket, index: int, *, handle: int = 0, parent: int = ROOT) -> None:
    """Remove a discipline, with all in it; none there is no matter."""
    with passed_over(errno.ENOENT, errno.EINVAL):
        routes.change(_DELETE, TCMSG.pack(0, index, handle, parent, 0))


def _read(message: bytes) -> Discipline:
    _, index, handle, parent, _ = TCMSG.unpack_from(message)
    told = attributes(message, TCMSG.size)
    return Discipline(
        index=index,
        handle=handle,
        parent=parent,
        kind=read_text(told.get(KIND, b"")),
        options=told.get(OPTIONS, b""),
        message=message,
    )
