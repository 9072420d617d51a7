"""Why a packet does or does not get from here to there, from what is known of both. Pure.

Begin with ``hops.py``, which has the answer's shape.
"""
