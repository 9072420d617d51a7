"""What of a request makes sense by itself, whatever pools there are; pure."""

import re
from collections.abc import Sequence

from netaddr import IPNetwork, IPRange

from ipam.errors import InvalidNameError, InvalidPoolError, InvalidReservationError
from ipam.model import DefaultPool, PoolRequest, Reservation

LENGTHS = {4: (8, 32), 6: (16, 128)}
"""Shortest and longest prefix of a pool, by family."""

_NAME_CHARACTERS = 255
_SPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_NOT_FOR_CONTAINERS = tuple(
    (IPNetwork(network), why)
    for network, why in (
        ("0.0.0.0/8", '"this network" (RFC 791)'),
        ("127.0.0.0/8", "loopback"),
        ("224.0.0.0/4", "multicast"),
        ("::/16", "loopback and IPv4-mapped addresses"),
        ("fe80::/10", "link-local addresses, which every IPv6 interface makes for itself"),
        ("ff00::/8", "multicast"),
    )
)


def space(name: str) -> None:
    """Refuse a space whose name is no plain word: it becomes part of ids and file names."""
    if not _SPACE.fullmatch(name):
        raise InvalidPoolError(
            f"address space {name[:80]!r}: a name is 1 to 63 letters, digits, dots, dashes and "
            "underscores, and begins with a letter or digit"
        )


def holder_name(name: str) -> None:
    """Refuse a container's name that could not be shown in a table or a log."""
    if len(name) > _NAME_CHARACTERS or not name.isprintable():
        raise InvalidNameError(
            f"container name {name[:40]!r}… : at most {_NAME_CHARACTERS} printable characters"
        )


def subnet(request: PoolRequest, wanted: IPNetwork) -> None:
    """Refuse a subnet, named by the user, that cannot be one."""
    if wanted.value != wanted.first:
        raise InvalidPoolError(f"subnet {wanted} has host bits set; type {wanted.cidr}")
    if wanted.version != request.family:
        raise InvalidPoolError(
            f"subnet {wanted} is IPv{wanted.version}, but an IPv{request.family} one is asked for; "
            "name one of that family"
        )
    _length(wanted.prefixlen, request.family, f"subnet {wanted}")
    if request.prefix is not None and request.prefix != wanted.prefixlen:
        raise InvalidPoolError(
            f"ipam.prefix={request.prefix} contradicts subnet {wanted}; leave one of them out"
        )
    for network, why in _NOT_FOR_CONTAINERS:
        if network.version == wanted.version and _overlap(network, wanted):
            raise InvalidPoolError(
                f"subnet {wanted}: {network} is for {why}; choose another --subnet, for example "
                f"{'172.24.0.0/24' if request.family == 4 else 'fd00:24::/64'}"
            )


QUARANTINE_MOST_S = 7 * 24 * 3600.0
EXCLUDED_MOST = 64
"""Each is one more step of every choice."""


def wishes(request: PoolRequest) -> None:
    """Refuse an exclusion, a quarantine or a limit that makes no sense."""
    if len(request.excluded) > EXCLUDED_MOST:
        raise InvalidPoolError(
            f"ipam.exclude: {len(request.excluded)} ranges; at most {EXCLUDED_MOST}. Join "
            "neighbours to one range, or use --ip-range"
        )
    if request.excluded and request.subnet is None:
        raise InvalidPoolError("ipam.exclude needs the subnet that it is about: add --subnet")
    if not 0 <= request.quarantine_s <= QUARANTINE_MOST_S:
        raise InvalidPoolError(
            f"ipam.quarantine={request.quarantine_s:g}s: choose 0 s to 7 days, such as 30s or 5m"
        )
    if request.limit is not None and request.limit < 1:
        raise InvalidPoolError(f"ipam.limit={request.limit}: choose 1 or more, or leave it out")


def excluded(of: IPNetwork, ranges: Sequence[IPRange]) -> tuple[IPRange, ...]:
    """Return the ranges that are about a subnet; refuse one that crosses its border.

    A network may have several subnets, and all of them hear of all ranges.
    """
    found = []
    for each in ranges:
        if each.version != of.version or each.last < of.first or each.first > of.last:
            continue
        if each.first < of.first or each.last > of.last:
            raise InvalidPoolError(
                f"ipam.exclude: {each} crosses the border of subnet {of}; choose a range inside"
            )
        found.append(each)
    return tuple(found)


_NOTE_CHARACTERS = 200


def reservation(wanted: Reservation) -> None:
    """Refuse a reservation that could not be one in any pool."""
    try:
        space(wanted.space)
        holder_name(wanted.name)
    except (InvalidPoolError, InvalidNameError) as error:
        raise InvalidReservationError(str(error)) from error
    if len(wanted.note) > _NOTE_CHARACTERS or not wanted.note.isprintable():
        raise InvalidReservationError(
            f"note {wanted.note[:40]!r}… : at most {_NOTE_CHARACTERS} printable characters"
        )
    for network, why in _NOT_FOR_CONTAINERS:
        if wanted.address in network:
            raise InvalidReservationError(
                f"address {wanted.address} is in {network}, {why}, which no container can have; "
                "reserve another one"
            )


def window(of: IPNetwork, wanted: IPNetwork) -> None:
    """Refuse a range that is no block inside of its subnet."""
    if wanted.version != of.version:
        raise InvalidPoolError(
            f"range {wanted} is IPv{wanted.version} and subnet {of} is IPv{of.version}; "
            "choose a range inside of the subnet"
        )
    if wanted.value != wanted.first:
        raise InvalidPoolError(f"range {wanted} has host bits set; type {wanted.cidr}")
    if wanted.first < of.first or wanted.last > of.last:
        raise InvalidPoolError(
            f"range {wanted} is not inside of subnet {of}; choose one that is, or leave "
            "--ip-range out"
        )


def automatic(request: PoolRequest, bases: Sequence[IPNetwork]) -> None:
    """Refuse what cannot be asked of a pool that we choose from ``bases``."""
    if request.window is not None:
        raise InvalidPoolError(f"range {request.window} needs its subnet: add --subnet")
    if request.family not in LENGTHS:
        raise InvalidPoolError(f"IPv{request.family} does not exist; ask for 4 or 6")
    if request.prefix is None:
        return
    _length(request.prefix, request.family, f"ipam.prefix={request.prefix}")
    if bases and all(base.prefixlen > request.prefix for base in bases):
        raise InvalidPoolError(
            f"ipam.prefix={request.prefix}: no default pool is that large; the largest is "
            f"{min(bases, key=lambda base: int(base.prefixlen))}. Choose a longer prefix (26,64 on "
            "a network with IPv4 and IPv6), or name a subnet with --subnet"
        )


def default_pool(pool: DefaultPool) -> None:
    """Refuse a default pool of the configuration that cannot be one."""
    base, family = pool.base, int(pool.base.version)
    if base.value != base.first:
        raise InvalidPoolError(f"default pool {base} has host bits set; write {base.cidr}")
    _length(pool.size, family, f"default pool {base}, size {pool.size}")
    if pool.size < base.prefixlen:
        raise InvalidPoolError(
            f"default pool {base} is smaller than its pools of size {pool.size}; "
            f"write a size of {base.prefixlen} or more"
        )


def _length(prefix: int, family: int, what: str) -> None:
    shortest, longest = LENGTHS[family]
    if not shortest <= prefix <= longest:
        raise InvalidPoolError(
            f"{what}: the prefix length of an IPv{family} pool is {shortest} to {longest}"
        )


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return bool(one.first <= other.last and other.first <= one.last)
