"""From what was asked for to a network or a port, or to a refusal with what to type.

Begin with ``planning.py`` for networks and ``port_planning.py`` for endpoints.
"""
