"""Options, ports, wires and events in combination: every pair of their values, end to end."""
