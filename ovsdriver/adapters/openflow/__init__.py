"""OpenFlow, spoken with the bridges of ovs-vswitchd on their management sockets."""

from ovsdriver.adapters.openflow.switch_flows import OvsFlows

__all__ = ["OvsFlows"]
