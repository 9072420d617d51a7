"""What a network or an endpoint has beside its port: flows, rates, mirrors, uplinks, rules.

Begin with ``aspect.py``: what each of them is asked, and when. Each other file keeps one as the
records say: made, repaired, forgotten and purged. They do not know who calls them.
"""
