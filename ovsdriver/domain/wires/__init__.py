"""Which rows and links there should be, which there are, and what differs.

Begin with ``desired.py``, then ``diff.py``: that a record always gives the same rows is what
repair rests on.
"""
