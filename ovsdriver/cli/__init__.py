"""The `ovsnet` command: prints and asks, decides nothing."""
