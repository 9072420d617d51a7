"""What can be said of a network or a container, and what is changed of it: options, parsed.

Begin with ``port_options.py``. They know nothing of the records that hold them.
"""
