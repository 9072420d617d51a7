"""Name servers, of segments and at gateways, and the way to the host's own.

Only who is in a fleet, or has DNS names in access rules, imports this: it needs dnspython.
"""

from ovsdriver.adapters.names.servers import SegmentNameServers

__all__ = ["SegmentNameServers"]
