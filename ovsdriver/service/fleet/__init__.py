"""What the hosts of a fleet have in common: addresses of segments, held once for all; the hosts.

It knows OVN's northbound database as a port. Begin with ``pools.py``; ``choice.py`` is pure.
"""
