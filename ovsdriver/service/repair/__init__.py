"""Look at everything, and make again what is missing.

Begin with ``reconciler.py``: at start, when Open vSwitch or the host says something, and every
30 s. What is compared is in ``wires.py`` and in the aspects.
"""
