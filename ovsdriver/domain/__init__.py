"""Pure: what networks and endpoints are, and what the switch and the kernel should look like.

Four rooms, each importing only those after it: ``plan``, ``wires``, ``traffic``, ``records``.
"""
