"""Flags that say where things are, made from the table of settings, and what they lead to."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ovsdriver import config
from ovsdriver.cli.outcome import Exit, Refusal
from ovsdriver.config import Setting, Settings
from ovsdriver.errors import CommandLineError, ConfigurationError
from ovsdriver.words import values

Command = Callable[..., Any]

EVERY = tuple(row.name for row in config.SETTINGS)


class _Time(click.ParamType[float]):
    """``30s``, ``5m``, as options have it; in seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return values.duration_s(value, 30 * 86400, "a time of at most 30 days")
        except ValueError as error:
            self.fail(str(error), param, ctx)


TIME = _Time()

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, with whole ids.")

_CONFIG = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Configuration file.  [default: {config.DEFAULT_PATH}; ${config.PATH_VARIABLE}]",
)


def settings_of(*names: str, salvaged: bool = False) -> Callable[[Command], Command]:
    """Give a command ``--config`` and the flags of these settings, and ``settings`` as argument.

    File and variables are read whole, whichever flags a command has. What is wrong there ends the
    command; one that says ``salvaged`` gets what is right, and ``fault``, a sentence, as well.
    """
    rows = [row for row in config.SETTINGS if row.name in names]

    def decorate(function: Command) -> Command:
        @wraps(function)
        def run(*args: Any, config_path: Path | None, **named: Any) -> Any:
            flags = {row.name: named.pop(row.name) for row in rows}
            try:
                if salvaged:
                    settings, named["fault"] = config.salvage(
                        config_path, environ=os.environ, flags=flags
                    )
                else:
                    settings = config.load(config_path, environ=os.environ, flags=flags)
            except CommandLineError as error:
                raise Refusal(str(error), Exit.USAGE) from error
            except ConfigurationError as error:
                raise Refusal(str(error)) from error
            return function(*args, settings=settings, **named)

        decorated: Command = run
        for row in reversed(rows):
            decorated = _flag(row)(decorated)
        return _CONFIG(decorated)

    return decorate


def _flag(row: Setting) -> Callable[[Command], Command]:
    default = _default(row)
    sources = f"[default: {default}; ${row.variable}]" if default else f"[${row.variable}]"
    return click.option(row.flag, row.name, metavar=row.shape, help=f"{row.help}  {sources}")


def _default(row: Setting) -> str:
    value = getattr(Settings(), row.name)
    if row.name == "vlans":
        return "-".join(map(str, value))
    return "" if value is None or isinstance(value, tuple) else str(value)
