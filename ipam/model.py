"""Pools, leases and what is asked for.

All are frozen, and the netaddr values in them are constants by agreement: netaddr's classes can
be assigned to, and an ``IPNetwork`` may carry host bits, which no subnet or window here does.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

from netaddr import IPAddress, IPNetwork, IPRange

PoolId = NewType("PoolId", str)
"""Ours, opaque to Docker, which stores it for the life of the network. At most 64 characters."""

DEFAULT_SPACE = "ovsnet"
GLOBAL_SPACE = "ovsnet-global"


class LeaseKind(StrEnum):
    """Why an address is held."""

    ENDPOINT = "endpoint"
    GATEWAY = "gateway"
    AUX = "aux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A subnet that is given to one network, in one address space."""

    id: PoolId
    space: str
    subnet: IPNetwork
    """Without host bits."""
    window: IPNetwork | None = None
    """``--ip-range``: where dynamic addresses come from; None: the whole subnet."""
    automatic: bool = False
    """Chosen by us from the default pools, not typed by the user."""
    excluded: tuple[IPRange, ...] = ()
    """Never chosen for who names no address (``ipam.exclude``); may overlap the subnet's ends."""
    quarantine_s: float = 0.0
    """How long a released address is not chosen again (``ipam.quarantine``)."""
    limit: int | None = None
    """How many addresses may be held at once, the gateway's included (``ipam.limit``)."""
    probe: bool = False
    """Ask the segment before an address is given to an endpoint (``ipam.probe``)."""
    created: float = 0.0
    """Seconds since the epoch."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return int(self.subnet.version)


class Lease(NamedTuple):
    """An address of a pool that is held."""

    pool: PoolId
    address: IPAddress
    kind: LeaseKind
    wanted: bool = False
    """Asked for by address, not chosen by us."""
    name: str = ""
    """The container's name where Docker sends it (engine 29 and newer)."""
    serial: int = 0
    """Unique for the life of the store: tells a lease from a later one of the same address."""
    created: float = 0.0
    """Seconds since the epoch."""
    host: str = ""
    """Whose container has it, where several hosts give the pool's addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An address that is kept, whether it has a pool now or not.

    It outlives pools: the network of a Compose file comes and goes, its addresses stay.
    """

    space: str
    address: IPAddress
    name: str = ""
    """The container that gets it without asking; empty: whoever asks for it by address."""
    note: str = ""
    """For people."""
    created: float = 0.0
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Who had an address that is free now, and may want it again, or that nobody may have yet."""

    address: IPAddress
    name: str = ""
    """The container's, as in its lease."""
    wanted: bool = False
    """It was asked for by address."""
    since: float = 0.0
    """When it was released; seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How full a pool is, in addresses."""

    held: int
    capacity: int
    """Usable addresses of the whole subnet: without the network and broadcast addresses."""
    free: int
    """Still there for whoever names no address: inside the window if there is one, without what
    is excluded, reserved or in quarantine, and no more than the pool's limit leaves."""
    reserved: int = 0
    """Addresses with a reservation, held or not."""
    resting: int = 0
    """Free addresses that are not chosen for a while: in quarantine, or found in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRequest:
    """What RequestPool asks for."""

    space: str
    subnet: IPNetwork | None = None
    """None: choose a new one from the default pools."""
    window: IPNetwork | None = None
    family: int = 4
    prefix: int | None = None
    """Wanted prefix length of an automatic pool (``ipam.prefix``)."""
    excluded: tuple[IPRange, ...] = ()
    quarantine_s: float = 0.0
    limit: int | None = None
    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRequest:
    """What RequestAddress asks for."""

    pool: PoolId
    address: IPAddress | None = None
    kind: LeaseKind = LeaseKind.ENDPOINT
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupied:
    """A piece of address space that the host uses: a route, a name server."""

    network: IPNetwork
    why: str
    """For the error text: ``route via eth0``, ``name server``."""
    firm: bool = True
    """False: passed over only while there is another subnet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceLimit:
    """How much one address space may hold; None: any number."""

    space: str
    pools: int | None = None
    """Of both families."""
    addresses: int | None = None
    """Held in all its pools, gateways included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPool:
    """Where automatic pools come from: subnets of length ``size`` out of ``base``."""

    base: IPNetwork
    size: int
    """Prefix length of one pool where the request names none."""
