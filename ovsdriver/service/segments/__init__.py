"""Networks over several hosts: what OVN is told of their ports and routers, and their names.

Begin with ``ports.py``. Their addresses are in ``service/fleet/``.
"""
