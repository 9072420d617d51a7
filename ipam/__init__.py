"""Pools and leases: which subnets and addresses are given to whom. No I/O, no Docker JSON."""

from ipam.model import PoolId

__all__ = ["PoolId"]
