"""``NetworkDriver.*``: requests as domain values, and replies. Member names are Docker's."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netaddr import EUI, IPAddress

from ovsdriver.domain.records.model import EndpointId, NetworkId, PortMapping, Transport
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.requests import (
    Joined,
    NetworkOptions,
    NewEndpoint,
    NewNetwork,
    OfferedSubnet,
)
from ovsdriver.domain.traffic import publishing
from ovsdriver.errors import InvalidOptionError
from ovsdriver.words import options, values
from ovsdriver.words.fields import Fields

GENERIC = "com.docker.network.generic"
"""What the user typed after ``-o``."""
INTERNAL = "com.docker.network.internal"
MAC = "com.docker.network.endpoint.macaddress"
"""``--mac-address`` as base64 of six bytes, beside ``Interface.MacAddress`` as text."""
PORT_MAP = "com.docker.network.portmap"
OTHER_GATEWAY6 = "com.docker.network.driver.private.no_proxy_6to4"
"""True where another endpoint of the container has its IPv6 gateway (engine 28 and newer)."""

_BY_ROUTER, _ON_LINK = 0, 1
"""``RouteType`` of a route with a next hop, and of one through the interface without any."""

_ENGINES_OWN = "com.docker."
"""Beside the user's driver options in CreateEndpoint; engines add new ones."""

CAPABILITIES: Mapping[str, object] = {
    "Scope": "local",
    "ConnectivityScope": "local",
    "GwAllocChecker": True,
}

OPERATIONAL_INFO: Mapping[str, object] = {"Value": {}}
"""What a remote driver says here is shown nowhere (moby, daemon/network.go)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCheck:
    """GwAllocCheck: what of a network is known before its addresses are."""

    options: NetworkOptions
    internal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which endpoint of which network."""

    network: NetworkId
    endpoint: EndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Join: a place, the network namespace it gets, and the container's ``-p``."""

    place: Place
    sandbox: str
    ports: tuple[PortMapping, ...]
    """Of the whole container: Docker sends them to each of its networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """ProgramExternalConnectivity: a place and the container's ``-p``."""

    place: Place
    ports: tuple[PortMapping, ...]
    other_gateway6: bool = False
    """IPv6 leaves and enters the container by another endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCreation:
    """CreateEndpoint, and what its reply must not repeat."""

    new: NewEndpoint
    mac_sent: bool
    """``Interface.MacAddress`` was there: one in the reply fails the start, even the same."""


def network_id(body: Fields) -> NetworkId:
    """Read the id of a network."""
    return NetworkId(body.identifier("NetworkID"))


def place(body: Fields) -> Place:
    """Read an endpoint's place."""
    return Place(network=network_id(body), endpoint=EndpointId(body.identifier("EndpointID")))


def gateway_check(body: Fields) -> GatewayCheck:
    """Read GwAllocCheck."""
    said = body.inner("Options")
    internal = said.flag(INTERNAL)
    return GatewayCheck(
        options=options.network(_typed(said.inner(GENERIC)), internal=internal), internal=internal
    )


def new_network(body: Fields) -> NewNetwork:
    """Read CreateNetwork."""
    said = body.inner("Options")
    internal = said.flag(INTERNAL)
    return NewNetwork(
        id=network_id(body),
        subnets=(*_subnets(body, "IPv4Data", 4), *_subnets(body, "IPv6Data", 6)),
        internal=internal,
        options=options.network(_typed(said.inner(GENERIC)), internal=internal),
    )


def _subnets(body: Fields, name: str, family: int) -> Iterator[OfferedSubnet]:
    for data in body.each(name):
        cidr = data.subnet("Pool", family)
        if cidr is None:
            raise data.refusal("Pool", "missing; every element has one")
        gateway = data.interface("Gateway", family)
        auxiliary = data.inner("AuxAddresses")
        yield OfferedSubnet(
            space=data.text("AddressSpace"),
            cidr=cidr.cidr,
            gateway=gateway.ip if gateway is not None else None,
            auxiliary=tuple(
                address.ip
                for key, _ in auxiliary.items()
                if (address := auxiliary.interface(key, family)) is not None
            ),
        )


def allocation(body: Fields) -> Mapping[str, str]:
    """Read AllocateNetwork: the user's ``-o``, checked, to be handed to every node as they are."""
    network_id(body)
    typed = _typed(body.inner("Options"))
    options.network(typed, internal=False)
    return typed


