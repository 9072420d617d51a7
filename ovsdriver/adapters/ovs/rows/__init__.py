"""``Switch`` on Open vSwitch's database: plans for its rows, and a view of them."""

from ovsdriver.adapters.ovs.rows.switch import OvsSwitch, device_index

__all__ = ["OvsSwitch", "device_index"]
