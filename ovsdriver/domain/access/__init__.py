"""What access rules come to: one policy for each container that has any. Pure.

``policy.py`` says what a policy is. Who enforces it (nftables past a gateway, OpenFlow on a bridge,
the name server) knows policies and members, and no option.
"""
