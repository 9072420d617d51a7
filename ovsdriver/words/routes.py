"""Words about ways out: routes, and who is a network's gateway."""

import re
from collections.abc import Callable
from typing import TypeVar

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import StaticRoute
from ovsdriver.domain.records.requests import TypedGateway
from ovsdriver.words import values
from ovsdriver.words.values import quote

T = TypeVar("T", IPAddress, IPNetwork)

_BETWEEN = re.compile(r"[,;+]")
_VIA = re.compile(r"\s+via\s+", re.IGNORECASE)
_CONTAINER = "container:"


def routes(text: str) -> tuple[StaticRoute, ...]:
    """Read ``10.51.0.0/16 via 10.9.0.2+10.52.0.0/16``, separated as VLANs are."""
    found: dict[object, StaticRoute] = {}
    for part in _BETWEEN.split(text):
        to_text, *via_text = _VIA.split(part.strip(), maxsplit=1)
        to = values.subnet(to_text)
        if not to.prefixlen:
            raise ValueError(f"{quote(to_text)} is every address; say ovs.gateway for that")
        if to.value != to.first:
            raise ValueError(f"{quote(to_text)} is no subnet; write {to.cidr}")
        if to.ip.is_loopback() or to.ip.is_link_local() or to.ip.is_multicast():
            raise ValueError(f"{quote(to_text)} is never routed; name a subnet elsewhere")
        via = values.address(via_text[0].strip()) if via_text else None
        if via is not None and via.version != to.version:
            raise ValueError(f"{quote(part.strip())} mixes IPv4 and IPv6; name a router of one")
        if to in found:
            raise ValueError(f"{quote(text)} names {to} twice; name one way")
        found[to] = StaticRoute(to=to, via=via)
    return tuple(found.values())


def routes_text(routes: tuple[StaticRoute, ...]) -> str:
    """Return what :func:`routes` reads."""
    return "+".join(f"{each.to} via {each.via}" if each.via else str(each.to) for each in routes)


def gateway(text: str) -> TypedGateway:
    """Read ``10.9.0.254,fd00::1`` or ``container:NAME``."""
    if text.lower().startswith(_CONTAINER):
        return TypedGateway(container=values.label(text[len(_CONTAINER) :]))
    return TypedGateway(addresses=one_of_each_family(text))


def gateway_text(said: TypedGateway) -> str:
    """Return what :func:`gateway` reads."""
    return f"{_CONTAINER}{said.container}" if said.container else values.text(said.addresses)


def one_of_each_family(text: str) -> tuple[IPAddress, ...]:
    """Read one address, or two of different families with a comma between them."""
    return _one_of_each(text, values.address)


def host_addresses(text: str) -> tuple[IPNetwork, ...]:
    """Read ``192.168.20.250/24``, or two of different families with a comma between them."""
    return _one_of_each(text, values.interface)


def _one_of_each(text: str, read: Callable[[str], T]) -> tuple[T, ...]:
    found = tuple(read(part.strip()) for part in text.split(","))
    if len({address.version for address in found}) < len(found):
        raise ValueError(f"{quote(text)} names two addresses of one family; name one of each")
    return found
