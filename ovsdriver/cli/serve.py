"""``ovsnet serve``."""

import sys

import click

from ovsdriver.cli.flags import EVERY, settings_of
from ovsdriver.cli.outcome import Refusal
from ovsdriver.cli.programs import Programs
from ovsdriver.config import Settings
from ovsdriver.errors import DriverError


@click.command(name="serve")
@settings_of(*EVERY, salvaged=True)
@click.pass_obj
def command(programs: Programs, settings: Settings, fault: str) -> None:
    """Run the plugin, in the foreground, until SIGTERM.

    Serves Docker's network driver `ovsnet` and IPAM driver `ovsipam` on sockets in the plugin
    directory, and the admin socket, which the other commands ask, in the run directory. Events
    go to stderr, one a line.

    \b
    Examples:
      ovsnet serve
      OVSNET_LOG_LEVEL=debug ovsnet serve
      ovsnet serve --config lab.toml --plugin-dir /run/docker/plugins \\
                   --run-dir /run/lab --state-dir /var/lib/lab
    \b
    Several may run on one machine: give each its own run, state and plugin directory, and
    `instance = "NAME"` in its configuration.

    With a wrong configuration file or variable the sockets are served all the same, because
    Docker's start waits for them, and each call is refused with what is wrong.
    """
    try:
        code = programs.serve(settings, fault)
    except DriverError as error:
        raise Refusal(str(error)) from error
    sys.exit(code)
