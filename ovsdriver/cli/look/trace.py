"""``ovsnet trace``."""

import click

from ovsdriver.cli import show
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.look import tracer
from ovsdriver.cli.outcome import EXIT_CODES, Exit
from ovsdriver.config import Settings
from ovsdriver.domain.tracing.hops import Question, Verdict

_PROTOCOLS = ("tcp", "udp", "sctp")
_SIGNS = {Verdict.PASS: "✔", Verdict.STOP: "✘", Verdict.UNSURE: "?"}


@click.command(
    name="trace",
    epilog=EXIT_CODES,
    short_help="Tell why one place does or does not reach another, step by step.",
)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("protocol", metavar="[PROTOCOL/PORT]", default="icmp")
@click.option("-4", "family", flag_value=4, type=int, help="Over IPv4; else whatever both have.")
@click.option("-6", "family", flag_value=6, type=int, help="Over IPv6.")
@settings_of("run_dir", "ovsdb", "docker", "instance")
@JSON
def command(
    settings: Settings,
    source: str,
    target: str,
    protocol: str,
    family: int | None,
    as_json: bool,
) -> None:
    """Tell why one place does or does not reach another, step by step.

    A place is a container, an address, `host` or `outside`; TO may be `dns`. A container on several
    networks may be named NETWORK/CONTAINER. From outside and from this host, PORT is the host's
    where it is published for TO.

    Looks at ports, addresses and routes of containers. Follows such a packet and its answer through
    the bridge and every rule of this host. Asks whether a program listens. Sends nothing. The last
    line is the one to read; `?` marks what this host cannot know.

    \b
    Examples:
      ovsnet trace web db tcp/5432
      ovsnet trace web outside
      ovsnet trace web 192.0.2.1 tcp/22
      ovsnet trace outside web tcp/8080
      ovsnet trace host lab/web -6
      ovsnet trace web dns
      ovsnet trace lab/web lab/db udp/53 --json | jq '.hops[] | select(.verdict != "pass")'
    """
    found = tracer.trace(settings, source, target, _question(protocol), family=family)
    if as_json:
        show.as_json(found)
    else:
        for each in found.hops:
            show.line(f"{_SIGNS[each.verdict]} {each.sentence}")
        show.line()
        show.line(found.verdict)
    if found.reaches is False:
        raise click.exceptions.Exit(int(Exit.REFUSED))


def _question(text: str) -> Question:
    protocol, slash, port = text.lower().partition("/")
    if not slash and protocol in ("icmp", "ping"):
        return Question()
    if protocol not in _PROTOCOLS or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.UsageError(f"{text!r}: write it like tcp/5432 or udp/53, or leave it out")
    return Question(protocol=protocol, port=int(port))
