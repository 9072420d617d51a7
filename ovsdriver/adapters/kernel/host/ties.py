"""What holds on to a link by other means than addresses and routes, and would be torn off it.

Numbers are those of linux/nexthop.h, linux/fib_rules.h and linux/pkt_sched.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator

from ovsdriver.adapters.kernel.codec.link_messages import Link
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NetlinkError,
    RouteSocket,
    attribute,
    attributes,
    read_text,
    read_u32,
    u32,
)
from ovsdriver.domain.wires.observed import LinkTies

_RTM_GETNEXTHOP = 106
_NHMSG = struct.Struct("=BBBBI")
_NHA_ID = 1
_NHA_OIF = 5

_RTM_GETRULE = 34
_RULE = struct.Struct("=BBBBBBBBI")
_FRA_IIFNAME = 3
_FRA_PRIORITY = 6
_FRA_OIFNAME = 17

_RTM_NEWQDISC = 36
_RTM_GETQDISC = 38
_TCMSG = struct.Struct("=BxxxiIII")
_TCA_KIND = 1
_TCA_OPTIONS = 2
_ROOT = 0xFFFF_FFFF
_SIMPLE = frozenset(
    ["fq", "fq_codel", "codel", "pie", "fq_pie", "cake", "sfq", "pfifo", "bfifo", "pfifo_fast"]
)
"""Disciplines which are all said in the message that describes them: no classes, no filters."""


def ties(routes: RouteSocket, link: Link) -> LinkTies:
    """Return what of the host refers to a link."""
    return LinkTies(
        nexthops=tuple(_nexthops(routes, link.index)),
        rules=tuple(_rules(routes, link.name)),
        qdisc=next(
            (kind for kind, parent, _ in _qdiscs(routes, link.index) if not _simple(kind, parent)),
            "",
        ),
    )


def root_qdisc(routes: RouteSocket, index: int) -> str:
    """Return the discipline that somebody gave a link, to be put back; empty if the kernel did."""
    return next(
        (
            message.hex()
            for kind, parent, message in _qdiscs(routes, index)
            if _simple(kind, parent)
        ),
        "",
    )


def put_root_qdisc(routes: RouteSocket, index: int, message: str) -> None:
    """Give a link the discipline back that it had."""
    body = bytes.fromhex(message)
    _, _, handle, parent, _ = _TCMSG.unpack_from(body)
    asked = _TCMSG.pack(0, index, handle, parent, 0)
    found = attributes(body, _TCMSG.size)
    for kind in (_TCA_KIND, _TCA_OPTIONS):
        if kind in found:
            asked += attribute(kind, found[kind])
    routes.change(_RTM_NEWQDISC, asked, flags=NLM_F_CREATE | NLM_F_REPLACE)


def _nexthops(routes: RouteSocket, index: int) -> Iterator[int]:
    asked = _NHMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + u32(_NHA_OIF, index)
    try:
        found = routes.dump(_RTM_GETNEXTHOP, asked)
    except NetlinkError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return  # kernels before 5.3 have none
    for message in found:
        values = attributes(message, _NHMSG.size)
        if _NHA_OIF in values and read_u32(values[_NHA_OIF]) == index:
            yield read_u32(values[_NHA_ID])


def _rules(routes: RouteSocket, name: str) -> Iterator[int]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in routes.dump(_RTM_GETRULE, _RULE.pack(family, *[0] * 8)):
            values = attributes(message, _RULE.size)
            named = {read_text(values.get(kind, b"")) for kind in (_FRA_IIFNAME, _FRA_OIFNAME)}
            if name in named:
                yield read_u32(values[_FRA_PRIORITY]) if _FRA_PRIORITY in values else 0


def _qdiscs(routes: RouteSocket, index: int) -> Iterator[tuple[str, int, bytes]]:
    """Give kind, parent and message of what somebody put on a link; the kernel's has no handle."""
    for message in routes.dump(_RTM_GETQDISC, _TCMSG.pack(0, index, 0, 0, 0)):
        _, of_link, handle, parent, _ = _TCMSG.unpack_from(message)
        if of_link == index and handle:
            kind = attributes(message, _TCMSG.size).get(_TCA_KIND, b"")
            yield read_text(kind), parent, message


def _simple(kind: str, parent: int) -> bool:
    return parent == _ROOT and kind in _SIMPLE
