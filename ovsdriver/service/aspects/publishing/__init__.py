"""Published ports of the host: who holds which, and what leads to the container.

Begin with ``published.py``.
"""
