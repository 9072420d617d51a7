"""OVN: its northbound database, which the hosts of a fleet have in common."""

from ovsdriver.adapters.ovn.northbound import OvnNorthbound

__all__ = ["OvnNorthbound"]
