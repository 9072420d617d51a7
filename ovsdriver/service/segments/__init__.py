"""Networks over several hosts: their addresses and ports in OVN's northbound database.

It knows that database as a port, and what all aspects know. Begin with ``pools.py``.
"""
