"""Bytes on unix sockets: a fast path for Docker's requests, aiohttp for everything else.

Knows no method of Docker's. Begin with ``server.py``; ``connection.py`` and ``one_call.py`` are
the fast path, ``sockets.py`` makes or adopts the sockets.
"""
