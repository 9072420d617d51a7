"""``ovsnet endpoint ls | show``."""

from collections.abc import Iterator, Mapping

import click
from rich.text import Text

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.networks.network import STYLES
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import Endpoint, port_text
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.records.options.port_options import PortOptions, VlanMode
from ovsdriver.words import in_force
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
                show.short(each.endpoint.id),
                each.container or "-",
                each.network_name or show.short(each.endpoint.network),
                show.addresses(each.endpoint),
                mac_text(each.endpoint.mac),
                _vlans(each.port),
                each.port_name,
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
    networks = {each.network.id: each.network for each in state.networks}
    values = [
        in_force.of_endpoint(networks[each.endpoint.network], each.endpoint) for each in found
    ]
    if as_json:
        show.as_json(
            [
                codec.members(each) | {"in_force": of_it}
                for each, of_it in zip(found, values, strict=True)
            ]
        )
        return
    for number, (each, of_it) in enumerate(zip(found, values, strict=True)):
        if number:
            show.line()
        _print(each, of_it)


def _print(found: EndpointReport, values: Mapping[str, str | None]) -> None:
    endpoint = found.endpoint
    state = _state(found)
    if found.fault:
        state.append(f": {found.fault}")
    network = show.short(endpoint.network)
    if found.network_name:
        network = f"{found.network_name} ({network})"
    options = sorted(endpoint.options.items())
    show.facts(
        [
            ("Endpoint", endpoint.id),
            ("Container", found.container or "-"),
            ("Network", network),
            ("State", state),
            ("Addresses", show.addresses(endpoint)),
            ("MAC", mac_text(endpoint.mac)),
            ("MTU", values["ovs.mtu"] or "-"),
            ("Port", _port(found)),
            *_lets_into(found),
            *([("Copies", found.copies)] if found.copies else []),
            ("Published", _published(endpoint) or "-"),
            *_unpublished(found),
            ("Interface", _interface(found)),
            ("Sandbox", endpoint.sandbox or "-"),
            ("Options", "  ".join(f"{name}={value}" for name, value in options) or "-"),
            ("In force", show.in_force(values, Scope.ENDPOINT)),
        ]
    )


def _interface(endpoint: EndpointReport) -> str:
    parts = [endpoint.interface or "-"]
    if endpoint.name_not_given:
        parts.append(endpoint.name_not_given)
    if endpoint.excess:
        parts.append(f"would be put back without {endpoint.excess}, more than are kept")
    return "; ".join(parts)


def _port(found: EndpointReport) -> str:
    kind = "internal port " if found.endpoint.internal else ""
    parts = [f"{kind}{found.port_name} on bridge {found.bridge}", *_carries(found.port)]
    if found.ofport is not None:
        parts.append(f"OpenFlow port {found.ofport}")
    if found.endpoint.protected:
        parts.append("protected")
    return ", ".join(parts)


def _carries(port: PortOptions) -> Iterator[str]:
    if port.vlan is not None:
        told = {VlanMode.NATIVE_TAGGED: " tagged", VlanMode.NATIVE_UNTAGGED: " untagged"}
        yield f"VLAN {show.vlan(port.vlan)}{told.get(port.vlan_mode or VlanMode.ACCESS, '')}"
    if port.vlan_mode is VlanMode.DOT1Q_TUNNEL:
        yield f"tunnel for {show.tunnelled(port.cvlans)}"
    if port.trunks:
        yield f"trunk of {vlans.text(port.trunks)}"


def _lets_into(endpoint: EndpointReport) -> Iterator[tuple[str, str]]:
    """Name the other networks whose VLANs the container was let into."""
    if endpoint.trunked_networks:
        yield "Reaches", ", ".join(map(show.short, endpoint.trunked_networks)) + " as well"


def _vlans(port: PortOptions) -> str:
    """Return all VLANs in the width of a column."""
    own = [] if port.vlan is None else [show.vlan(port.vlan)]
    trunks = [vlans.text(port.trunks)] if port.trunks else []
    return "+".join([*own, *trunks])


def _published(endpoint: Endpoint) -> str:
    return ", ".join(
        f"{each.host_text} to {port_text(each.port, each.count)}" for each in endpoint.published
    )


def _unpublished(endpoint: EndpointReport) -> Iterator[tuple[str, str]]:
    """Name what -p asked for in vain."""
    if endpoint.unpublished:
        ports = ", ".join(each.text for each in endpoint.unpublished)
        yield "Unpublished", f"{ports}: {endpoint.unpublished_why}"


def _state(endpoint: EndpointReport) -> Text:
    return Text(endpoint.state, style=STYLES.get(endpoint.state, ""))
