"""Netlink messages, and the sockets and threads that they travel on. Blocks."""
