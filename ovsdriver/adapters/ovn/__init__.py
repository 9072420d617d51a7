"""OVN: its northbound database, which the hosts of a fleet have in common, and its southbound one,
which knows the hosts."""

from ovsdriver.adapters.ovn.northbound import OvnNorthbound
from ovsdriver.adapters.ovn.southbound import OvnSouthbound

__all__ = ["OvnNorthbound", "OvnSouthbound"]
