"""Pools, leases and what is asked for.

All are frozen, and the netaddr values in them are constants by agreement: netaddr's classes can
be assigned to, and an ``IPNetwork`` may carry host bits, which no subnet or window here does.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, Protocol

from netaddr import IPAddress, IPNetwork

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
    created: float = 0.0
    """Seconds since the epoch."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return int(self.subnet.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Who had an address that is free now, and may want it again."""

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
    """Still there for whoever names no address: inside the window, if there is one."""


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


class DefaultPool(Protocol):
    """Where automatic pools come from: subnets of length ``size`` out of ``base``."""

    @property
    def base(self) -> IPNetwork:
        """The whole of it."""
        ...

    @property
    def size(self) -> int:
        """Prefix length of one pool where the request names none."""
        ...
