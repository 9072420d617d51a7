"""Which packets may pass: the firewall's table, guards, mirrors, published ports.

Begin with ``firewall.py`` for the host and ``guarding.py`` for a port.
"""
