"""Connections as the kernel's conntrack knows them: finding and forgetting some of them.

On a netlink socket of its own kind; blocks, and belongs on a worker thread.
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from netaddr import IPAddress

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
    nest,
    read_address,
    u32,
)
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records.model import Publication

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
_NETLINK_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_GET = _SUBSYSTEM | 1
_DELETE = _SUBSYSTEM | 2
_NFGEN = struct.Struct("=BBH")
_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_REPLY = 2
_CTA_STATUS = 3
_IPS_SEEN_REPLY = 1 << 1
_CTA_PROTOINFO = 4
_CTA_PROTOINFO_TCP = 1
_CTA_PROTOINFO_TCP_STATE = 1
_ENDED = (7, 8)
"""linux/netfilter/nf_conntrack_tcp.h: TIME_WAIT, CLOSE."""
_CTA_COUNTERS = (9, 10)
"""Of the first packet's direction, and back."""
_CTA_COUNTERS_BYTES = 2
_CTA_ID = 12
_CTA_ZONE = 18
_CTA_FILTER = 25
_CTA_FILTER_ORIG_FLAGS = 1
_CTA_TUPLE_IP = 1
_CTA_TUPLE_PROTO = 2
_CTA_IP_SRC = {4: 1, 6: 3}
_CTA_IP_DST = {4: 2, 6: 4}
_CTA_PROTO_NUM = 1
_CTA_PROTO_SRC_PORT = 2
_CTA_PROTO_DST_PORT = 3
_BY_PROTOCOL_AND_PORT = 1 << 3 | 1 << 5
"""Bits of CTA_FILTER_ORIG_FLAGS: compare the protocol and the destination's port."""
_NESTED = 0x8000
"""NLA_F_NESTED."""
_BE16 = struct.Struct(">H")
_BE32 = struct.Struct(">I")
_BE64 = struct.Struct(">Q")

_FEW = 20_000
"""Up to so many connections are all looked at here, in some 0.1 s. Each time the kernel is asked
it walks all of its table, filled or not, which takes 40 ms for one of 262,144 buckets."""
_FILTERED = 16
"""If there are more, up to so many ports are asked for one by one."""
_COUNT = "net/netfilter/nf_conntrack_count"
"""Not there where no connection was ever tracked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A connection: where its first packet went, and who answers."""

    protocol: int
    destination: IPAddress
    port: int
    answering: IPAddress
    answering_port: int


class Connection(NamedTuple):
    """Who has asked whom, and what passed where the kernel counts that."""

    protocol: int
    source: IPAddress
    destination: IPAddress
    port: int
    answering: IPAddress
    """Who answers: the destination, or who a published port leads to."""
    bytes: int | None
    """Both ways; None without ``net.netfilter.nf_conntrack_acct``."""
    answered: bool
    """Packets have come back, and TCP has not ended."""


