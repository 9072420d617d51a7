"""``ovsnet segment ls | show | join | leave``."""

from collections.abc import Mapping, Sequence

import click

from ipam.model import LeaseKind
from ovsdriver.admin import asks
from ovsdriver.admin.views import SegmentLease, SegmentUse
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask, typed
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.fleet import docker_line
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.config import Settings

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only print the line.")


@click.group(name="segment", epilog=EXIT_CODES)
def command() -> None:
    """Show networks over several hosts, and join or leave them with this one."""


@command.command(name="ls", epilog=EXIT_CODES, short_help="List segments.")
@settings_of("run_dir")
@JSON
def ls(settings: Settings, as_json: bool) -> None:
    """List segments with their subnets, their hosts, and how many addresses are held.

    A segment is there while any host has a network on it. NETWORK is this host's. HELD is of all
    hosts.

    \b
    Examples:
      ovsnet segment ls
      ovsnet segment ls --json | jq -r '.[].name'
    """
    there = ask(settings, asks.ListSegments())
    if as_json:
        show.as_json(there)
        return
    show.table(
        ("SEGMENT", "SUBNETS", "HELD", "NETWORK", "HOSTS"),
        [
            (
                each.name,
                _subnets(each),
                f"{each.held}/{show.amount(each.capacity)}",
                _network(each),
                ", ".join(each.hosts) or "-",
            )
            for each in there
        ],
    )


@command.command(name="show", epilog=EXIT_CODES, short_help="Show one segment and its addresses.")
@click.argument("name", metavar="SEGMENT")
@settings_of("run_dir")
@JSON
def show_(settings: Settings, name: str, as_json: bool) -> None:
    """Show a segment's options, its hosts, and who holds its addresses on which of them.

    \b
    Examples:
      ovsnet segment show blue
      ovsnet segment show blue --json | jq -r '.leases[] | select(.host == "host2") | .container'
    """
    found = ask(settings, typed(asks.ShowSegment, name=name))
    if as_json:
        show.as_json(found)
        return
    segment = found.segment
    show.facts(
        [
            ("Segment", segment.name),
            ("Subnets", _subnets(segment)),
            ("Options", _options(segment.options)),
            ("Hosts", ", ".join(segment.hosts) or "-"),
            ("Network here", _network(segment)),
            ("Addresses", f"{segment.held} held of {show.amount(segment.capacity)}"),
        ]
    )
    if found.leases:
        show.line()
        print_leases(found.leases, of_one=True)


@command.command(name="join", epilog=EXIT_CODES, short_help="Make a network on a segment here.")
@click.argument("name", metavar="SEGMENT")
@click.option("--network", metavar="NAME", help="Of the network.  [default: the segment's]")
@click.option("--subnet", "subnets", metavar="SUBNET", multiple=True, help="On the first host.")
@click.option("--ipv6", is_flag=True, help="Also IPv6; a segment that has it is joined with it.")
@click.option("--internal", is_flag=True, help="Without a way out of the segment.")
@click.option("-o", "--opt", "options", metavar="OPTION=VALUE", multiple=True, help="More of them.")
@_DRY_RUN
@settings_of("run_dir", "docker")
@JSON
def join(
    settings: Settings,
    name: str,
    network: str | None,
    subnets: tuple[str, ...],
    ipv6: bool,
    internal: bool,
    options: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Type the `docker network create` that makes a network of this host on a segment.

    The first host says the subnet; the others get it, and the options, from the segment.

    \b
    Examples:
      ovsnet segment join blue --subnet 10.50.0.0/24
      ovsnet segment join blue
      ovsnet segment join blue --network shop --dry-run
      ovsnet segment join lab -o ovs.uplink=eth1
    """
    wanted = typed(asks.ShowSegment, name=name).name
    there = _there(settings, wanted)
    if there is None and not subnets:
        raise Refusal(
            f"no host has a network on segment {wanted} yet; say its subnet: "
            f"ovsnet segment join {wanted} --subnet 10.50.0.0/24"
        )
    if there is not None and there.network is not None:
        raise Refusal(
            f"this host is on segment {wanted} already, by network {_network(there)}; a second one "
            "is not needed"
        )
    of_segment = map(str, there.subnets if there is not None else ())
    words = ["network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam"]
    words += ["--opt", f"ovs.segment={wanted}", "--ipam-opt", f"ipam.segment={wanted}"]
    for each in options:
        words += ["--opt", each]
    for each in subnets:
        words += ["--subnet", each]
    words += ["--ipv6"] if ipv6 or any(":" in each for each in (*subnets, *of_segment)) else []
    words += ["--internal"] if internal else []
    docker_line.run(settings, [*words, network or wanted], dry_run=dry_run, as_json=as_json)


@command.command(name="leave", epilog=EXIT_CODES, short_help="Remove this host's network on one.")
@click.argument("name", metavar="SEGMENT")
@_DRY_RUN
@settings_of("run_dir", "docker")
@JSON
def leave(settings: Settings, name: str, dry_run: bool, as_json: bool) -> None:
    """Type the `docker network rm` that removes this host's network on a segment.

    Containers of this host must be off it before. Other hosts stay on the segment, which goes with
    the last of them.

    \b
    Examples:
      ovsnet segment leave blue
      ovsnet segment leave blue --dry-run
    """
    wanted = typed(asks.ShowSegment, name=name).name
    there = _there(settings, wanted)
    if there is None or there.network is None:
        raise Refusal(f"this host has no network on segment {wanted}; nothing was changed")
    words = ["network", "rm", there.network_name or there.network]
    docker_line.run(settings, words, dry_run=dry_run, as_json=as_json)


def print_leases(leases: Sequence[SegmentLease], *, of_one: bool = False) -> None:
    """Print who has which address on which host; ``of_one``: all are of one segment."""
    show.table(
        (*(() if of_one else ("SEGMENT",)), "ADDRESS", "KIND", "SINCE (UTC)", "HOST", "CONTAINER"),
        [
            (
                *(() if of_one else (each.segment,)),
                str(each.address),
                each.kind.value,
                show.time(each.created) if each.created else "-",
                each.host or "-",
                _container(each),
            )
            for each in leases
        ],
    )


def _container(lease: SegmentLease) -> str:
    if lease.container:
        return lease.container
    if lease.endpoint:
        return f"endpoint {show.short(lease.endpoint)}"
    return "-" if lease.kind is not LeaseKind.ENDPOINT else "not known"


def _there(settings: Settings, name: str) -> SegmentUse | None:
    return next((e for e in ask(settings, asks.ListSegments()) if e.name == name), None)


def _subnets(segment: SegmentUse) -> str:
    return ", ".join(map(str, segment.subnets)) or "-"


def _network(segment: SegmentUse) -> str:
    return segment.network_name or show.short(segment.network or "-")


def _options(options: Mapping[str, str]) -> str:
    return "  ".join(f"{name}={text}" for name, text in options.items()) or "-"
