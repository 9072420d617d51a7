"""Segments over several hosts, and the hosts."""
