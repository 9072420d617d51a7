"""``ovsnet rules ls | show | set | rm``."""

from collections.abc import Sequence

import click
from rich.text import Text

from ovsdriver.admin import asks
from ovsdriver.admin.access.views import JudgedEnd, RulesUse, RulesUser
from ovsdriver.cli import show, typed_file
from ovsdriver.cli.access import rules_file
from ovsdriver.cli.daemon import ask, typed
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.ports import Verdict

_VERDICTS = {
    Verdict.DENIED: ("drop", "red"),
    Verdict.ALLOWED: ("pass", "green"),
    Verdict.CLOSED: ("drop", "red"),
}


@click.group(name="rules", epilog=EXIT_CODES)
def command() -> None:
    """Access rules: sets of them for ovs.rules, and what rules of containers have met."""


@command.command(name="ls", epilog=EXIT_CODES, short_help="List sets of rules.")
@settings_of("run_dir")
@JSON
def ls(settings: Settings, as_json: bool) -> None:
    """List sets of access rules, and which networks and containers use them.

    \b
    Examples:
      ovsnet rules ls
      ovsnet rules ls --json | jq -r '.[] | select(.users == []) | .name'
    """
    there = ask(settings, asks.ListRules())
    if as_json:
        show.as_json(there)
        return
    show.table(
        ("NAME", "FROM", "ALLOW", "DENY", "USED BY"),
        [
            (
                each.name,
                _source(each),
                str(len(each.allow)),
                str(len(each.deny)),
                _users(each.users),
            )
            for each in there
        ],
    )


@command.command(name="show", epilog=EXIT_CODES, short_help="Show rules, and what they have met.")
@click.argument("target", metavar="NAME|CONTAINER|NETWORK")
@settings_of("run_dir")
@JSON
def show_(settings: Settings, target: str, as_json: bool) -> None:
    """Show a set of rules, or the rules of a container or of all containers of a network.

    Rules are shown in the order in which they are asked, with the packets that met each. Containers
    whose rules say the same are counted together.

    \b
    Examples:
      ovsnet rules show agent
      ovsnet rules show web
      ovsnet rules show lab/web --json | jq '.ends[].rules[] | select(.verdict == "closed")'
    """
    found = ask(settings, asks.ShowRules(target=target))
    if as_json:
        show.as_json(found)
        return
    if found.set is not None:
        show.facts(
            [
                ("Rules", found.set.name),
                ("From", _source(found.set)),
                ("Used by", _users(found.set.users)),
            ]
        )
        show.listed("Deny", found.set.deny)
        show.listed("Allow", found.set.allow)
    elif not found.ends:
        show.line(f"{target} has no access rules: it reaches what its network's mode lets through")
    for number, each in enumerate(found.ends):
        if number or found.set is not None:
            show.line()
        _print_end(each)


@command.command(name="set", epilog=EXIT_CODES, short_help="Make or change a set of rules.")
@click.argument("name")
@click.option("--allow", metavar="RULE", multiple=True, help="What may be begun; any number.")
@click.option("--deny", metavar="RULE", multiple=True, help="What may not; any number.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Also the rules in FILE; - is standard input.",
)
@click.option("--add", is_flag=True, help="Keep what the set has, and add these.")
@settings_of("run_dir")
@JSON
def set_(
    settings: Settings,
    name: str,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    file: str | None,
    add: bool,
    as_json: bool,
) -> None:
    """Make a set of rules, or say anew what it has, for all that have ovs.rules=NAME at once.

    A rule is `[to|from] WHO [tcp|udp|icmp][/PORT[-PORT]]`. WHO is any, an address or a prefix,
    host, outside, container:NAME, network:NAME, or a DNS name. The set is kept until it is removed.

    \b
    Examples:
      ovsnet rules set agent --allow 'api.github.com tcp/443' --allow '10.1.0.0/16'
      ovsnet rules set agent --add --allow 'pypi.org tcp/443'
      ovsnet rules set agent --file agent.rules

    \b
    A file has one rule a line:
      allow to api.github.com tcp/443
      deny 10.0.0.0/8                  # what is inside
    """
    listed = rules_file.RulesFile()
    if file is not None:
        listed = rules_file.parse(typed_file.content(file), typed_file.shown(file))
    allowed, denied = [*allow, *listed.allow], [*deny, *listed.deny]
    if not allowed and not denied:
        raise click.UsageError("no rule; say --allow RULE or --deny RULE, or name a --file")
    done = ask(settings, typed(asks.SetRules, name=name, allow=allowed, deny=denied, add=add))
    if as_json:
        show.as_json(done)
        return
    size = show.plural(len(done.set.allow) + len(done.set.deny), "rule")
    whom = f"now in force for {_users(done.containers)}" if done.containers else "nobody has it yet"
    show.line(f"rules {done.set.name}: {size}; {whom}")
    if done.pending:
        show.line(Text(f"not in force yet: {done.pending}", style="yellow"))


@command.command(name="rm", epilog=EXIT_CODES, short_help="Remove a set of rules.")
@click.argument("name")
@settings_of("run_dir")
@JSON
def rm(settings: Settings, name: str, as_json: bool) -> None:
    """Remove a set of rules that nobody uses.

    \b
    Examples:
      ovsnet rules rm agent
    """
    removed = ask(settings, typed(asks.RemoveRules, name=name))
    if as_json:
        show.as_json(removed)
    else:
        show.line(f"rules {removed}: removed")


def _print_end(end: JudgedEnd) -> None:
    where = f"{_container(end.container, end.endpoint)} on {end.network_name or end.network[:12]}"
    facts = [("Container", where), ("Addresses", ", ".join(map(str, end.addresses)) or "-")]
    if end.shared:
        others = show.plural(end.shared, "other container")
        facts.append(("Counted with", f"{others} whose rules say the same"))
    show.facts(facts)
    show.table(
        ("SIDE", "RULE", "DOES", "SAID BY", "PACKETS", "BYTES"),
        [
            (
                each.side.value,
                each.about,
                Text(*_VERDICTS[each.verdict]),
                each.said_by or "any ovs.allow",
                str(each.packets),
                str(each.octets),
            )
            for each in end.rules
        ],
    )


def _source(of: RulesUse) -> str:
    return "configuration" if of.configured else "command"


def _users(users: Sequence[RulesUser]) -> str:
    shown = [
        (each.network_name or show.short(each.network))
        + (f"/{_container(each.container, each.endpoint)}" if each.endpoint else "")
        for each in users
    ]
    return ", ".join(shown) or "-"


def _container(name: str, endpoint: str) -> str:
    return name or show.short(endpoint)
