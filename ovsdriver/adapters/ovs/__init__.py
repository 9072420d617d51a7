"""Open vSwitch: its database (``ovsdb``), our rows (``rows``) and OpenFlow (``openflow``)."""
