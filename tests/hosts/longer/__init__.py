"""Tests of a fleet that take many minutes: kills at points of calls, and a soak."""
