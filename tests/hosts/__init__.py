"""Several hosts on one machine, and networks that span them."""
