"""What passes, and how it stands: for Prometheus, and for ``ovsnet top``."""
