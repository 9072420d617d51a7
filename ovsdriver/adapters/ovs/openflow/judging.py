"""The tables behind table 0 that judge connections of containers with access rules.

A packet comes with the zone of its network in a register. It goes back at once if neither who
sends nor who gets it has rules, or if it only finds others. Else conntrack says which connection it
is of, and both ends of that are put into registers as they were when it began: rules need not know
which way a packet goes, nor its family. Then the end that began is looked up, and what its policy
says of the other, then the other way round. What passes both goes back to table 0, with all that we
put on it taken off.

Who began is known of what conntrack has seen from its begin. What is older than the first rule, or
than vswitchd, is taken up in the middle, and a wrong guess would let a forbidden connection live:

- Of TCP the end with a port above 32767 began, if the other one's is below. Packets of the other
  end are judged as answers, and conntrack only remembers it by one of the first end's. Where ports
  do not tell, each packet is judged as if its sender had begun, and none is remembered.
- Of UDP the same holds, but that what seems an answer is judged as if its sender had begun: UDP
  has no sign of a begin, and who sends first may choose its port.

What conntrack does not know at all (neither TCP, UDP, SCTP nor ICMP) is judged in this way, too.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from ovsdriver.adapters.ovs.openflow import messages
from ovsdriver.adapters.ovs.openflow.messages import Entry, Field
from ovsdriver.domain.records.options.access import Side
from ovsdriver.domain.records.options.flows import Governed, Ruling

ZONE = 12
"""The register with the zone in its lower half, and two bits above: the connection is to be
remembered; who sends has rules."""


class Table(IntEnum):
    """In the order in which a packet passes them."""

    WHOSE = 239
    """Whether who sends or gets it has rules."""
    TRACK = 240
    ENDS = 241
    BEGAN = 242
    """Which policy the end that began has."""
    TO = 243
    """What that says of the other end."""
    REACHED = 244
    FROM = 245
    DONE = 246


_REMEMBERED, _GOVERNED = 16, 17
_BEGAN, _REACHED, _POLICY, _SERVICE = 0, 4, 8, 13
"""Registers: four and four for addresses, of IPv4 in the last of them; two for the digits of a
policy; and one for the port that is reached, with the protocol above it."""
_PROTOCOL = 16
_USED = (*range(10), ZONE, _SERVICE)

_OXM, _NXM = 0x8000 << 7, 1 << 7
_ETH_TYPE, _IP_PROTOCOL, _TCP_SOURCE, _TCP_TARGET = _OXM | 5, _OXM | 10, _OXM | 13, _OXM | 14
_UDP_SOURCE, _UDP_TARGET = _OXM | 15, _OXM | 16
_ETH_TARGET, _ICMPV6_TYPE = _OXM | 3, _OXM | 29
_TARGETS = {4: _OXM | 12, 6: _OXM | 27}
_MOVED_PROTOCOL, _MOVED_TCP_SOURCE, _MOVED_TCP_TARGET, _MOVED_UDP_TARGET = 6, 9, 10, 12
"""What is matched as one field is moved as another: by its number of Nicira's, not OpenFlow's."""
_FRAGMENT, _STATE = _NXM | 26, _NXM | 105
_TCP_FLAGS = 0xFFFF << 7 | 42
_ONF = struct.pack(">I", 0x4F4E4600)
"""In front of a field of the Open Networking Foundation; in ours, value and mask are then one."""
_SYN, _ACK = 0x02, 0x10
_TCP, _UDP, _ICMP, _ICMPV6, _SCTP = 6, 17, 1, 58, 132
_PIECE = Field(_FRAGMENT, b"\x01", b"\x01")
_NEW, _INVALID, _TRACKED = 1, 16, 32
_HIGH_PORT = 0x8000
_NEIGHBOURS_AND_GROUPS = (130, 131, 132, 133, 134, 135, 136, 143)
"""Types of ND and MLD."""
_DHCP, _DHCPV6 = (68, 67), (546, 547)
_EVERYBODY, _DHCPV6_SERVERS = b"\xff" * 4, bytes.fromhex("ff020000000000000000000000010002")
HIGHEST = 8
"""Of the priorities here."""
_FINDS, _GETS, _MISLED, _SENDS = 4, 3, 2, 1
"""Priorities in the first of these tables."""
_GROUP = b"\x01" + bytes(5)


@dataclass(frozen=True, slots=True)
class _Family:
    """Of one version of IP."""

    type: int
    icmp: int
    source: int
    target: int
    tracked_source: int
    tracked_target: int
    bits: int
    """Of an address."""


_FAMILIES = {
    4: _Family(0x0800, _ICMP, 7, 8, _NXM | 120, _NXM | 121, 32),
    6: _Family(0x86DD, _ICMPV6, _NXM | 19, _NXM | 20, _NXM | 122, _NXM | 123, 128),
}
_TRACKED_PROTOCOL, _TRACKED_PORT = _NXM | 119, _NXM | 125
_ADDRESSES = {_BEGAN: _NXM | 111, _REACHED: _NXM | 112}
"""The same registers taken together, for IPv6 (NXM_NX_XXREG)."""


def enter(zone: int, *, governed: bool) -> list[bytes]:
    """Return the actions that send a packet this way, which comes back to table 0 if it passes."""
    rules = [messages.load(ZONE, 1, _GOVERNED, bits=1)] if governed else []
    return [
        messages.load(ZONE, zone, bits=16),
        *rules,
        messages.look_again(Table.WHOSE),
    ]


@cache
def machinery(cookie: int, passed: int, register: int) -> frozenset[Entry]:
    """Return the flows that are the same on every bridge.

    Args:
        cookie: theirs.
        passed: the bit to set on what passes.
        register: the register that it is in.
    """
    return frozenset(
        Entry(priority, cookie, frozenset(match), messages.apply(*actions) if actions else b"", at)
        for at, priority, match, actions in _machinery(passed, register)
    )


_Row = tuple[Table, int, list[Field], list[bytes]]


def _machinery(passed: int, register: int) -> Iterator[_Row]:
    done = _done(passed, register)
    sends = Field(_register(ZONE), *_masked(1 << _GOVERNED, 1 << _GOVERNED))
    yield Table.WHOSE, _SENDS, [sends], [messages.look_again(Table.TRACK)]
    yield from ((Table.WHOSE, _FINDS, match, done) for match in _finds())
    for version, family in _FAMILIES.items():
        kind = _kind(version)
        asked = [messages.track(ZONE, Table.ENDS)]
        for protocol in (_TCP, _UDP, family.icmp, _SCTP):
            yield Table.TRACK, 1, [kind, _protocol(protocol)], asked
        yield Table.TRACK, 1, [kind, _PIECE], asked
        yield from _ends(family, kind)
        remembered = Field(_register(ZONE), *_masked(1 << _REMEMBERED, 1 << _REMEMBERED))
        yield Table.DONE, 1, [kind, remembered], [messages.commit(ZONE), *done]
    for at, then in (
        (Table.TRACK, Table.ENDS),
        (Table.BEGAN, Table.REACHED),
        (Table.REACHED, Table.DONE),
    ):
        yield at, 0, [], [messages.look_again(then)]
    for at in (Table.WHOSE, Table.DONE):
        yield at, 0, [], done


def _finds() -> Iterator[list[Field]]:
    """Give matches of what finds neighbours, groups and addresses."""
    for each in _NEIGHBOURS_AND_GROUPS:
        found = Field(_ICMPV6_TYPE, each.to_bytes(1, "big"))
        yield [_kind(6), _protocol(_ICMPV6), found]
    for version, everybody, (client, server) in (
        (4, _EVERYBODY, _DHCP),
        (6, _DHCPV6_SERVERS, _DHCPV6),
    ):
        ports = Field(_UDP_SOURCE, _two(client)), Field(_UDP_TARGET, _two(server))
        yield [_kind(version), _protocol(_UDP), Field(_TARGETS[version], everybody), *ports]
        ports = Field(_UDP_SOURCE, _two(server)), Field(_UDP_TARGET, _two(client))
        yield [_kind(version), _protocol(_UDP), *ports]


def _ends(family: _Family, kind: Field) -> Iterator[_Row]:
    """Return the flows that find out who began what with whom."""
    new = _state(_NEW | _TRACKED)
    tcp, udp = [kind, _protocol(_TCP), new], [kind, _protocol(_UDP), new]
    known = _judged(
        family, (family.tracked_source, family.tracked_target), _TRACKED_PORT, _TRACKED_PROTOCOL
    )
    # what begins is judged by the packet's own fields, of which a simulation knows, too
    sent = (family.source, family.target)
    by_tcp, by_udp = (
        _judged(family, sent, each) for each in (_MOVED_TCP_TARGET, _MOVED_UDP_TARGET)
    )
    by_other = _judged(family, sent, None)
    answer = _judged(family, (family.target, family.source), _MOVED_TCP_SOURCE)
    remember = messages.load(ZONE, 1, _REMEMBERED, bits=1)
    syn = Field(_TCP_FLAGS, _ONF, _two(_SYN) + _two(_SYN | _ACK))
    yield Table.ENDS, HIGHEST, [kind, _state(_INVALID, _INVALID)], []
    yield Table.ENDS, 7, [kind, new, _PIECE], [remember, *known]
    yield Table.ENDS, 6, [*tcp, syn], [remember, *by_tcp]
    yield Table.ENDS, 5, [*tcp, _low(_TCP_SOURCE), _high(_TCP_TARGET)], answer
    yield Table.ENDS, 5, [*tcp, _high(_TCP_SOURCE), _low(_TCP_TARGET)], [remember, *by_tcp]
    yield Table.ENDS, 4, tcp, by_tcp
    yield Table.ENDS, 5, [*udp, _low(_UDP_SOURCE), _high(_UDP_TARGET)], by_udp
    yield Table.ENDS, 4, udp, [remember, *by_udp]
    yield Table.ENDS, 3, [kind, new], [remember, *by_other]
    yield Table.ENDS, 2, [kind, _state(_TRACKED, _TRACKED | _INVALID)], known
    yield Table.ENDS, 1, [kind, _state(0, _TRACKED)], by_other


def _judged(
    family: _Family, ends: tuple[int, int], port: int | None, protocol: int = _MOVED_PROTOCOL
) -> list[bytes]:
    """Return the actions that have a connection judged: who began and was reached, and at what."""
    wide = family.bits == 128
    moved = [
        messages.move(
            messages.field(end, family.bits // 8),
            messages.field(_ADDRESSES[to], 16) if wide else _header(to + 3),
            bits=family.bits,
        )
        for end, to in zip(ends, _ADDRESSES, strict=True)
    ]
    if port is not None:
        moved.append(messages.move(messages.field(port, 2), _header(_SERVICE), bits=16))
    return [
        *moved,
        messages.move(messages.field(protocol, 1), _header(_SERVICE), bits=8, to=_PROTOCOL),
        messages.look_again(Table.BEGAN),
    ]


def _done(passed: int, register: int) -> list[bytes]:
    return [
        messages.forget_tracking(),
        *(messages.load(each, 0) for each in _USED),
        messages.set_register_bit(register, passed),
        messages.look_again(),
    ]


def governed(end: Governed, cookie: int) -> Iterator[Entry]:
    """Give the flows that a container with rules adds to what all have.

    What comes to its MAC is judged if it is for one of its addresses, and dropped if not, unless it
    forwards that; of what comes to more stations, what is for one of its addresses is judged. And
    its connections get its policy.
    """
    zone = Field(_register(ZONE), *_masked(end.zone, 0xFFFF))
    own = Field(_ETH_TARGET, bytes(end.mac.packed))
    judged = messages.apply(messages.look_again(Table.TRACK))
    for version in () if end.forwards else _FAMILIES:
        match = frozenset((zone, own, _kind(version)))
        yield Entry(_MISLED, cookie, match, b"", Table.WHOSE)
    for address in end.addresses:
        kind = _kind(address.version)
        target = Field(_TARGETS[address.version], bytes(address.packed))
        for station in (own, Field(_ETH_TARGET, _GROUP, _GROUP)):
            match = frozenset((zone, station, kind, target))
            yield Entry(_GETS, cookie, match, judged, Table.WHOSE)
        whole = (1 << _FAMILIES[address.version].bits) - 1
        for at, first, then in (
            (Table.BEGAN, _BEGAN, Table.TO),
            (Table.REACHED, _REACHED, Table.FROM),
        ):
            held = _address(first, address.version, int(address), whole)
            actions = (
                *(messages.load(_POLICY + at, word) for at, word in enumerate(_words(end.policy))),
                messages.look_again(then),
            )
            yield Entry(1, cookie, frozenset((zone, kind, *held)), messages.apply(*actions), at)


def ruling(ruled: Ruling, cookie: int) -> Entry:
    """Return the flow that decides about some connections."""
    to = ruled.side is Side.TO
    match = {
        Field(_register(_POLICY + at), _four(each)) for at, each in enumerate(_words(ruled.policy))
    }
    if ruled.family is not None:
        match.add(_kind(ruled.family))
    if ruled.peer is not None:
        peer = ruled.peer
        match |= {
            *_address(
                _REACHED if to else _BEGAN, peer.version, int(peer.network), int(peer.netmask)
            )
        }
    mask = ruled.port_mask
    value = ruled.port
    if ruled.protocol is not None:
        mask |= 0xFF << _PROTOCOL
        value |= ruled.protocol << _PROTOCOL
    if mask:
        match.add(Field(_register(_SERVICE), *_masked(value, mask)))
    then = Table.REACHED if to else Table.DONE
    return Entry(
        ruled.rank,
        cookie,
        frozenset(match),
        messages.apply(messages.look_again(then)) if ruled.passes else b"",
        Table.TO if to else Table.FROM,
    )


def _address(first: int, version: int, value: int, mask: int) -> Iterator[Field]:
    """Give the fields for an address in four registers: 32 bits each, the highest first."""
    for at in range(4) if version == 6 else (3,):
        shift = 32 * (3 - at)
        bits = mask >> shift & 0xFFFFFFFF
        if bits:
            yield Field(_register(first + at), *_masked(value >> shift & bits, bits))


def _words(policy: str) -> tuple[int, int]:
    number = int(policy, 16)
    return number >> 32, number & 0xFFFFFFFF


def _masked(value: int, mask: int) -> tuple[bytes, ...]:
    return (_four(value),) if mask == 0xFFFFFFFF else (_four(value), _four(mask))


def _kind(version: int) -> Field:
    return Field(_ETH_TYPE, _two(_FAMILIES[version].type))


def _protocol(number: int) -> Field:
    return Field(_IP_PROTOCOL, number.to_bytes(1, "big"))


def _state(value: int, mask: int | None = None) -> Field:
    return Field(_STATE, _four(value), _four(value if mask is None else mask))


def _low(port: int) -> Field:
    return Field(port, _two(0), _two(_HIGH_PORT))


def _high(port: int) -> Field:
    return Field(port, _two(_HIGH_PORT), _two(_HIGH_PORT))


def _register(number: int) -> int:
    return messages.register_code(number)


def _header(register: int) -> int:
    return messages.field(_register(register), 4)


def _two(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _four(value: int) -> bytes:
    return value.to_bytes(4, "big")
