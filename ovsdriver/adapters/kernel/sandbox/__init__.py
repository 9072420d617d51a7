"""Inside containers' namespaces: what an interface is like, and making it again as it was.

Runs on threads of its own, each in one namespace. Begin with ``sandboxes.py``.
"""
