"""Create, join, leave and delete endpoints, and put back an interface that was lost.

Begin with ``endpoints.py``: its steps are in ``plugs.py``, and repairs take them again in
``replugs.py``. ``veths_ahead.py`` and ``ended_pairs.py`` save a container's start and end time.
"""