class Conntrack(NetlinkSocket):
    """The connections of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        super().__init__(_NETLINK_NETFILTER)

    def cut(self, published: Collection[Publication], local: Collection[IPAddress]) -> int:
        """Forget connections to published ports, translated or not (yet); returns how many.

        Args:
            published: the ports.
            local: addresses of this host.

        Raises:
            OSError: the kernel does not answer.
        """
        by_place: dict[tuple[int, int], list[Publication]] = {}
        ranges = [each for each in published if each.count > 1]
        for each in published:
            if each.count == 1:
                by_place.setdefault((each.protocol.number, each.host_port), []).append(each)
        number = 0
        for body in _questions(published):
            for message in self.dump(_GET, body):
                flow = read_flow(message)
                if flow is None:
                    continue
                targets = (*by_place.get((flow.protocol, flow.port), ()), *ranges)
                if any(leads(flow, each, local) for each in targets):
                    number += self._forget(message)
        return number

    def connections(self, most: int) -> list[Connection]:
        """Return connections, or the first ones; OSError if the kernel does not answer."""
        messages = self.dump(_GET, _NFGEN.pack(socket.AF_UNSPEC, 0, 0), most=most)
        return [found for found in map(_connection, messages) if found is not None]

    def _forget(self, message: bytes) -> bool:
        found = attributes(message, _NFGEN.size)
        body = message[: _NFGEN.size]
        for kind in (_CTA_TUPLE_ORIG, _CTA_ZONE, _CTA_ID):
            if kind in found:
                nested = _NESTED if kind == _CTA_TUPLE_ORIG else 0
                body += attribute(kind | nested, found[kind])
        try:
            self.change(_DELETE, body)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True


def _questions(published: Collection[Publication]) -> Iterator[bytes]:
    """Return the dumps to ask for."""
    if int(Sysctls().read(_COUNT) or 0) <= _FEW:
        yield _NFGEN.pack(socket.AF_UNSPEC, 0, 0)
        return
    for family, number in FAMILIES.items():
        header = _NFGEN.pack(number, 0, 0)
        ours = [each for each in published if each.host.version == family]
        places = {(each.protocol.number, each.host_port) for each in ours}
        if len(places) > _FILTERED or any(each.count > 1 for each in ours):
            yield header
            continue
        for place in sorted(places):
            yield header + _filter(*place)


def leads(flow: Flow, published: Publication, local: Collection[IPAddress]) -> bool:
    """Whether a connection goes by a published port, or was for it and is not translated."""
    number = flow.port - published.host_port
    if flow.protocol != published.protocol.number or not 0 <= number < published.count:
        return False
    answering = (flow.answering, flow.answering_port)
    if answering == (published.address, published.port + number):
        return published.at.everywhere or flow.destination == published.host
    if answering != (flow.destination, flow.port):
        return False
    if not published.at.everywhere:
        return bool(flow.destination == published.host)
    return flow.destination in local or flow.destination.is_loopback()


def read_flow(message: bytes) -> Flow | None:
    """Read a message of a dump; None for a protocol without ports."""
    family = 4 if message[0] == socket.AF_INET else 6
    found = attributes(message, _NFGEN.size)
    original = _tuple(found.get(_CTA_TUPLE_ORIG, b""))
    reply = _tuple(found.get(_CTA_TUPLE_REPLY, b""))
    if original is None or reply is None:
        return None
    there, back = original[_CTA_TUPLE_IP], reply[_CTA_TUPLE_IP]
    destination, answering = there.get(_CTA_IP_DST[family]), back.get(_CTA_IP_SRC[family])
    port = original[_CTA_TUPLE_PROTO].get(_CTA_PROTO_DST_PORT)
    answering_port = reply[_CTA_TUPLE_PROTO].get(_CTA_PROTO_SRC_PORT)
    if destination is None or answering is None or port is None or answering_port is None:
        return None
    return Flow(
        protocol=original[_CTA_TUPLE_PROTO][_CTA_PROTO_NUM][0],
        destination=read_address(destination),
        port=_BE16.unpack(port)[0],
        answering=read_address(answering),
        answering_port=_BE16.unpack(answering_port)[0],
    )


def _connection(message: bytes) -> Connection | None:
    flow = read_flow(message)
    if flow is None:
        return None
    found = attributes(message, _NFGEN.size)
    original = _tuple(found[_CTA_TUPLE_ORIG]) or {}
    source = original[_CTA_TUPLE_IP][_CTA_IP_SRC[flow.destination.version]]
    counters = [attributes(found[each]) for each in _CTA_COUNTERS if each in found]
    passed = sum(_BE64.unpack(each[_CTA_COUNTERS_BYTES])[0] for each in counters)
    return Connection(
        flow.protocol,
        read_address(source),
        flow.destination,
        flow.port,
        flow.answering,
        passed if counters else None,
        _answered(found),
    )


def _answered(found: Mapping[int, bytes]) -> bool:
    tcp = attributes(found.get(_CTA_PROTOINFO, b"")).get(_CTA_PROTOINFO_TCP, b"")
    state = attributes(tcp).get(_CTA_PROTOINFO_TCP_STATE, b"\0")[0]
    (status,) = _BE32.unpack(found.get(_CTA_STATUS, bytes(4)))
    return bool(status & _IPS_SEEN_REPLY) and state not in _ENDED


def _tuple(data: bytes) -> dict[int, dict[int, bytes]] | None:
    parts = {kind: attributes(value) for kind, value in attributes(data).items()}
    wanted = (_CTA_TUPLE_IP, _CTA_TUPLE_PROTO)
    return parts if all(each in parts for each in wanted) else None


def _filter(protocol: int, port: int) -> bytes:
    """Return what limits a dump; kernels before 5.8 do not know it and list everything."""
    place = attribute(_CTA_PROTO_NUM, bytes([protocol]))
    place += attribute(_CTA_PROTO_DST_PORT, _BE16.pack(port))
    return nest(_CTA_TUPLE_ORIG, nest(_CTA_TUPLE_PROTO, place)) + nest(
        _CTA_FILTER, u32(_CTA_FILTER_ORIG_FLAGS, _BY_PROTOCOL_AND_PORT)
    )
