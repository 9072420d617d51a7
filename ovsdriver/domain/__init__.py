"""Pure: what networks and endpoints are, and what the switch and the kernel should look like."""
