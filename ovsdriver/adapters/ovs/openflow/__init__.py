"""OpenFlow, spoken with the bridges of ovs-vswitchd on their management sockets."""

from ovsdriver.adapters.ovs.openflow.switch_flows import OvsFlows

__all__ = ["OvsFlows"]
