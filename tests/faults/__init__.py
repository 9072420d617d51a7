"""Faults, done to real processes while containers run; and what is so afterwards."""
