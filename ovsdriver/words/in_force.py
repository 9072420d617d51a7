"""The value of each option that is in force, as a user would type it. Pure.

A row's ``field`` is where the value is in the record, too; the others are listed here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from ovsdriver.domain.records.model import Endpoint, Network, StaticRoute
from ovsdriver.domain.records.options.port_options import Cable
from ovsdriver.domain.records.requests import TypedGateway
from ovsdriver.domain.wires import desired
from ovsdriver.words import options
from ovsdriver.words.options import Option, Scope


def of_network(network: Network) -> Mapping[str, str | None]:
    """Return the values of a network by the option's name; None where there is none."""
    return {
        row.name: _text(row, _ELSEWHERE.get(row.field, attrgetter(row.field))(network))
        for row in options.rows(Scope.NETWORK)
        if row.name not in _OTHER_WORDS
    }


def of_endpoint(network: Network, endpoint: Endpoint) -> Mapping[str, str | None]:
    """Return the values of an endpoint on ``network``, its own or those that it follows."""
    port = replace(desired.port_options(network, endpoint), cable=desired.cable(network, endpoint))
    settled = replace(endpoint, port=port, routes=endpoint.routes or network.routes)
    return {
        row.name: _text(row, attrgetter(row.field)(settled)) for row in options.rows(Scope.ENDPOINT)
    }


def _text(row: Option, value: object) -> str | None:
    return None if value is None or value == () else row.text(value)


def _uplink(value: Callable[[Any], object]) -> Callable[[Network], object]:
    return lambda network: value(network.segment.uplink) if network.segment.uplink else None


_OTHER_WORDS = frozenset({"ovs.bridge.userspace", "ovs.bridge.add_ports"})
"""For what ``ovs.datapath`` and ``ovs.uplink`` say."""

_ELSEWHERE: Mapping[str, Callable[[Network], object]] = {
    "bridge": attrgetter("segment.bridge"),
    "datapath": attrgetter("segment.datapath"),
    "port.cable": lambda network: network.port.cable or Cable.UP,
    "uplink_cable": lambda network: (
        (network.uplink_cable or Cable.UP) if network.segment.uplink else None
    ),
    "uplink_rate": lambda network: (network.uplink_rate or 0) if network.segment.uplink else None,
    "patch_cable": lambda network: (network.patch_cable or Cable.UP) if network.patches else None,
    "port.vlan": attrgetter("segment.tag"),
    "router": lambda network: network.segment.router and network.segment.router.name,
    "routes": lambda network: (
        tuple(StaticRoute(to=each) for each in network.segment.router.routes)
        if network.segment.router
        else network.routes
    ),
    "space": lambda network: next((each.space for each in network.subnets), None),
    "mode4": lambda network: network.mode_of(4),
    "mode6": lambda network: network.mode_of(6),
    "host": lambda network: (
        network.host if network.mode.has_gateway or network.host_addresses else None
    ),
    "gateways": lambda network: (
        TypedGateway(
            addresses=tuple(s.gateway for s in network.subnets if s.gateway is not None),
            container=network.gateway_container,
        )
        or None
    ),
    "uplink": _uplink(attrgetter("nics")),
    "bond": _uplink(attrgetter("bond")),
    "lacp": _uplink(attrgetter("lacp")),
    "uplink_move": _uplink(lambda uplink: uplink.host is not None),
    "dry_run": lambda _: None,  # no network comes of one
}
