"""Commands for access rules."""
