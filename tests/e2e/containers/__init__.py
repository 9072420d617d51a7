"""A container's end: its link, its routes, what changes while it runs, what stays of it."""
