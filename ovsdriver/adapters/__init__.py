"""The other shore: OVSDB, netlink, nftables, SQLite and Docker's API behind the ports.

One folder for each part of the world; they know ``ports`` and the domain, and ``world.py``
chooses them.
"""
