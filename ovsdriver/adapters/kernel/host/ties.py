"""What holds on to a link by other means than addresses and routes, and would be torn off it.

Numbers are those of linux/nexthop.h and linux/fib_rules.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator

from ovsdriver.adapters.kernel.codec.disciplines import Discipline, disciplines
from ovsdriver.adapters.kernel.codec.link_messages import Link
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NetlinkError,
    RouteSocket,
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
            (
                each.kind
                for each in disciplines(routes, link.index)
                if each.handle and not _simple(each)
            ),
            "",
        ),
    )


def root_qdisc(routes: RouteSocket, index: int) -> str:
    """Return the discipline that somebody gave a link, to be put back; empty if the kernel did."""
    found = (each.message.hex() for each in disciplines(routes, index) if _simple(each))
    return next(found, "")


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
    for family in FAMILIES.values():
        for message in routes.dump(_RTM_GETRULE, _RULE.pack(family, *[0] * 8)):
            values = attributes(message, _RULE.size)
            named = {read_text(values.get(kind, b"")) for kind in (_FRA_IIFNAME, _FRA_OIFNAME)}
            if name in named:
                yield read_u32(values[_FRA_PRIORITY]) if _FRA_PRIORITY in values else 0


def _simple(found: Discipline) -> bool:
    return found.root and found.kind in _SIMPLE
