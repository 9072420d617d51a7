"""Our flows and meters in the form that OpenFlow gives them."""

import hashlib
from functools import lru_cache

from netaddr import EUI, IPAddress

from ovsdriver.adapters.ovs.openflow import judging, messages
from ovsdriver.adapters.ovs.openflow.messages import Entry, Field, MeterEntry
from ovsdriver.domain.records.options.flows import Flow, Match, Meter, PortFlows, Stage
from ovsdriver.domain.wires.plumbing import HIGHEST_OFPORT

REGISTER = 15
_SCRATCH = 14
"""A register for what is moved about inside of one flow."""
_PRIORITIES = {
    Stage.TAGS: 0xF030,
    Stage.GUARD: 0xF020,
    Stage.BROADCAST: 0xF010,
    Stage.RATE: 0xF000,
    Stage.ACCESS: 0xEFF0,
    Stage.MARK: 0xEFE0,
}
"""Above what people and controllers use; the ranks of a stage are added."""
_RANKS = 16

_FIRST_METER = 0x8000
"""Any up to 0xffff0000 may be used: a datapath limits how many meters there are, not their ids."""
_METERS = {Stage.BROADCAST: 0, Stage.RATE: 1}
"""Two ids for each port."""

_OXM = 0x8000 << 7
_REGISTER = 1 << 7 | REGISTER
_IN_PORT, _ETH_DST, _VLAN = _OXM, _OXM | 3, _OXM | 6
_CODES = {
    "eth_dst": _OXM | 3,
    "eth_src": _OXM | 4,
    "eth_type": _OXM | 5,
    "ip_protocol": _OXM | 10,
    "ipv4_src": _OXM | 11,
    "ipv4_dst": _OXM | 12,
    "udp_src": _OXM | 15,
    "udp_dst": _OXM | 16,
    "arp_op": _OXM | 21,
    "arp_spa": _OXM | 22,
    "arp_tpa": _OXM | 23,
    "arp_sha": _OXM | 24,
    "ipv6_src": _OXM | 26,
    "ipv6_dst": _OXM | 27,
    "icmpv4_type": _OXM | 19,
    "icmpv6_type": _OXM | 29,
    "nd_target": _OXM | 31,
    "nd_sll": _OXM | 32,
    "nd_tll": _OXM | 33,
}
_WIDTHS = {"ip_protocol": 1, "icmpv4_type": 1, "icmpv6_type": 1}
"""Bytes of numbers that have not two."""
_PORTS = {65534: 0xFFFFFFFE}
"""OpenFlow writes a bridge's own port otherwise than the database does."""
_GROUP = b"\x01" + bytes(5)
_FRAGMENT, _ANY_FRAGMENT = 1 << 7 | 26, b"\x01"


@lru_cache(maxsize=8)
def mark(owner: str) -> int:
    """Return the upper half of our flows' cookies: 32 bits of a hash."""
    return int.from_bytes(hashlib.sha256(f"flows/{owner}".encode()).digest()[:4], "big")


def cookie(owner: str, number: int) -> int:
    """Return the cookie of the flows of one port; 0: of all of a bridge."""
    return mark(owner) << 32 | number


def stage_of(cookie: int, priority: int, *, owner: str) -> Stage | None:
    """Return the stage that a flow is of; None if it is none of ours."""
    if cookie >> 32 != mark(owner):
        return None
    if priority <= judging.HIGHEST:
        return Stage.ACCESS
    ranks = {stage: priority - first for stage, first in _PRIORITIES.items()}
    return next((stage for stage, rank in ranks.items() if 0 <= rank < _RANKS), None)


def entries(wanted: PortFlows, *, owner: str, number: int) -> set[Entry]:
    """Return the flows of the port ``number`` of a bridge; 0: of all its ports."""
    theirs = cookie(owner, number)
    found = {_entry(each, owner=owner, number=number) for each in wanted.flows}
    if wanted.judging:
        found |= judging.machinery(theirs, Stage.ACCESS, REGISTER)
    for each in wanted.governed:
        found.update(judging.governed(each, theirs))
    return found | {judging.ruling(each, theirs) for each in wanted.rulings}


def _entry(flow: Flow, *, owner: str, number: int) -> Entry:
    instructions = b""
    if flow.metered:
        instructions += messages.go_to_meter(meter_id(flow.stage, number))
    if flow.zone:
        instructions += messages.apply(
            *judging.enter(flow.zone, governed=flow.governed),
        )
    elif flow.passes:
        instructions += messages.apply(
            *([messages.retag(_SCRATCH)] if flow.retags else []),
            *([messages.set_dscp(flow.dscp)] if flow.dscp is not None else []),
            messages.set_register_bit(REGISTER, flow.stage),
            messages.look_again(),
        )
    return Entry(
        _PRIORITIES[flow.stage] + flow.rank,
        cookie(owner, number),
        frozenset(
            (*_where(flow.stage, number if flow.port is None else flow.port), *_fields(flow.match))
        ),
        instructions,
    )


def meter(wanted: Meter, number: int) -> MeterEntry:
    """Return the meter of a stage of the port ``number``."""
    return MeterEntry(
        meter_id(wanted.stage, number), wanted.rate, wanted.burst, packets=wanted.packets
    )


def meter_id(stage: Stage, number: int) -> int:
    """Return the number of a port's meter; meters carry no mark, these numbers are ours."""
    return _FIRST_METER + 2 * number + _METERS[stage]


def meter_ids(number: int) -> frozenset[int]:
    """Return the numbers that a port's meters can have."""
    return frozenset(meter_id(stage, number) for stage in _METERS)


def may_meter(number: int) -> bool:
    """Whether what is numbered so is a port, which may have meters."""
    return 0 < number <= HIGHEST_OFPORT


def metered_port(meter_number: int) -> int | None:
    """Return the port that a meter belongs to; None if it is none of ours."""
    port = (meter_number - _FIRST_METER) // 2
    return port if may_meter(port) else None


def _where(stage: Stage, number: int) -> list[Field]:
    bit = (1 << stage).to_bytes(4, "big")
    port = [Field(_IN_PORT, _PORTS.get(number, number).to_bytes(4, "big"))] if number else []
    return [*port, Field(_REGISTER, bytes(4), bit)]


@lru_cache(maxsize=256)  # most of a guard is the same at every port
def _fields(match: Match) -> tuple[Field, ...]:
    found = [
        Field(code, _bytes(value, _WIDTHS.get(name, 2)))
        for name, code in _CODES.items()
        if (value := getattr(match, name)) is not None
    ]
    if match.fragment:
        found.append(Field(_FRAGMENT, _ANY_FRAGMENT, _ANY_FRAGMENT))
    if match.vlan is not None:
        value, mask = (each.to_bytes(2, "big") for each in (match.vlan.value, match.vlan.mask))
        found.append(Field(_VLAN, value, b"" if match.vlan.exact else mask))
    return (*found, Field(_ETH_DST, _GROUP, _GROUP)) if match.to_group else tuple(found)


def _bytes(value: int | EUI | IPAddress, width: int) -> bytes:
    if isinstance(value, EUI):
        return bytes(value.packed)
    if isinstance(value, IPAddress):
        return bytes(value.packed)
    return value.to_bytes(width, "big")
