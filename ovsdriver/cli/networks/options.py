"""``ovsnet options``."""

import click

from ovsdriver.cli import show
from ovsdriver.cli.flags import JSON
from ovsdriver.words import options

_TITLES = {
    options.Scope.NETWORK: "Networks: docker network create -o NAME=VALUE",
    options.Scope.ENDPOINT: "Containers: docker run --network name=NETWORK,driver-opt=NAME=VALUE",
    options.Scope.IPAM: "Addresses: docker network create --ipam-opt NAME=VALUE",
}

_TARGETS = {
    options.Scope.NETWORK: "NETWORK",
    options.Scope.ENDPOINT: "CONTAINER",
    options.Scope.IPAM: "NETWORK",
}


@click.command(name="options", short_help="List the options of networks, containers and pools.")
@click.option("--markdown", is_flag=True, help="Print the tables of ovsdriver/README.md.")
@JSON
def command(markdown: bool, as_json: bool) -> None:
    """List what can be typed after `-o`, `--ipam-opt` and `driver-opt=`.

    \b
    Examples:
      ovsnet options
      ovsnet options | grep -A2 vlan
    """
    if markdown:
        click.echo(options.markdown(), nl=False)
        return
    if as_json:
        show.as_json([_plain(each) for each in options.rows()])
        return
    for number, (scope, title) in enumerate(_TITLES.items()):
        if number:
            show.line()
        show.line(title)
        for row in options.rows(scope):
            click.echo(f"\n  {click.style(row.name, bold=True)}")
            click.echo(click.wrap_text(row.help, 96, "      ", "      "))
            click.echo(f"      example: {row.example}")
            click.echo(f"      default: {row.default.replace('`', '')}")
            if row.fixed:
                changes = f"not by ovsnet set: {row.fixed}"
                click.echo(click.wrap_text(f"changes: {changes}", 96, "      ", "        "))
            else:
                click.echo(f"      changes: ovsnet set {_TARGETS[scope]} {row.name}=…")
            if row.aliases:
                click.echo(f"      also: {', '.join(row.aliases)}")


def _plain(row: options.Option) -> dict[str, object]:
    return {
        "name": row.name,
        "scope": row.scope.value,
        "example": row.example,
        "default": row.default,
        "help": row.help,
        "aliases": list(row.aliases),
        "live": not row.fixed,
        "fixed": row.fixed,
    }
