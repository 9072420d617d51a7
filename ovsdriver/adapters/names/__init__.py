"""Name servers of segments: namespaces with our answers in them, and the way to the host's own.

Only who is in a fleet imports this: it needs dnspython.
"""

from ovsdriver.adapters.names.servers import SegmentNameServers

__all__ = ["SegmentNameServers"]
