"""``ovsnet graph``."""

from collections.abc import Callable, Mapping

import click

from ovsdriver.admin import asks
from ovsdriver.admin.graph.svg import svg
from ovsdriver.admin.graph.text import dot, mermaid
from ovsdriver.admin.graph.views import Graph
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings

_WRITTEN: Mapping[str, Callable[[Graph], str]] = {"mermaid": mermaid, "svg": svg, "dot": dot}


@click.command(name="graph", epilog=EXIT_CODES)
@click.option(
    "--format",
    "form",
    type=click.Choice((*_WRITTEN, "json")),
    default="mermaid",
    show_default=True,
    help="How it is drawn.",
)
@settings_of("run_dir")
@JSON
def command(settings: Settings, form: str, as_json: bool) -> None:
    """Draw what is connected to what: outside, NICs, bridges, networks, containers.

    What is broken is red. Ports of other programs on bridges of ovsnet are grey. Mermaid is what
    GitHub and GitLab draw in Markdown, dot is Graphviz' language.

    \b
    Examples:
      ovsnet graph --format svg > lab.svg
      ovsnet graph --format mermaid
      ovsnet graph --format dot | dot -Tpng -o lab.png
      ovsnet graph --json | jq '.edges[] | select(.condition == "broken")'
    """
    found = ask(settings, asks.ShowGraph())
    if as_json or form == "json":
        show.as_json(found)
    else:
        click.echo(_WRITTEN[form](found), nl=False)
