"""OpenFlow rules of ours on bridges: what is wanted, and how it is kept so.

Begin with ``flow_rules.py``, the aspect; ``wanted_flows.py`` beside it only tells.
"""
