"""What the address manager asks of a network's own host: who answers, what is kept for others.

Begin with ``probing.py``.
"""
