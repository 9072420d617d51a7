"""Who reaches whom: networks, modes, published ports, the host, firewalls of other people."""
