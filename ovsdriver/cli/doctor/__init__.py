"""What this host has and lacks. One file for each part of it: a look, then a pure judgement."""

from ovsdriver.cli.doctor.finding import Finding, Level

__all__ = ["Finding", "Level"]
