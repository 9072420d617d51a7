"""``ovsnet top``."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ovsdriver.admin import asks
from ovsdriver.admin.measures.views import TrafficReport
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.look import talkers
from ovsdriver.cli.look.talkers import Past, called
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.config import Settings
from ovsdriver.domain.traffic import talking
from ovsdriver.domain.traffic.talking import Flows
from ovsdriver.domain.wires.observed import Traffic

_NO_FLOWS = "who talks to whom is not known: ovs-vswitchd beside {} cannot be asked; try it as root"
_NO_CONNECTIONS = (
    "connections past gateways are not known: the kernel cannot be asked; try it as root"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What passes a container in a second."""

    name: str
    network: str
    container: str
    up: bool
    received_bytes: float
    sent_bytes: float
    received_packets: float
    sent_packets: float
    dropped_packets: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What one end sends the other in a second."""

    source: str
    target: str
    bytes: float
    packets: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture."""

    seconds: float
    """Between the two looks that it is made of."""
    containers: tuple[Rates, ...] = ()
    talks: tuple[Talk, ...] = ()
    past: tuple[Past, ...] = ()
    unknown: tuple[str, ...] = ()
    """What could not be looked at, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    report: TrafficReport
    flows: Flows | None
    past: Sequence[Past] | None


_ORDERS: Mapping[str, Callable[[Rates], float]] = {
    "traffic": lambda each: each.received_bytes + each.sent_bytes,
    "received": lambda each: each.received_bytes,
    "sent": lambda each: each.sent_bytes,
    "packets": lambda each: each.received_packets + each.sent_packets,
    "dropped": lambda each: each.dropped_packets,
}


@click.command(name="top", epilog=EXIT_CODES)
@click.argument("target", metavar="[NETWORK|CONTAINER]", default="")
@click.option(
    "--sort",
    type=click.Choice(tuple(_ORDERS)),
    default="traffic",
    show_default=True,
    help="What comes first.",
)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Of each table, at most.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.2),
    default=2.0,
    show_default=True,
    help="Between two looks.",
)
@click.option("--once", is_flag=True, help="Print it once; so it is where nobody looks: in pipes.")
@settings_of("run_dir", "ovsdb")
@JSON
def command(
    settings: Settings,
    target: str,
    sort: str,
    lines: int,
    seconds: float,
    once: bool,
    as_json: bool,
) -> None:
    """Show what passes containers just now, and who talks to whom, until Ctrl-C.

    Rates are of the time between two looks, in bytes a second. Nothing is measured while nobody
    looks. Conversations are of Open vSwitch's datapath, connections past gateways of the kernel's
    conntrack; both need root. A container on several networks is named NETWORK/CONTAINER.

    \b
    Examples:
      ovsnet top
      ovsnet top lab --sort dropped
      ovsnet top lab/web
      ovsnet top --once --json | jq '.talks[0]'
    """
    wanted = _wanted(settings, target)
    before = _look(settings)

    def view() -> View:
        nonlocal before
        time.sleep(seconds)
        after = _look(settings)
        found = _between(before, after, settings)
        before = after
        return _sorted(_only(found, wanted), sort)

    if as_json:
        show.as_json(view())
        return
    if once or not sys.stdout.isatty():
        _print(view(), lines)
        return
    console = Console(highlight=False)
    with Live(Text("the first look takes two"), console=console, screen=True) as live:
        try:
            while True:
                live.update(Group(*_tables(view(), lines)), refresh=True)
        except KeyboardInterrupt:
            return


def _wanted(settings: Settings, target: str) -> Callable[[str], bool]:
    """Return what tells whether a name is among what is looked at."""
    if not target:
        return lambda _: True
    network, endpoint = named.target(target, ask(settings, asks.ShowState()))
    prefix = network.name or network.network.id[:12]
    if endpoint is None:
        return lambda name: name.startswith(f"{prefix}/") or name == f"gateway of {prefix}"
    if endpoint.endpoint.sandbox is None:
        raise Refusal(f"{target} is not plugged in; start the container")
    whole = f"{prefix}/{endpoint.container or endpoint.endpoint.id[:12]}"
    return lambda name: name == whole


def _look(settings: Settings) -> _Look:
    report = ask(settings, asks.ShowTraffic())

    async def beside() -> tuple[Flows | None, Sequence[Past] | None]:
        flows = await talkers.flows(settings)
        try:
            return flows, await talkers.past_gateways(report)
        except OSError:
            return flows, None

    flows, past = asyncio.run(beside())
    return _Look(report=report, flows=flows, past=past)


def _between(before: _Look, after: _Look, settings: Settings) -> View:
    seconds = max(after.report.at - before.report.at, 0.001)
    earlier = {each.endpoint: each.traffic for each in before.report.endpoints}
    containers = []
    for each in after.report.endpoints:
        now, was = each.traffic or Traffic(), earlier.get(each.endpoint) or Traffic()
        # A link that was made anew counts from nought.
        passed = now if any(a < b for a, b in zip(now, was, strict=True)) else _minus(now, was)
        containers.append(
            Rates(
                name=called(each),
                network=each.network_name,
                container=each.container,
                up=each.up,
                received_bytes=passed.received_bytes / seconds,
                sent_bytes=passed.sent_bytes / seconds,
                received_packets=passed.received_packets / seconds,
                sent_packets=passed.sent_packets / seconds,
                dropped_packets=(passed.received_dropped + passed.sent_dropped) / seconds,
            )
        )
    unknown = []
    talks: dict[tuple[str, str], talking.Count] = {}
    if before.flows is None or after.flows is None:
        unknown.append(_NO_FLOWS.format(settings.ovsdb))
    else:
        places = talkers.places(after.report)
        for pair, count in talking.between(before.flows, after.flows).items():
            ends = places.ends(pair)
            had = talks.get(ends, talking.Count())
            talks[ends] = talking.Count(had.bytes + count.bytes, had.packets + count.packets)
    if after.past is None:
        unknown.append(_NO_CONNECTIONS)
    return View(
        seconds=seconds,
        containers=tuple(containers),
        talks=tuple(
            Talk(
                source=source,
                target=target,
                bytes=count.bytes / seconds,
                packets=count.packets / seconds,
            )
            for (source, target), count in talks.items()
        ),
        past=tuple(after.past or ()),
        unknown=tuple(unknown),
    )


def _minus(now: Traffic, was: Traffic) -> Traffic:
    return Traffic(*(a - b for a, b in zip(now, was, strict=True)))


def _only(view: View, wanted: Callable[[str], bool]) -> View:
    return replace(
        view,
        containers=tuple(each for each in view.containers if wanted(each.name)),
        talks=tuple(each for each in view.talks if wanted(each.source) or wanted(each.target)),
        past=tuple(each for each in view.past if wanted(each.container)),
    )


def _sorted(view: View, order: str) -> View:
    return replace(
        view,
        containers=tuple(sorted(view.containers, key=lambda e: (-_ORDERS[order](e), e.name))),
        talks=tuple(sorted(view.talks, key=lambda e: (-e.bytes, e.source, e.target))),
        past=tuple(
            sorted(view.past, key=lambda e: (-(e.bytes or 0), -e.connections, e.container, e.peer))
        ),
    )


def _print(view: View, lines: int) -> None:
    for at, (title, columns, rows) in enumerate(_parts(view, lines)):
        if at:
            show.line()
        if title:
            show.line(Text(title, style="bold"))
        show.table(columns, rows)
    for each in view.unknown:
        click.echo(each, err=True)


def _tables(view: View, lines: int) -> Sequence[RenderableType]:
    found: list[RenderableType] = []
    for title, columns, rows in _parts(view, lines):
        found += [Text(title, style="bold"), show.tabled(columns, rows), Text()]
    return (*found, *(Text(each, style="yellow") for each in view.unknown))


_Part = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def _parts(view: View, lines: int) -> Sequence[_Part]:
    """Return each table: its title, its headings and its rows."""
    containers = (
        "",
        ("CONTAINER", "UP", "RECEIVED/S", "SENT/S", "PACKETS/S IN", "OUT", "DROPPED/S"),
        [
            (
                each.name,
                "yes" if each.up else "no",
                _bytes(each.received_bytes),
                _bytes(each.sent_bytes),
                _count(each.received_packets),
                _count(each.sent_packets),
                _count(each.dropped_packets),
            )
            for each in view.containers[:lines]
        ],
    )
    talks = (
        "Who talks to whom",
        ("FROM", "TO", "BYTES/S", "PACKETS/S"),
        [
            (each.source, each.target, _bytes(each.bytes), _count(each.packets))
            for each in view.talks[:lines]
        ],
    )
    past = (
        "Past gateways",
        ("CONTAINER", "", "PEER", "CONNECTIONS", "BYTES IN ALL"),
        [
            (
                each.container,
                "to" if each.outward else "from",
                each.peer,
                str(each.connections),
                "-" if each.bytes is None else _bytes(each.bytes),
            )
            for each in view.past[:lines]
        ],
    )
    return [containers, *(each for each in (talks, past) if each[2])]


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def _count(number: float) -> str:
    return f"{number:.1f}" if 0 < number < 10 else f"{number:.0f}"
