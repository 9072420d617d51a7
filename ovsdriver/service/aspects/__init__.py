"""What a network or an endpoint has beside its port: bridges, flows, rates, mirrors, rules.

Begin with ``aspect.py``: what each of them is asked, and when. Most other files keep one as the
records say: made, repaired, forgotten and purged. They do not know who calls them. The list of
them all is in ``assembly.py``; a few are elsewhere, as those of segments.
"""
