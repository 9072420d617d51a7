"""Docker's plugin protocol: a call's JSON to a request, a service's answer to JSON.

Begin with ``methods.py``, the table of all calls; ``network.py`` and ``ipam.py`` hold their
messages.
"""
