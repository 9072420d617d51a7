"""``ovsnet ipam``: pools, leases and reservations, as the process tells them."""
