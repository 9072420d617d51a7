"""Access rules: the plan of all records, kept past gateways and answered for.

``names.py`` says what DNS names are answered to whom, and has the rules learn it.
"""
