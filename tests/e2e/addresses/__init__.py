"""Pools, addresses and reservations, as Docker's users and engines of any version ask for them."""
