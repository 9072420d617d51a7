"""What a network or an endpoint has beside its port: flows, rates, mirrors, uplinks, rules.

Each file keeps one of them as the records say: made, repaired and forgotten. They do not know
who calls them.
"""
