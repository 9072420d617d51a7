"""From options to a bridge and a tag on it, or to a refusal: VLANs, spanning trees, QinQ.

Begin with ``vlan_planning.py``.
"""
