"""How commands end: exit codes, and errors as one sentence on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import IO, Any

import click

from ipam import IpamError
from ovsdriver.errors import DriverError
from ovsdriver.words.values import printable


class Exit(IntEnum):
    """Exit codes of every command; 2 for a wrong command line is click's own."""

    OK = 0
    REFUSED = 1
    """Refused, failed, or something is wrong here."""
    USAGE = 2
    NOT_RUNNING = 3


EXIT_CODES = """\b
Exit codes:
  0  done, or all is well
  1  refused or failed, or something is wrong
  2  the command line is wrong
  3  ovsnet is not running
"""
"""For the end of a command's help."""


class Refusal(click.ClickException):
    """A sentence for stderr, and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__(message)
        self.code = code

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has it as a class variable
        """What click ends the process with."""
        return int(self.code)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        # Line by line: a refused file has several.
        text = "\n".join(map(printable, self.format_message().split("\n")))
        click.echo(f"ovsnet: {text}", err=True, file=file)


@contextmanager
def refusals() -> Iterator[None]:
    """End the command with the sentence of what is refused inside."""
    try:
        yield
    except (DriverError, IpamError) as error:
        raise Refusal(str(error)) from error
