"""Links, addresses, routes and queues of the kernel, over netlink.

Begin with ``kernel.py``, which has the parts, and ``links.py``, the largest of them. ``host`` is
about the host's own network, ``sandbox`` about containers' namespaces, ``codec`` about the
messages; all asking goes through ``netlink.py``.
"""
