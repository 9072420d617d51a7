"""Commands about what several hosts have in common."""
