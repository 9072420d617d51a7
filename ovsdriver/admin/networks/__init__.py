"""Networks and endpoints of this host, and what is wrong with them."""
