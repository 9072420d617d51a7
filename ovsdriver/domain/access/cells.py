"""Rules about addresses and ports as cells of which no two overlap: what a kernel's sets can hold.

Pure. Of rules that are about the same, the first one counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ovsdriver.domain.access.policy import Reach
from ovsdriver.domain.records.options.access import AccessProtocol

_NUMBERS = {
    4: {AccessProtocol.TCP: 6, AccessProtocol.UDP: 17, AccessProtocol.ICMP: 1},
    6: {AccessProtocol.TCP: 6, AccessProtocol.UDP: 17, AccessProtocol.ICMP: 58},
}
_BITS = {4: 32, 6: 128}
_LAST_PROTOCOL, _LAST_PORT = 0xFF, 0xFFFF
_PORTS = _LAST_PORT + 1

Span = tuple[int, int]
"""First and last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Everything between three firsts and three lasts."""

    rule: str
    """The one that it is of."""
    addresses: Span
    protocols: Span
    ports: Span


def protocol_number(protocol: AccessProtocol, family: int) -> int:
    """Return IANA's number of a protocol in packets of ``family`` (4 or 6)."""
    return _NUMBERS[family][protocol]


def cells(reaches: Iterable[Reach], *, family: int) -> Sequence[Cell]:
    """Return what ``reaches`` of a family are about together: no two cells overlap.

    Zones and names are left out, since no list of addresses says them.
    """
    boxes = [
        _Box(order, each.rule, _addresses(each, family), _places(each, family))
        for order, each in enumerate(reaches)
        if each.zone is None
        and not each.names
        and (each.prefix is None or each.prefix.version == family)
    ]
    found: list[Cell] = []
    # Along the addresses. A piece stays open for as long as every stretch has it.
    open_: dict[tuple[Span, str], int] = {}
    reached = 0
    for (first, last), there in _stretches(boxes):
        now = _first_wins(there)
        kept = open_.keys() & now if first == reached else frozenset()
        found += _closed(open_, reached - 1, kept)
        open_ = {piece: open_.get(piece, first) if piece in kept else first for piece in now}
        reached = last + 1
    found += _closed(open_, reached - 1, frozenset())
    return found


def places(reaches: Iterable[Reach]) -> Sequence[Cell]:
    """Return the protocols and ports of both families that ``reaches`` are about, likewise."""
    boxes = [
        _Box(order, each.rule, (0, 0), _places(each, family))
        for order, each in enumerate(reaches)
        for family in _BITS
    ]
    return _closed(dict.fromkeys(_first_wins(boxes), 0), 0, frozenset())


@dataclass(frozen=True, slots=True)
class _Box:
    order: int
    rule: str
    addresses: Span
    places: Span
    """Protocol and port as one number, so that there is one order of both."""


def _addresses(reach: Reach, family: int) -> Span:
    if reach.prefix is None:
        return 0, (1 << _BITS[family]) - 1
    return int(reach.prefix.first), int(reach.prefix.last)


def _places(reach: Reach, family: int) -> Span:
    if reach.protocol is None:
        return 0, _LAST_PROTOCOL * _PORTS + _LAST_PORT
    number = protocol_number(reach.protocol, family) * _PORTS
    return number + reach.first_port, number + reach.last_port


def _stretches(boxes: Sequence[_Box]) -> Iterable[tuple[Span, Sequence[_Box]]]:
    """Return stretches of addresses, ascending, on each of which the same boxes are."""
    comes: dict[int, list[_Box]] = {}
    goes: dict[int, list[_Box]] = {}
    for box in boxes:
        comes.setdefault(box.addresses[0], []).append(box)
        goes.setdefault(box.addresses[1] + 1, []).append(box)
    there: dict[_Box, None] = {}
    for at, until in pairwise(sorted({*comes, *goes})):
        for box in goes.get(at, ()):
            del there[box]
        there.update(dict.fromkeys(comes.get(at, ())))
        if there:
            yield (at, until - 1), sorted(there, key=lambda box: box.order)


def _first_wins(boxes: Sequence[_Box]) -> dict[tuple[Span, str], None]:
    """Return the places of boxes, which are in the order of their rules, without overlaps."""
    taken: list[Span] = []
    found: dict[tuple[Span, str], None] = {}
    for box in boxes:
        free = _without(box.places, taken)
        found.update(dict.fromkeys((span, box.rule) for span in free))
        taken = sorted([*taken, *free])
    return found


def _without(span: Span, taken: Sequence[Span]) -> Sequence[Span]:
    """Return what is left of a span; ``taken`` is ascending."""
    left, at = [], span[0]
    for first, last in taken:
        if last < at:
            continue
        if first > span[1]:
            break
        if first > at:
            left.append((at, first - 1))
        at = last + 1
    if at <= span[1]:
        left.append((at, span[1]))
    return left


def _closed(
    pieces: dict[tuple[Span, str], int], last: int, kept: Iterable[tuple[Span, str]]
) -> list[Cell]:
    return [
        Cell(rule=rule, addresses=(first, last), protocols=protocols, ports=ports)
        for (span, rule), first in pieces.items()
        if (span, rule) not in kept
        for protocols, ports in _protocols_and_ports(span)
    ]


def _protocols_and_ports(span: Span) -> Sequence[tuple[Span, Span]]:
    (first, low), (last, high) = divmod(span[0], _PORTS), divmod(span[1], _PORTS)
    if first == last:
        return [((first, first), (low, high))]
    found: list[tuple[Span, Span]] = []
    if low:
        found.append(((first, first), (low, _LAST_PORT)))
        first += 1
    if high != _LAST_PORT:
        found.append(((last, last), (0, high)))
        last -= 1
    if first <= last:
        found.append(((first, last), (0, _LAST_PORT)))
    return found
