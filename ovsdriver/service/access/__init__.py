"""Access rules: the plan of all records, kept past gateways and answered for.

``plans.py`` makes the plan, with sets of rules that have a name (``named_sets.py``). ``names.py``
says what DNS names are answered to whom, and has the rules learn it.
"""
