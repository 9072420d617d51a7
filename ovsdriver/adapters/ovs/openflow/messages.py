"""OpenFlow 1.4 on the wire: the few messages that we send and read.

Numbers are those of the OpenFlow Switch Specification 1.4.0, section 7, and of Open vSwitch's
extensions to it (``include/openflow/nicira-ext.h``).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

VERSION = 5
HEADER = struct.Struct(">BBHI")
LONGEST = 0xFFFF


class Type(IntEnum):
    """Kinds of messages."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    FLOW_MOD = 14
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    METER_MOD = 29
    BUNDLE_CONTROL = 33
    BUNDLE_ADD_MESSAGE = 34


class Bundle(IntEnum):
    """Steps of a bundle; each answer has the number of its request and one more."""

    OPEN = 0
    COMMIT = 4


class FlowCommand(IntEnum):
    """What a flow message does."""

    ADD = 0
    DELETE = 3
    DELETE_STRICT = 4


class MeterCommand(IntEnum):
    """What a meter message does."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


_ATOMIC_AND_ORDERED = 3
_FLOWS, _METERS = 1, 10
_MORE = 1
_ANY = 0xFFFFFFFF
_FLOW_MOD = struct.Struct(">QQBBHHHIIIHH")
_FLOW_REQUEST = struct.Struct(">B3xII4xQQ")
_FLOW_ENTRY = struct.Struct(">HBxIIHHHHH2xQQQ")
_MULTIPART = struct.Struct(">HH4x")
_METER = struct.Struct(">HHI")
_BAND = struct.Struct(">HHII4x")
_KBPS, _PKTPS, _BURST = 1, 2, 4
_DROP_BAND = 1
_PAIR = struct.Struct(">HH")
ALL_TABLES = 0xFF
_VLAN_TCI = 4 << 9 | 2
"""NXM_OF_VLAN_TCI: a tag without its protocol."""


@dataclass(frozen=True, slots=True)
class Field:
    """One part of a match: its header without length and mask bit, value and mask."""

    code: int
    """OXM class and field: ``class << 7 | field``."""
    value: bytes
    mask: bytes = b""

    def encoded(self) -> bytes:
        """Return it as it travels."""
        head = self.code << 9 | (0x100 if self.mask else 0) | len(self.value) + len(self.mask)
        return struct.pack(">I", head) + self.value + self.mask


@dataclass(frozen=True, slots=True)
class Entry:
    """A flow of the switch, as far as we compare it."""

    priority: int
    cookie: int
    match: frozenset[Field]
    instructions: bytes
    table: int = 0


@dataclass(frozen=True, slots=True)
class MeterEntry:
    """A meter with one band that drops."""

    id: int
    rate: int
    burst: int
    packets: bool


class MalformedError(Exception):
    """The other side does not speak OpenFlow as we know it."""


def message(kind: Type, xid: int, body: bytes = b"") -> bytes:
    """Return a message with its header."""
    return HEADER.pack(VERSION, kind, HEADER.size + len(body), xid) + body


def hello(xid: int) -> bytes:
    """Return the greeting: this version and no other."""
    return message(Type.HELLO, xid, struct.pack(">HHI", 1, 8, 1 << VERSION))


def flow_mod(command: FlowCommand, xid: int, entry: Entry, *, cookie_mask: int = 0) -> bytes:
    """Return the message that adds a flow, or deletes it."""
    head = _FLOW_MOD.pack(
        *(entry.cookie, cookie_mask, entry.table, command, 0, 0, entry.priority),
        *(_ANY, _ANY, _ANY, 0, 0),
    )
    return message(Type.FLOW_MOD, xid, head + _match(entry.match) + entry.instructions)


def flows_request(xid: int, cookie: int, mask: int) -> bytes:
    """Return the question for all flows with a cookie."""
    body = _FLOW_REQUEST.pack(ALL_TABLES, _ANY, _ANY, cookie, mask) + _match(frozenset())
    return message(Type.MULTIPART_REQUEST, xid, _MULTIPART.pack(_FLOWS, 0) + body)


def meters_request(xid: int) -> bytes:
    """Return the question for all meters."""
    body = struct.pack(">I4x", _ANY)
    return message(Type.MULTIPART_REQUEST, xid, _MULTIPART.pack(_METERS, 0) + body)


def meter_mod(command: MeterCommand, xid: int, meter: MeterEntry) -> bytes:
    """Return the message that adds a meter, changes it or deletes it."""
    flags = (_PKTPS if meter.packets else _KBPS) | _BURST
    body = struct.pack(">HHI", command, flags, meter.id)
    if command is not MeterCommand.DELETE:
        body += _BAND.pack(_DROP_BAND, _BAND.size, meter.rate, meter.burst)
    return message(Type.METER_MOD, xid, body)


def bundle_control(step: Bundle, xid: int, bundle: int) -> bytes:
    """Return the message that opens a bundle or commits it, all or nothing and in order."""
    body = struct.pack(">IHH", bundle, step, _ATOMIC_AND_ORDERED)
    return message(Type.BUNDLE_CONTROL, xid, body)


def bundle_add(inner: bytes, bundle: int) -> bytes:
    """Return the message that puts another one into a bundle; both have one number."""
    xid = HEADER.unpack_from(inner)[3]
    body = struct.pack(">I2xH", bundle, _ATOMIC_AND_ORDERED) + inner
    return message(Type.BUNDLE_ADD_MESSAGE, xid, body)


def more(body: bytes) -> bool:
    """Whether another part of the same multipart answer follows this one."""
    return bool(_MULTIPART.unpack_from(body)[1] & _MORE)


def entries(body: bytes) -> Iterator[Entry]:
    """Return the flows of one part of an answer."""
    for entry, _packets, _octets in counted(body):
        yield entry


def counted(body: bytes) -> Iterator[tuple[Entry, int, int]]:
    """Return them with the packets and bytes that each has met."""
    at = _MULTIPART.size
    while at < len(body):
        length, table, _s, _ns, priority, *_rest, cookie, packets, octets = _FLOW_ENTRY.unpack_from(
            body, at
        )
        start = at + _FLOW_ENTRY.size
        kind, match_length = _PAIR.unpack_from(body, start)
        if kind != 1 or length < _FLOW_ENTRY.size + match_length:
            raise MalformedError(f"a flow of {length} bytes with a match of type {kind}")
        match = frozenset(_fields(body[start + _PAIR.size : start + match_length]))
        instructions = body[start + _padded(match_length) : at + length]
        yield Entry(priority, cookie, match, instructions, table), packets, octets
        at += length


def meter_entries(body: bytes) -> Iterator[MeterEntry]:
    """Return the meters of one part of an answer; of their bands the first."""
    at = _MULTIPART.size
    while at < len(body):
        length, flags, number = _METER.unpack_from(body, at)
        if length < _METER.size:
            raise MalformedError(f"a meter of {length} bytes")
        rate = burst = 0
        if length > _METER.size:
            _kind, _length, rate, burst = _BAND.unpack_from(body, at + _METER.size)
        yield MeterEntry(number, rate, burst, bool(flags & _PKTPS))
        at += length


def go_to_meter(number: int) -> bytes:
    """Return the instruction that has a meter look at the packet first."""
    return struct.pack(">HHI", 6, 8, number)


def apply(*actions: bytes) -> bytes:
    """Return the instruction that carries out actions."""
    body = b"".join(actions)
    return struct.pack(">HH4x", 4, 8 + len(body)) + body


def set_register_bit(register: int, bit: int) -> bytes:
    """Return the action that sets one bit of a register."""
    return load(register, 1, bit, bits=1)


def load(register: int, value: int, first: int = 0, *, bits: int = 32) -> bytes:
    """Return the action that sets some bits of a register, from ``first`` up (NXAST_REG_LOAD)."""
    where = first << 6 | bits - 1
    return struct.pack(
        ">HHIHHIQ", 0xFFFF, 24, 0x2320, 7, where, field(register_code(register), 4), value
    )


def register_code(register: int) -> int:
    """Return class and number of the field that is a register of 32 bits (NXM_NX_REG)."""
    return 1 << 7 | register


def field(code: int, length: int) -> int:
    """Return the header of a field without a mask, of ``length`` bytes."""
    return code << 9 | length


def set_dscp(dscp: int) -> bytes:
    """Return the action that gives a packet of either IP a mark (OFPAT_SET_FIELD of IP_DSCP)."""
    return struct.pack(">HHIB7x", 25, 16, 0x8000 << 16 | 8 << 9 | 1, dscp)


def retag(register: int) -> bytes:
    """Return the actions that make the outer tag one of 802.1Q, by way of a register."""
    half = 1 << 16 | register << 9 | 4
    return b"".join(
        (
            move(_VLAN_TCI, half, bits=16),
            struct.pack(">HH4x", 18, 8),  # OFPAT_POP_VLAN
            struct.pack(">HHH2x", 17, 8, 0x8100),  # OFPAT_PUSH_VLAN
            move(half, _VLAN_TCI, bits=16),
        )
    )


def move(source: int, target: int, *, bits: int, to: int = 0) -> bytes:
    """Return the action that copies a field's lower bits to another, from bit ``to`` up.

    NXAST_REG_MOVE; the fields are given by their headers.
    """
    return struct.pack(">HHIHHHHII", 0xFFFF, 24, 0x2320, 6, bits, 0, to, source, target)


def look_again(table: int = 0) -> bytes:
    """Return the action that hands the packet to a table (NXAST_RESUBMIT_TABLE)."""
    return struct.pack(">HHIHHB3x", 0xFFFF, 16, 0x2320, 14, 0xFFF8, table)


def track(zone: int, table: int) -> bytes:
    """Return the action that asks conntrack, and hands the packet to a table (NXAST_CT).

    The zone is in the lower half of the register ``zone``.
    """
    return _conntrack(0, zone, table)


def commit(zone: int) -> bytes:
    """Return the action that has conntrack remember a new connection; see :func:`track`."""
    return _conntrack(1, zone, ALL_TABLES)


def _conntrack(flags: int, zone: int, table: int) -> bytes:
    where = field(register_code(zone), 4)
    return struct.pack(">HHIHHIHB5x", 0xFFFF, 24, 0x2320, 35, flags, where, 15, table)


def forget_tracking() -> bytes:
    """Return the action that takes off a packet what conntrack said of it (NXAST_CT_CLEAR)."""
    return struct.pack(">HHIH6x", 0xFFFF, 16, 0x2320, 43)


def _match(fields: frozenset[Field]) -> bytes:
    body = b"".join(field.encoded() for field in sorted(fields, key=_order))
    length = _PAIR.size + len(body)
    return _PAIR.pack(1, length) + body + bytes(_padded(length) - length)


def _order(field: Field) -> tuple[bool, int]:
    # What a field needs comes before it: OXM fields are numbered so, registers need nothing.
    return field.code >> 7 == 1, field.code


def _fields(body: bytes) -> Iterator[Field]:
    at = 0
    while at < len(body):
        (head,) = struct.unpack_from(">I", body, at)
        length, masked = head & 0xFF, head & 0x100
        value = body[at + 4 : at + 4 + length]
        half = length // 2 if masked else length
        yield Field(head >> 9, value[:half], value[half:])
        at += 4 + length


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8
