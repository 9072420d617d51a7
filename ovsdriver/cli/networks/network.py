"""``ovsnet network ls | show | rm``."""

from collections.abc import Iterator, Mapping

import click
from rich.text import Text

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.views import NetworkReport
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import Network, Subnet
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.options import shaping
from ovsdriver.domain.records.segments import Lacp
from ovsdriver.words import in_force
from ovsdriver.words.options import Scope, known

STYLES = {
    "ready": "green",
    "attached": "green",
    "broken": "bold red",
    "ending": "yellow",
    "unknown": "yellow",
}


@click.group(name="network", epilog=EXIT_CODES)
def command() -> None:
    """Show networks, or remove one that Docker has forgotten.

    Networks are made by Docker:

    \b
      docker network create --driver ovsnet --ipam-driver ovsipam lab
      docker network create -d ovsnet --ipam-driver ovsipam -o ovs.vlan=30 \\
             --subnet 192.168.30.0/24 vlan30
    """


@command.command(name="ls", epilog=EXIT_CODES)
@settings_of("run_dir")
@JSON
def ls(settings: Settings, as_json: bool) -> None:
    """List networks with bridge, VLAN, mode and subnets.

    \b
    Examples:
      ovsnet network ls
      ovsnet network ls --json | jq -r '.[] | select(.state != "ready") | .network.id'
    """
    networks = ask(settings, asks.ShowState()).networks
    if as_json:
        show.as_json(networks)
        return
    show.table(
        ("NETWORK ID", "NAME", "BRIDGE", "VLAN", "MODE", "SUBNETS", "ENDPOINTS", "STATE"),
        [
            (
                show.short(each.network.id),
                each.name or "-",
                each.network.segment.bridge,
                show.segment(each.network.segment),
                _mode(each.network),
                ", ".join(str(subnet.cidr.cidr) for subnet in each.network.subnets) or "-",
                str(each.endpoints),
                _state(each),
            )
            for each in networks
        ],
    )


@command.command(name="show", epilog=EXIT_CODES, short_help="Show one network with its endpoints.")
@click.argument("name")
@settings_of("run_dir")
@JSON
def show_one(settings: Settings, name: str, as_json: bool) -> None:
    """Show one network with its endpoints; NAME is Docker's name, or the begin of its id.

    \b
    Examples:
      ovsnet network show lab
      ovsnet network show 3f2a --json
    """
    state = ask(settings, asks.ShowState())
    found = named.network(name, state)
    network, segment = found.network, found.network.segment
    endpoints = [each for each in state.endpoints if each.endpoint.network == network.id]
    values = in_force.of_network(network)
    if as_json:
        show.as_json(codec.members(found) | {"in_force": values, "attached": endpoints})
        return
    bridge = f"{segment.bridge} ({'adopted' if segment.adopted else 'ours'}"
    tunnel = [("Tunnel", show.tunnelled(network.port.cvlans))] if network.port.tunnels else []
    show.facts(
        [
            ("Network", network.id),
            ("Name", found.name or "-"),
            ("State", _state(found)),
            ("Bridge", f"{bridge}, datapath {segment.datapath.value})"),
            ("VLAN", show.segment(segment) + (" (shared)" if network.shared else "")),
            *tunnel,
            ("Mode", _mode(network)),
            ("MTU", str(network.mtu)),
            *(("Subnet", _subnet(each)) for each in network.subnets),
            (
                "Gateway port" if network.mode.has_gateway else "Host's port",
                found.gateway_link or "none on this host",
            ),
            *([("Probing port", found.probe_link)] if found.probe_link else []),
            *_uplink(found),
            *([("Joined to", ", ".join(found.joined))] if found.joined else []),
            *([("Pulled", ", ".join(found.pulled))] if found.pulled else []),
            ("Options", _options(network.options)),
            *_ignored(network.options),
            ("In force", show.in_force(values, Scope.NETWORK)),
        ]
    )
    if endpoints:
        show.line()
        show.table(
            ("ENDPOINT ID", "CONTAINER", "ADDRESSES", "MAC", "PORT", "STATE"),
            [
                (
                    show.short(each.endpoint.id),
                    each.container or "-",
                    show.addresses(each.endpoint),
                    mac_text(each.endpoint.mac),
                    each.port_name,
                    Text(each.state, style=STYLES.get(each.state, "")),
                )
                for each in endpoints
            ],
        )


@command.command(
    name="rm", epilog=EXIT_CODES, short_help="Remove networks that Docker has forgotten."
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also if Docker still has it, or containers are on it.")
@settings_of("run_dir")
@JSON
def remove(settings: Settings, names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove networks that Docker does not know any more, with ports, records and pools.

    Usually `docker network rm NAME` is what you want: it removes the network here too. This
    command is for what is left when Docker's own records were lost.

    \b
    Examples:
      ovsnet network rm 3f2a9c
      ovsnet network rm --force lab
    """
    removed: list[str] = []
    refused: list[str] = []
    for name in names:
        try:
            removed.append(ask(settings, asks.RemoveNetwork(name=name, force=force)))
        except Refusal as error:
            if len(names) == 1:
                raise
            refused.append(error.message)
        else:
            if not as_json:
                show.line(f"removed {show.short(removed[-1])}")
    if as_json:
        show.as_json({"removed": removed, "refused": refused})
    if refused:
        raise Refusal("; ".join(refused))


def _mode(network: Network) -> str:
    six = f", IPv6 {network.mode6.value}" if network.mode6 is not None else ""
    return f"{network.mode.value}{six}{' (internal)' if network.internal else ''}"


def _state(network: NetworkReport) -> Text:
    if network.in_docker is False:
        return Text(f"{network.state}, not in Docker", style="yellow")
    return Text(network.state, style=STYLES.get(network.state, ""))


def _subnet(subnet: Subnet) -> str:
    gateway = f"gateway {subnet.gateway}" if subnet.gateway else "no gateway"
    space = f", space {subnet.space}" if subnet.space else ""
    return f"{subnet.cidr.cidr}, {gateway}{space}"


def _uplink(found: NetworkReport) -> Iterator[tuple[str, str]]:
    wanted, seen = found.network.segment.uplink, found.uplink
    if wanted is None or seen is None:
        return
    kind = [wanted.bond.value] if wanted.bond else []
    kind += [f"LACP {wanted.lacp.value}"] if wanted.bond and wanted.lacp is not Lacp.OFF else []
    kind += ["the administrator's" if wanted.given else "ours"]
    kind += ["the host is on the bridge"] if wanted.host else []
    kind += ["its cable pulled"] if seen.pulled else []
    kind += [f"{shaping.sends(seen.rate)}, by mark"] if seen.rate else []
    vlans = ", ".join(map(show.vlan, seen.vlans)) or "all"
    fault = f"; {seen.fault}" if seen.fault else ""
    yield "Uplink", f"{'+'.join(wanted.nics)} ({', '.join(kind)}), carries VLAN {vlans}{fault}"


def _options(options: Mapping[str, str]) -> str:
    ours = {name: value for name, value in options.items() if known(Scope.NETWORK, name)}
    return "  ".join(f"{name}={value}" for name, value in sorted(ours.items())) or "-"


def _ignored(options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name the options that are other people's, and do nothing here."""
    others = {name: value for name, value in options.items() if not known(Scope.NETWORK, name)}
    if others:
        yield "Ignored", "  ".join(f"{name}={value}" for name, value in sorted(others.items()))
