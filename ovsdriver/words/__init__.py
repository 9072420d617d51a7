"""What users type and read: options, their values, and what is in force.

Knows the records and nothing that acts. Begin with ``options.py``: a new option is a row of its
table.
"""
