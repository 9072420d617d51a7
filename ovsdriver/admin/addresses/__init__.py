"""Pools, leases and reservations."""
