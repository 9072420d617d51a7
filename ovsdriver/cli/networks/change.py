"""``ovsnet set``."""

import click

from ovsdriver.admin import asks
from ovsdriver.admin.views import Changed
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, TIME, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.config import Settings
from ovsdriver.domain.records.options.timed import Spell


@click.command(
    name="set", epilog=EXIT_CODES, short_help="Change options of networks and containers in use."
)
@click.argument("target", metavar="NETWORK|CONTAINER")
@click.argument("options", metavar="OPTION=VALUE...", nargs=-1, required=True)
@click.option(
    "--for", "for_s", type=TIME, metavar="TIME", help="Take it back after that time: 30s, 5m."
)
@click.option(
    "--every", "every_s", type=TIME, metavar="TIME", help="With --for: do it again and again."
)
@settings_of("run_dir")
@JSON
def command(
    settings: Settings,
    target: str,
    options: tuple[str, ...],
    for_s: float | None,
    every_s: float | None,
    as_json: bool,
) -> None:
    """Change options while containers are connected; changes are kept over every restart.

    The target is a network, a container that is on one network, NETWORK/CONTAINER, or the begin of
    a network's or an endpoint's id. All options of one command are changed, or none. `OPTION=`
    goes back to the default; containers without a value of their own follow their network.
    `ovsnet options` tells which can be changed, and what to do about the others.

    `--for` takes a change back by itself, also if ovsnet was restarted meanwhile; the next command
    about the same option ends that. A container's ends with the container.

    \b
    Examples:
      ovsnet set lab ovs.icc=false
      ovsnet set lab ovs.vlan=40
      ovsnet set lab/router ovs.trunks=10,20-30 ovs.vlan_mode=native-tagged
      ovsnet set router ovs.trunks=
      ovsnet set web ovs.link=down --for 30s
      ovsnet set web ovs.link=down --every 10s --for 2s
      ovsnet set lab ovs.icc=true --json
    """
    wish = asks.SetOptions(target=target, options=options_of(options), spell=_spell(for_s, every_s))
    changed = ask(settings, wish)
    if as_json:
        show.as_json(changed)
    else:
        _print(changed)
    if changed.pending:
        raise Refusal(
            "recorded, but not all of it is in force yet; it is tried again, see `ovsnet status`: "
            + "; ".join(changed.pending)
        )


def _spell(for_s: float | None, every_s: float | None) -> Spell | None:
    if for_s is None:
        if every_s is not None:
            raise click.UsageError("--every says how often; say how long each time with --for")
        return None
    if not for_s:
        raise click.UsageError("--for 0 would change nothing; say how long, as in --for 30s")
    if every_s is not None and every_s <= for_s:
        raise click.UsageError("--every must be longer than --for, or nothing is ever taken back")
    return Spell(for_s=for_s, every_s=every_s)


def options_of(options: tuple[str, ...]) -> dict[str, str]:
    """Return what ``OPTION=VALUE`` words say; UsageError if one is no such, or said twice."""
    found: dict[str, str] = {}
    for each in options:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{each!r}: write OPTION=VALUE, or OPTION= for the default")
        if found.get(key, value) != value:
            raise click.UsageError(f"{key} is given twice, with {found[key]!r} and {value!r}")
        found[key] = value
    return found


def _print(changed: Changed) -> None:
    show.table(
        ("OPTION", "BEFORE", "NOW"),
        [(each.option, each.old or "-", each.new or "-") for each in changed.options],
    )
    about = [each.container or show.short(each.endpoint) for each in changed.containers]
    show.line()
    show.line(
        f"In force for: {', '.join(about)}" if about else "No port of a running container changes."
    )
