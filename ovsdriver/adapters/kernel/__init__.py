"""Links, addresses, routes and queues of the kernel, over netlink.

Begin with ``links.py``. ``host`` is about the host's own network, ``sandbox`` about containers'
namespaces, ``codec`` about the messages.
"""
