"""``ovsnet endpoint ls | show``."""

from collections.abc import Iterator

import click
from rich.text import Text

from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.networks.network import STYLES
from ovsdriver.cli.networks.ports import place
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.domain.records import vlans
from ovsdriver.domain.records.model import port_text
from ovsdriver.domain.records.port_options import PortKind, VlanMode
from ovsdriver.words.options import Scope


@click.group(name="endpoint", epilog=EXIT_CODES)
def command() -> None:
    """Show endpoints: containers' places on networks."""


@command.command(name="ls", epilog=EXIT_CODES)
@click.option("--network", "network", metavar="NAME", help="Only those of one network.")
@settings_of("run_dir")
@JSON
def ls(settings: Settings, network: str | None, as_json: bool) -> None:
    """List endpoints with container, address, MAC and port.

    \b
    Examples:
      ovsnet endpoint ls
      ovsnet endpoint ls --network lab
      ovsnet endpoint ls | grep 10.128.0.7
    """
    endpoints = named.endpoints_on(network, ask(settings, asks.ShowState()))
    if as_json:
        show.as_json(endpoints)
        return
    show.table(
        ("ENDPOINT ID", "CONTAINER", "NETWORK", "ADDRESSES", "MAC", "VLAN", "PORT", "STATE"),
        [
            (
                show.short(each.id),
                each.container or "-",
                each.network_name or show.short(each.network),
                ", ".join(each.addresses) or "-",
                each.mac,
                _vlans(each),
                each.port,
                _state(each),
            )
            for each in endpoints
        ],
    )


@command.command(name="show", epilog=EXIT_CODES, short_help="Show the endpoints of a container.")
@click.argument("name")
@settings_of("run_dir")
@JSON
def show_one(settings: Settings, name: str, as_json: bool) -> None:
    """Show endpoints; NAME is a container's name, or the begin of an endpoint's id.

    A container on several networks has an endpoint on each; all of them are shown.

    \b
    Examples:
      ovsnet endpoint show web
      ovsnet endpoint show 9d41 --json
    """
    state = ask(settings, asks.ShowState())
    found = [each for each in state.endpoints if each.container == name]
    found = found or [named.endpoint(name, state)]
    if as_json:
        show.as_json(found)
        return
    for number, each in enumerate(found):
        if number:
            show.line()
        _print(each)


def _print(endpoint: EndpointReport) -> None:
    state = _state(endpoint)
    if endpoint.fault:
        state.append(f": {endpoint.fault}")
    network = show.short(endpoint.network)
    if endpoint.network_name:
        network = f"{endpoint.network_name} ({network})"
    options = sorted(endpoint.options.items())
    show.facts(
        [
            ("Endpoint", endpoint.id),
            ("Container", endpoint.container or "-"),
            ("Network", network),
            ("State", state),
            ("Addresses", ", ".join(endpoint.addresses) or "-"),
            ("MAC", endpoint.mac),
            ("MTU", str(endpoint.mtu)),
            ("Port", _port(endpoint)),
            *_lets_into(endpoint),
            *([("Copies", endpoint.copies)] if endpoint.copies else []),
            ("Published", _published(endpoint) or "-"),
            *_unpublished(endpoint),
            ("Interface", _interface(endpoint)),
            ("Sandbox", endpoint.sandbox or "-"),
            ("Options", "  ".join(f"{name}={value}" for name, value in options) or "-"),
            ("In force", show.in_force(endpoint.in_force, Scope.ENDPOINT)),
        ]
    )


def _interface(endpoint: EndpointReport) -> str:
    parts = [endpoint.interface or "-"]
    if endpoint.name_not_given:
        parts.append(endpoint.name_not_given)
    if endpoint.excess:
        parts.append(f"would be put back without {endpoint.excess}, more than are kept")
    return "; ".join(parts)


def _port(endpoint: EndpointReport) -> str:
    kind = "internal port " if endpoint.port_kind == PortKind.INTERNAL else ""
    parts = [f"{kind}{endpoint.port} on bridge {endpoint.bridge}", *_carries(endpoint)]
    if endpoint.ofport is not None:
        parts.append(f"OpenFlow port {endpoint.ofport}")
    if endpoint.protected:
        parts.append("protected")
    return ", ".join(parts)


def _carries(endpoint: EndpointReport) -> Iterator[str]:
    mode = VlanMode(endpoint.vlan_mode)
    if endpoint.vlan is not None:
        told = {VlanMode.NATIVE_TAGGED: " tagged", VlanMode.NATIVE_UNTAGGED: " untagged"}
        yield f"VLAN {show.vlan(endpoint.vlan)}{told.get(mode, '')}"
    if mode is VlanMode.DOT1Q_TUNNEL:
        yield f"tunnel for {show.tunnelled(endpoint.cvlans)}"
    if endpoint.trunks:
        yield f"trunk of {vlans.text(endpoint.trunks)}"


def _lets_into(endpoint: EndpointReport) -> Iterator[tuple[str, str]]:
    """Name the other networks whose VLANs the container was let into."""
    if endpoint.trunked_networks:
        yield "Reaches", ", ".join(map(show.short, endpoint.trunked_networks)) + " as well"


def _vlans(endpoint: EndpointReport) -> str:
    """Return all VLANs in the width of a column."""
    own = [] if endpoint.vlan is None else [show.vlan(endpoint.vlan)]
    trunks = [vlans.text(endpoint.trunks)] if endpoint.trunks else []
    return "+".join([*own, *trunks])


def _published(endpoint: EndpointReport) -> str:
    return ", ".join(
        f"{place(each.host, each.host_port, each.count)}/{each.protocol} to "
        f"{port_text(each.port, each.count)}"
        for each in endpoint.published
    )


def _unpublished(endpoint: EndpointReport) -> Iterator[tuple[str, str]]:
    """Name what -p asked for in vain."""
    if endpoint.unpublished:
        yield "Unpublished", f"{', '.join(endpoint.unpublished)}: {endpoint.unpublished_why}"


def _state(endpoint: EndpointReport) -> Text:
    return Text(endpoint.state, style=STYLES.get(endpoint.state, ""))
