"""Pure: which subnet, which address. Cost does not grow with the pool or with what is taken.

Begin with ``pools.py`` and ``addresses.py``; ``bitmap.py`` and ``runs.py`` hold what is taken.
"""
