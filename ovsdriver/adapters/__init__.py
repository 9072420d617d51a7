"""The other shore: OVSDB, netlink, nftables, SQLite and Docker's API behind the ports."""
