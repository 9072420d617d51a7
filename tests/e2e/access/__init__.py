"""Access rules and guarded containers: what is sent and what is dropped, seen by those who talk."""
