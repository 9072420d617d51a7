"""What happened: the record of an event, what changed records say, and which ones are asked for.

Begin with ``event.py``.
"""
