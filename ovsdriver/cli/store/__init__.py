"""``ovsnet ipam check``, ``backup`` and the like: on the store's file, without the process."""
