"""What rtnetlink says and is told about neighbours that somebody wrote down for good.

Numbers are those of linux/neighbour.h and linux/rtnetlink.h.
"""

import struct
from collections.abc import Iterator

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RouteSocket,
    attribute,
    attributes,
    u32,
)

_RTM_NEWNEIGH = 28
_RTM_GETNEIGH = 30
_NDA_DST = 1
_NDA_LLADDR = 2
_NDA_IFINDEX = 8
_NUD_PERMANENT = 0x80
_NTF_PROXY = 0x08
_NDMSG = struct.Struct("=BxHiHBB")


def lasting(routes: RouteSocket, index: int, *, most: int) -> Iterator[bytes]:
    """Give the messages of a link's permanent entries, of both families, without its index.

    Of ``most`` entries of each family at most, whatever they are.
    """
    for family in FAMILIES.values():
        asked = _NDMSG.pack(family, 0, 0, 0, 0, 0) + u32(_NDA_IFINDEX, index)
        for message in routes.dump(_RTM_GETNEIGH, asked, most=most):
            found, _, of_link, state, _, _ = _NDMSG.unpack_from(message)
            values = attributes(message, _NDMSG.size)
            if of_link == index and state & _NUD_PERMANENT and _NDA_LLADDR in values:
                body = _NDMSG.pack(found, 0, 0, _NUD_PERMANENT, 0, 0)
                body += attribute(_NDA_DST, values[_NDA_DST])
                yield body + attribute(_NDA_LLADDR, values[_NDA_LLADDR])


def proxied(routes: RouteSocket, index: int) -> Iterator[bytes]:
    """Give the messages of the addresses that the host answers for on a link, as above."""
    for family in FAMILIES.values():
        asked = _NDMSG.pack(family, 0, 0, 0, _NTF_PROXY, 0) + u32(_NDA_IFINDEX, index)
        for message in routes.dump(_RTM_GETNEIGH, asked):
            _, _, of_link, _, flags, _ = _NDMSG.unpack_from(message)
            if of_link == index and flags & _NTF_PROXY:
                destination = attributes(message, _NDMSG.size)[_NDA_DST]
                body = _NDMSG.pack(family, 0, 0, 0, _NTF_PROXY, 0)
                yield body + attribute(_NDA_DST, destination)


def put(routes: RouteSocket, index: int, message: bytes) -> None:
    """Write an entry down for a link, as it was given."""
    family, _, _, state, flags, _ = _NDMSG.unpack_from(message)
    body = _NDMSG.pack(family, 0, index, state, flags, 0) + message[_NDMSG.size :]
    routes.change(_RTM_NEWNEIGH, body, flags=NLM_F_CREATE | NLM_F_REPLACE)
