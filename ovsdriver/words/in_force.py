"""The value of each option that is in force, as a user would type it. Pure.

Most options have the name of their attribute in the record, and an endpoint that has none of its
own has its network's; the others are listed here.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from netaddr import EUI

from ovsdriver.domain.records import vlans
from ovsdriver.domain.records.model import Endpoint, MirrorTarget, Network
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.shaping import Rate
from ovsdriver.domain.wires import desired
from ovsdriver.words import bridge_words, mirror_target, options, rates
from ovsdriver.words.options import Scope


def of_network(network: Network) -> Mapping[str, str | None]:
    """Return the values of a network by the option's name; None where there is none."""
    return {
        row.name: _text(_FEATURES[row.field](getattr(network.features, row.field)))
        if row.field in _FEATURES
        else _text(_NETWORK.get(row.field, _attribute(row.field))(network))
        for row in options.rows(Scope.NETWORK)
        if row.name not in _OTHER_WORDS
    }


def of_endpoint(network: Network, endpoint: Endpoint) -> Mapping[str, str | None]:
    """Return the values of an endpoint on ``network``, its own or those that it follows."""
    return {
        row.name: _text(
            _FOLLOWING[row.field](network, endpoint)
            if row.field in _FOLLOWING
            else _own_or_networks(row.field, network, endpoint)
        )
        for row in options.rows(Scope.ENDPOINT)
    }


def _own_or_networks(name: str, network: Network, endpoint: Endpoint) -> object:
    own = getattr(endpoint, name)
    return getattr(network, name, None) if own is None else own


def _attribute(name: str) -> Callable[[Network], object]:
    return lambda network: getattr(network if hasattr(network, name) else network.segment, name)


def _uplink(value: Callable[[Any], object]) -> Callable[[Network], object]:
    return lambda network: value(network.segment.uplink) if network.segment.uplink else None


def _vlan(tag: int | None) -> str | None:
    return None if tag is None else str(tag or "none")


def _mirror(target: MirrorTarget | None) -> str | None:
    return None if target is None else mirror_target.text(target)


def _rate(rate: Rate | None) -> str | None:
    return None if rate is None else rates.rate_text(rate)


def _burst(size: int | None) -> str | None:
    return None if size is None else rates.burst_text(size)


def _time(microseconds: int | None) -> str | None:
    return rates.time_text(microseconds) if microseconds else None


def _loss(ppm: int | None) -> str | None:
    return rates.loss_text(ppm) if ppm else None


_OTHER_WORDS = frozenset({"ovs.bridge.userspace", "ovs.bridge.add_ports"})
"""For what ``ovs.datapath`` and ``ovs.uplink`` say."""

_NETWORK: Mapping[str, Callable[[Network], object]] = {
    "vlan": lambda network: _vlan(network.segment.tag),
    "cvlans": lambda network: vlans.text(network.segment.cvlans) or None,
    "trunks": lambda network: vlans.text(network.trunks) or None,
    "space": lambda network: next((each.space for each in network.subnets), None),
    "mode4": lambda network: network.mode_of(4),
    "mode6": lambda network: network.mode_of(6),
    "host": lambda network: network.host if network.mode.has_gateway else None,
    "gateways": lambda network: tuple(s.gateway for s in network.subnets if s.gateway is not None),
    "uplink": _uplink(lambda uplink: "+".join(uplink.nics)),
    "bond": _uplink(lambda uplink: uplink.bond),
    "lacp": _uplink(lambda uplink: uplink.lacp),
    "dry_run": lambda _: None,  # no network comes of one
    "mirror": lambda network: _mirror(network.mirror),
    "rate": lambda network: _rate(network.rate),
    "burst": lambda network: _burst(network.burst),
    "delay_us": lambda network: _time(network.delay_us),
    "jitter_us": lambda network: _time(network.jitter_us),
    "loss_ppm": lambda network: _loss(network.loss_ppm),
    "uplink_move": _uplink(lambda uplink: uplink.host is not None),
}

_FEATURES: Mapping[str, Callable[[Any], object]] = {
    "rstp": lambda value: {True: "containers", False: "false"}.get(value),
    "mcast": lambda value: value,
    "control_frames": lambda value: {True: "forward", False: "drop"}.get(value),
    "fail_mode": lambda value: value,
    "protocols": lambda value: "+".join(value) or None,
    "controllers": lambda value: "+".join(value) or None,
    "sflow": lambda value: value and bridge_words.exporter_text(value),
    "netflow": lambda value: value and bridge_words.exporter_text(value),
    "ipfix": lambda value: value and bridge_words.exporter_text(value),
}

_FOLLOWING: Mapping[str, Callable[[Network, Endpoint], object]] = {
    "mirror": lambda _, endpoint: _mirror(endpoint.mirror),
    "rate": lambda network, endpoint: _rate(desired.shaping(network, endpoint).rate),
    "burst": lambda network, endpoint: _burst(desired.shaping(network, endpoint).burst),
    "broadcast": lambda network, endpoint: desired.shaping(network, endpoint).broadcast,
    "delay_us": lambda network, endpoint: _time(desired.shaping(network, endpoint).delay_us),
    "jitter_us": lambda network, endpoint: _time(desired.shaping(network, endpoint).jitter_us),
    "loss_ppm": lambda network, endpoint: _loss(desired.shaping(network, endpoint).loss_ppm),
    "vlan": lambda network, endpoint: _vlan(desired.own_vlan(network, endpoint)),
    "vlan_mode": desired.vlan_mode,
    "trunks": lambda network, endpoint: vlans.text(desired.trunks(network, endpoint)) or None,
    "cvlans": lambda network, endpoint: vlans.text(desired.cvlans(network, endpoint)) or None,
}


def _text(value: object) -> str | None:
    match value:
        case None | ():
            return None
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case EUI():
            return mac_text(value)
        case tuple():
            return ",".join(str(_text(each)) for each in value)
    return str(value)
