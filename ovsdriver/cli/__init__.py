"""The command ``ovsnet``: prints what the process and this host say, decides nothing."""

from ovsdriver.cli.app import command
from ovsdriver.cli.programs import Programs

__all__ = ["Programs", "command"]
