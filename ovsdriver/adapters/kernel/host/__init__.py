"""What the host has: NICs and what is on them, routes, switches, and news of all that."""
