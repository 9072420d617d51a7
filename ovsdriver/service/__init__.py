"""The operations: create, attach, detach, delete, repair. Over ports; touches nothing itself."""
