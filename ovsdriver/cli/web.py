"""``ovsnet web``."""

import asyncio
from pathlib import Path

import click

from ovsdriver.cli.flags import settings_of
from ovsdriver.cli.outcome import EXIT_CODES, refusals
from ovsdriver.config import Settings


@click.command(
    name="web", epilog=EXIT_CODES, short_help="Show networks, map and paths in the browser."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of 127.0.0.1; left out: any that is free.",
)
@click.option("--write", is_flag=True, help="Let the page change delay and loss, and pull cables.")
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="Listen on this socket instead, for a reverse proxy that asks for passwords.",
)
@click.option("--host", metavar="NAME", help="The proxy's name, as browsers type it.")
@settings_of("run_dir", "ovsdb", "docker", "instance")
def command(
    settings: Settings, port: int, write: bool, socket: Path | None, host: str | None
) -> None:
    """Show networks, their map, paths, addresses and events in a browser on this host.

    Prints a link, which is good once, and serves until Ctrl-C. Only programs of this host reach it.
    From elsewhere, forward a port first: ssh -L 8080:127.0.0.1:8080 HOST. With --socket there is no
    link: the proxy lets in whom it knows.

    \b
    Examples:
      ovsnet web
      ovsnet web --port 8080 --write
      ovsnet web --socket /run/ovsnet-web/web.sock --host lab.example.org
    """
    if (socket is None) != (host is None):
        raise click.UsageError("--socket and --host go together: a path, and the proxy's name")
    from ovsdriver.web.pages import LIBRARIES  # other commands have no need of a server
    from ovsdriver.web.server import Serving, serve

    if not (LIBRARIES / "uPlot.js").is_file():
        click.echo(
            "ovsnet: this build has no library for charts, so rates are shown as numbers; see "
            "ovsdriver/web/README.md",
            err=True,
        )
    flags = ("--run-dir", str(settings.run_dir))
    wanted = Serving(
        run_dir=settings.run_dir,
        flags=flags,
        trace_flags=(
            *flags,
            *("--ovsdb", settings.ovsdb),
            *("--docker", settings.docker),
            *("--instance", settings.instance),
        ),
        port=port,
        socket=socket,
        host=host or "",
        write=write,
    )
    with refusals():
        asyncio.run(serve(wanted, click.echo))
