"""``ovsnet network ls | show | rm``."""

from collections.abc import Iterator, Mapping

import click
from rich.text import Text

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.views import NetworkReport, SubnetReport, UplinkReport
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.config import Settings
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
      ovsnet network ls --json | jq -r '.[] | select(.state != "ready") | .id'
    """
    networks = ask(settings, asks.ShowState()).networks
    if as_json:
        show.as_json(networks)
        return
    show.table(
        ("NETWORK ID", "NAME", "BRIDGE", "VLAN", "MODE", "SUBNETS", "ENDPOINTS", "STATE"),
        [
            (
                show.short(each.id),
                each.name or "-",
                each.bridge,
                show.vlan(each.vlan),
                _mode(each),
                ", ".join(subnet.cidr for subnet in each.subnets) or "-",
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
    network = named.network(name, state)
    endpoints = [each for each in state.endpoints if each.network == network.id]
    if as_json:
        show.as_json(codec.members(network) | {"attached": endpoints})
        return
    bridge = f"{network.bridge} ({'adopted' if network.adopted else 'ours'}"
    show.facts(
        [
            ("Network", network.id),
            ("Name", network.name or "-"),
            ("State", _state(network)),
            ("Bridge", f"{bridge}, datapath {network.datapath})"),
            ("VLAN", show.vlan(network.vlan) + (" (shared)" if network.shared else "")),
            *([("Tunnel", show.tunnelled(network.cvlans))] if network.tunnel else []),
            ("Mode", _mode(network)),
            ("MTU", str(network.mtu)),
            *(("Subnet", _subnet(each)) for each in network.subnets),
            ("Gateway port", network.gateway_link or "none on this host"),
            *([("Probing port", network.probe_link)] if network.probe_link else []),
            *([("Uplink", _uplink(network.uplink))] if network.uplink else []),
            ("Options", _options(network.options)),
            *_ignored(network.options),
            ("In force", show.in_force(network.in_force, Scope.NETWORK)),
        ]
    )
    if endpoints:
        show.line()
        show.table(
            ("ENDPOINT ID", "CONTAINER", "ADDRESSES", "MAC", "PORT", "STATE"),
            [
                (
                    show.short(each.id),
                    each.container or "-",
                    ", ".join(each.addresses) or "-",
                    each.mac,
                    each.port,
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


def _mode(network: NetworkReport) -> str:
    six = f", IPv6 {network.mode6}" if network.mode6 else ""
    return f"{network.mode}{six}{' (internal)' if network.internal else ''}"


def _state(network: NetworkReport) -> Text:
    if network.in_docker is False:
        return Text(f"{network.state}, not in Docker", style="yellow")
    return Text(network.state, style=STYLES.get(network.state, ""))


def _subnet(subnet: SubnetReport) -> str:
    gateway = f"gateway {subnet.gateway}" if subnet.gateway else "no gateway"
    space = f", space {subnet.space}" if subnet.space else ""
    return f"{subnet.cidr}, {gateway}{space}"


def _uplink(uplink: UplinkReport) -> str:
    kind = [uplink.bond] if uplink.bond else []
    kind += [f"LACP {uplink.lacp}"] if uplink.lacp not in ("", "off") else []
    kind += ["ours" if uplink.ours else "the administrator's"]
    kind += ["the host is on the bridge"] if uplink.host else []
    vlans = ", ".join(map(show.vlan, uplink.vlans)) or "all"
    fault = f"; {uplink.fault}" if uplink.fault else ""
    return f"{'+'.join(uplink.nics)} ({', '.join(kind)}), carries VLAN {vlans}{fault}"


def _options(options: Mapping[str, str]) -> str:
    ours = {name: value for name, value in options.items() if known(Scope.NETWORK, name)}
    return "  ".join(f"{name}={value}" for name, value in sorted(ours.items())) or "-"


def _ignored(options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name the options that are other people's, and do nothing here."""
    others = {name: value for name, value in options.items() if not known(Scope.NETWORK, name)}
    if others:
        yield "Ignored", "  ".join(f"{name}={value}" for name, value in sorted(others.items()))
