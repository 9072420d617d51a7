"""Netlink messages, and the sockets that they travel on. Blocks."""
