"""A pool's addresses in blocks of 256, for a grid. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPAddress

from ipam.model import LeaseKind
from ovsdriver.admin.views import LeaseUse, PoolUse, Reserved

BLOCK = 256
MOST_BLOCKS = 16
"""That are shown; of a larger subnet those in which something is held."""


class Use(StrEnum):
    """What an address is."""

    FREE = "free"
    HELD = "held"
    GATEWAY = "gateway"
    AUXILIARY = "auxiliary"
    RESERVED = "reserved"
    """For somebody who does not have it now."""
    EXCLUDED = "excluded"
    BEYOND = "beyond"
    """Outside of the range that is given without being asked for."""
    UNUSABLE = "unusable"
    """The subnet's own, and its broadcast address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """An address and what it is."""

    address: IPAddress
    use: Use
    who: str = ""
    """Whose it is, for people."""
    since: float = 0.0
    """Seconds since the epoch; 0: not held."""
    endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Addresses that follow each other, at most ``BLOCK``."""

    first: IPAddress
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A pool, as far as it is shown."""

    pool: PoolUse
    blocks: tuple[Block, ...]
    left_out: int
    """Blocks of the subnet that are not among them."""


def grid(pool: PoolUse, leases: Sequence[LeaseUse], reserved: Sequence[Reserved]) -> Grid:
    """Return the addresses of a pool, block by block."""
    subnet = pool.pool.subnet
    known: dict[int, Cell] = {}
    for kept in reserved:
        address = kept.reservation.address
        if address in subnet:
            known[int(address)] = Cell(
                address=address,
                use=Use.RESERVED,
                who=kept.reservation.name or kept.reservation.note,
            )
    for each in leases:
        known[int(each.lease.address)] = _held(each)
    count = -(-subnet.size // BLOCK)
    first = subnet.first
    places = {(each - first) // BLOCK for each in known} | {0}
    shown = sorted(range(count) if count <= MOST_BLOCKS else places)[:MOST_BLOCKS]
    return Grid(
        pool=pool,
        blocks=tuple(_block(pool, first + place * BLOCK, known) for place in shown),
        left_out=count - len(shown),
    )


def _held(use: LeaseUse) -> Cell:
    kinds = {LeaseKind.GATEWAY: Use.GATEWAY, LeaseKind.AUX: Use.AUXILIARY}
    kind = Use.AUXILIARY if use.auxiliary else kinds.get(use.lease.kind, Use.HELD)
    return Cell(
        address=use.lease.address,
        use=kind,
        who=use.container or use.auxiliary_name or use.lease.name,
        since=use.lease.created,
        endpoint=use.endpoint,
    )


def _block(pool: PoolUse, first: int, known: dict[int, Cell]) -> Block:
    subnet = pool.pool.subnet
    version = subnet.version
    last = min(first + BLOCK - 1, subnet.last)
    cells = []
    for value in range(first, last + 1):
        address = IPAddress(value, version)
        cells.append(known.get(value) or Cell(address=address, use=_unheld(pool, value)))
    return Block(first=IPAddress(first, version), cells=tuple(cells))


def _unheld(pool: PoolUse, value: int) -> Use:
    of = pool.pool
    own = value == of.subnet.first and of.subnet.size > 2
    broadcast = value == of.subnet.last and of.family == 4 and of.subnet.size > 2
    if own or broadcast:
        return Use.UNUSABLE
    if any(each.first <= value <= each.last for each in of.excluded):
        return Use.EXCLUDED
    if of.window is not None and not of.window.first <= value <= of.window.last:
        return Use.BEYOND
    return Use.FREE
