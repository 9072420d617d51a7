"""Open vSwitch: our rows in its database (``rows``) and OpenFlow (``openflow``)."""