def endpoint_creation(body: Fields) -> EndpointCreation:
    """Read CreateEndpoint."""
    where = place(body)
    interface = body.inner("Interface")
    said = body.inner("Options")
    typed = {
        key: said.text(key)
        for key, value in said.items()
        if value is not None
        and (not key.startswith(_ENGINES_OWN) or options.known(options.Scope.ENDPOINT, key))
    }
    wanted = options.endpoint(typed)
    sent = interface.mac("MacAddress")
    mac = sent if sent is not None else _encoded_mac(said)
    if mac is not None and wanted.mac not in (None, mac):
        raise InvalidOptionError(
            f"ovs.mac={mac_text(wanted.mac)} contradicts --mac-address {mac_text(mac)}; "
            "leave one of them out"
        )
    addresses = (interface.interface("Address", 4), interface.interface("AddressIPv6", 6))
    return EndpointCreation(
        new=NewEndpoint(
            network=where.network,
            id=where.endpoint,
            addresses=tuple(address for address in addresses if address is not None),
            mac=mac,
            options=wanted,
        ),
        mac_sent=sent is not None,
    )


def _encoded_mac(said: Fields) -> EUI | None:
    text = said.text(MAC)
    if not text:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise said.refusal(MAC, f"{values.quote(text)} is not base64") from error
    if len(raw) != 6:
        raise said.refusal(MAC, f"{values.quote(text)} has {len(raw)} bytes; a MAC address has 6")
    try:
        return values.unicast(int.from_bytes(raw, "big"))
    except ValueError as error:
        raise said.refusal(MAC, error) from error


def join(body: Fields) -> Join:
    """Read Join."""
    where = place(body)
    sandbox = body.required("SandboxKey")
    if not sandbox.startswith("/") or "\0" in sandbox:
        raise body.refusal("SandboxKey", f"{values.quote(sandbox)} is not an absolute path")
    return Join(place=where, sandbox=sandbox, ports=_ports(body))


def publication(body: Fields) -> Publication:
    """Read ProgramExternalConnectivity."""
    return Publication(
        place=place(body),
        ports=_ports(body),
        other_gateway6=body.inner("Options").flag(OTHER_GATEWAY6),
    )


def _ports(body: Fields) -> tuple[PortMapping, ...]:
    return tuple(
        publishing.gathered([_port(item) for item in body.inner("Options").each(PORT_MAP)])
    )


_TRANSPORTS = {each.number: each for each in Transport}


def _port(item: Fields) -> PortMapping:
    number = item.integer("Proto", 0, 255)
    protocol = _TRANSPORTS.get(number)
    if protocol is None:
        raise item.refusal("Proto", f"{number} is neither 6 (TCP) nor 17 (UDP) nor 132 (SCTP)")
    first = item.integer("HostPort", 0, 65535)
    last = item.integer("HostPortEnd", 0, 65535)
    if last and last < first:
        raise item.refusal("HostPortEnd", f"{last} is less than HostPort {first}")
    return PortMapping(
        protocol=protocol,
        port=item.integer("Port", 1, 65535),
        host_address=item.address("HostIP"),
        host_port=first,
        host_port_end=last,
    )


def _typed(said: Fields) -> Mapping[str, str]:
    """Return options as the user typed them; all are texts, or it was not Docker's client."""
    return {key: said.text(key) for key, value in said.items() if value is not None}


def gateway_skips_reply(skip: bool) -> Mapping[str, object]:
    """Render the answer to GwAllocCheck: both families alike, as both have a mode's gateway."""
    return {"SkipIPv4": skip, "SkipIPv6": skip}


def allocation_reply(typed: Mapping[str, str]) -> Mapping[str, object]:
    """Render the answer to AllocateNetwork; the map replaces the user's on every node."""
    return {"Options": dict(typed)}


def endpoint_reply(creation: EndpointCreation, chosen: EUI | None) -> Mapping[str, object]:
    """Render the answer to CreateEndpoint: only what the request left empty may be in it."""
    mac = chosen if chosen is not None else creation.new.mac
    if creation.mac_sent or mac is None:
        return {"Interface": {}}
    return {"Interface": {"MacAddress": mac_text(mac)}}


def join_reply(joined: Joined) -> Mapping[str, object]:
    """Render the answer to Join; gateways are plain addresses, and absent where there is none."""
    interface = {"SrcName": joined.source, "DstPrefix": joined.prefix}
    if joined.name:  # beside the prefix, which is all that older engines take
        interface["DstName"] = joined.name
    reply: dict[str, object] = {
        "InterfaceName": interface,
        "DisableGatewayService": joined.disable_gateway_service,
    }
    gateways: Mapping[str, IPAddress | None] = {
        "Gateway": joined.gateway4,
        "GatewayIPv6": joined.gateway6,
    }
    reply |= {name: str(address) for name, address in gateways.items() if address is not None}
    routes = [
        {"Destination": str(subnet), "RouteType": _ON_LINK, "NextHop": ""}
        for subnet in joined.on_link
    ]
    routes += [
        {"Destination": str(way.to), "RouteType": _BY_ROUTER, "NextHop": str(way.via)}
        for way in joined.ways
    ]
    return reply | ({"StaticRoutes": routes} if routes else {})
