"""Pools and leases: which subnets and addresses are given to whom. No I/O, no Docker JSON."""

from ipam.errors import (
    AddressError,
    ExhaustedError,
    InvalidNameError,
    InvalidPoolError,
    IpamError,
    OverlapError,
    StoreError,
    UnknownPoolError,
)
from ipam.model import (
    DEFAULT_SPACE,
    GLOBAL_SPACE,
    AddressRequest,
    DefaultPool,
    Lease,
    LeaseKind,
    Memory,
    Occupied,
    Pool,
    PoolId,
    PoolRequest,
    Usage,
)
from ipam.service import Ipam, Surroundings
from ipam.store import Contents, Holders, LeaseStore, StoredPool

__all__ = [
    "DEFAULT_SPACE",
    "GLOBAL_SPACE",
    "AddressError",
    "AddressRequest",
    "Contents",
    "DefaultPool",
    "ExhaustedError",
    "Holders",
    "InvalidNameError",
    "InvalidPoolError",
    "Ipam",
    "IpamError",
    "Lease",
    "LeaseKind",
    "LeaseStore",
    "Memory",
    "Occupied",
    "OverlapError",
    "Pool",
    "PoolId",
    "PoolRequest",
    "StoreError",
    "StoredPool",
    "Surroundings",
    "UnknownPoolError",
    "Usage",
]
