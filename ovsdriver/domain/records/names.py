"""Names and marks, computed from Docker's ids and addresses and never stored.

Link names hold 3 + 12 characters: IFNAMSIZ is 16 with the closing NUL (netdevice(7)). Docker's
ids are random, so 12 of their hex digits (48 bits) are distinct in practice; who makes a link or
a port still looks first whose it is.
"""

import hashlib
import re
from collections.abc import Mapping

from netaddr import EUI, IPAddress, IPNetwork, mac_unix_expanded

from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId, Segment
from ovsdriver.domain.records.segments import OvnSegment, lease_port, server_port

OWNER_KEY = "ovsnet-owner"
"""In ``external_ids`` of every row of ours; its value is the instance's name."""
NETWORK_KEY = "ovsnet-network"
ENDPOINT_KEY = "ovsnet-endpoint"
ADDRESS_KEY = "ovsnet-address"
CLIENT_KEY = "iface-id"
PURPOSE_KEY = "ovsnet-purpose"
"""``probe`` on a port that addresses are asked from: nobody would know it from its name; and
``uplink`` on one that joins NICs to a bridge; :data:`MIRROR`, :data:`NAME_SERVER`, :data:`PATCH`.
"""

MIRROR = "mirror"
"""Purpose of a port that mirrors lead to."""
NAME_SERVER = "names"
"""Purpose of a port that a segment's name server is behind."""
PATCH = "patch"
"""Purpose of a port that leads to another bridge of ours."""

_ID_DIGITS = 12
GATEWAY_PREFIX = "ovg"
"""First letters of every gateway's name, as :func:`gateway_link` makes them."""
PLUG_PREFIX = "ovh"
"""The same of :func:`host_link`."""
PROBE_PREFIX = "ovp"
"""The same of :func:`probe_link`."""
_GATEWAY = re.compile(rf"{GATEWAY_PREFIX}[0-9a-f]{{{_ID_DIGITS}}}")


def host_link(endpoint: EndpointId) -> str:
    """Return the name of the bridge's end of a veth pair, and of its port."""
    return f"{PLUG_PREFIX}{endpoint[:_ID_DIGITS]}"


def container_link(endpoint: EndpointId) -> str:
    """Return the name of the container's end until Docker moves and renames it."""
    return f"ovc{endpoint[:_ID_DIGITS]}"


def internal_link(endpoint: EndpointId) -> str:
    """Return the name of an endpoint's internal port, and of its device.

    It ends with 0 because the kernel's datapath loses a port whose device is renamed, and Docker
    names the first interface of each prefix PREFIX0: so the name stays, if it is told the rest.
    """
    return f"ovi{endpoint[: _ID_DIGITS - 1]}0"


def port(endpoint: Endpoint) -> str:
    """Return the name of an endpoint's port, and of the host's end of its link."""
    if endpoint.internal:
        return internal_link(endpoint.id)
    return host_link(endpoint.id)


def gateway_link(network: NetworkId) -> str:
    """Return the name of a network's gateway port and device."""
    return f"{GATEWAY_PREFIX}{network[:_ID_DIGITS]}"


def is_gateway_link(name: str) -> bool:
    """Whether a gateway's link could be called so; it may be another instance's."""
    return _GATEWAY.fullmatch(name) is not None


def probe_link(network: NetworkId) -> str:
    """Return the name of the port and device that a network's segment is asked from."""
    return f"{PROBE_PREFIX}{network[:_ID_DIGITS]}"


def bond_port(bridge: str) -> str:
    """Return the name of the port that joins several NICs to a bridge; no device has it."""
    return f"ovu{hashlib.sha256(bridge.encode()).hexdigest()[:_ID_DIGITS]}"


def uplink_bridge(nic: str) -> str:
    """Return the name of the bridge that is made for an uplink: ``br-`` and the NIC's."""
    return f"br-{nic[-_ID_DIGITS:]}"


def network_mirror(network: NetworkId) -> str:
    """Return the name of the mirror of a network; no device has it."""
    return f"ovm-n{network[:_ID_DIGITS]}"


def endpoint_mirror(endpoint: EndpointId) -> str:
    """Return the name of the mirror of an endpoint; no device has it."""
    return f"ovm-e{endpoint[:_ID_DIGITS]}"


def mirror_tunnel(bridge: str, kind: str, remote: IPAddress) -> str:
    """Return the name of the port by which a bridge's mirrors reach another host."""
    text = f"{bridge}/{kind}/{remote}"
    return f"ovx{hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]}"


def patch_port(bridge: str, peer: str) -> str:
    """Return the name of the port of ``bridge`` that leads to bridge ``peer``; no device has it."""
    return f"ovl{hashlib.sha256(f'{bridge}/{peer}'.encode()).hexdigest()[:_ID_DIGITS]}"


def server_link(segment: str) -> str:
    """Return the name of the bridge's end of a name server's link, and of its port."""
    return f"ovd{hashlib.sha256(segment.encode()).hexdigest()[:_ID_DIGITS]}"


def server_inner_link(segment: str) -> str:
    """Return the name of the name server's own end, until it is in its namespace."""
    return f"ove{hashlib.sha256(segment.encode()).hexdigest()[:_ID_DIGITS]}"


def mac_text(mac: EUI) -> str:
    """Return ``02:…`` with colons. Not by netaddr's formats: every comparison writes every MAC."""
    return str(mac.packed.hex(":"))


def mac_for(address: IPNetwork, segment: Segment) -> EUI:
    """Return the MAC of whoever has ``address``: the same again, so no stale ARP entry is met.

    IPv4: ``0a:0f`` and the four bytes of the address. IPv6: ``0e`` and 40 bits of a hash of
    segment and address. Both first bytes say locally administered, unicast (IEEE 802c).
    """
    if address.version == 4:
        return EUI((0x0A0F << 32) | int(address.ip), dialect=mac_unix_expanded)
    bridge, tag = segment.place
    digest = hashlib.sha256(f"{bridge}/{tag}/{address.ip}".encode()).digest()
    return EUI((0x0E << 40) | int.from_bytes(digest[:5], "big"), dialect=mac_unix_expanded)


def mac_for_gateway(address: IPNetwork, network: NetworkId) -> EUI:
    """Return the MAC of a gateway whose first address is ``address``; as :func:`mac_for`.

    It does not follow the VLAN, so that a network that is moved to another keeps its neighbours.
    """
    if address.version == 4:
        return EUI((0x0A0F << 32) | int(address.ip), dialect=mac_unix_expanded)
    digest = hashlib.sha256(f"gateway/{network}/{address.ip}".encode()).digest()
    return EUI((0x0E << 40) | int.from_bytes(digest[:5], "big"), dialect=mac_unix_expanded)


def mac_for_endpoint(endpoint: EndpointId) -> EUI:
    """Return the MAC of an endpoint that has no address: ``0e`` and 40 bits of a hash."""
    digest = hashlib.sha256(endpoint.encode()).digest()
    return EUI((0x0E << 40) | int.from_bytes(digest[:5], "big"), dialect=mac_unix_expanded)


def mac_for_probe(network: NetworkId) -> EUI:
    """Return the MAC that a network's segment is asked from: ``0e`` and 40 bits of a hash."""
    digest = hashlib.sha256(f"probe/{network}".encode()).digest()
    return EUI((0x0E << 40) | int.from_bytes(digest[:5], "big"), dialect=mac_unix_expanded)


def alias(owner: str, endpoint: EndpointId) -> str:
    """Return the mark in a host link's ``ifalias``: ``ovsnet endpoint <id>``."""
    return f"{owner} endpoint {endpoint}"


def network_alias(owner: str, network: NetworkId) -> str:
    """Return the mark of a network's own device, its gateway's: ``ovsnet network <id>``."""
    return f"{owner} network {network}"


def bridge_alias(owner: str, bridge: str) -> str:
    """Return the mark of the own device of a bridge of ours: ``ovsnet bridge <name>``."""
    return f"{owner} bridge {bridge}"


def segment_alias(owner: str, segment: str) -> str:
    """Return the mark of the link of a segment's name server: ``ovsnet segment <name>``."""
    return f"{owner} segment {segment}"


def owned_alias(owner: str, text: str) -> bool:
    """Whether an ``ifalias`` is a mark of ours, on a device of an endpoint, network or segment."""
    return text.startswith(tuple(f"{owner} {what} " for what in ("endpoint", "network", "segment")))


def bridge_ids(owner: str) -> Mapping[str, str]:
    """Return the ``external_ids`` of a bridge of ours."""
    return {OWNER_KEY: owner}


def gateway_ids(owner: str, network: Network) -> Mapping[str, str]:
    """Return the ``external_ids`` of a gateway's Port and Interface."""
    return {OWNER_KEY: owner, NETWORK_KEY: network.id}


def probe_ids(owner: str, network: Network) -> Mapping[str, str]:
    """Return the ``external_ids`` of a probing port's Port and Interface."""
    return {OWNER_KEY: owner, NETWORK_KEY: network.id, PURPOSE_KEY: "probe"}


def uplink_ids(owner: str) -> Mapping[str, str]:
    """Return the ``external_ids`` of an uplink's Port and Interfaces; it is of no one network."""
    return {OWNER_KEY: owner, PURPOSE_KEY: "uplink"}


def mirror_ids(
    owner: str, network: NetworkId, endpoint: EndpointId | None = None
) -> Mapping[str, str]:
    """Return the ``external_ids`` of a Mirror."""
    ids = {OWNER_KEY: owner, NETWORK_KEY: str(network)}
    return ids if endpoint is None else {**ids, ENDPOINT_KEY: str(endpoint)}


def mirror_output_ids(owner: str) -> Mapping[str, str]:
    """Return the ``external_ids`` of a port that mirrors lead to, but for containers'."""
    return {OWNER_KEY: owner, PURPOSE_KEY: MIRROR}


def patch_ids(owner: str) -> Mapping[str, str]:
    """Return the ``external_ids`` of a patch port's Port and Interface; it is of no one network."""
    return {OWNER_KEY: owner, PURPOSE_KEY: PATCH}


def server_ids(owner: str, segment: str) -> Mapping[str, str]:
    """Return the ``external_ids`` of the Port and Interface of a segment's name server."""
    return {OWNER_KEY: owner, PURPOSE_KEY: NAME_SERVER, CLIENT_KEY: server_port(segment)}


def endpoint_ids(owner: str, endpoint: Endpoint, segment: Segment) -> Mapping[str, str]:
    """Return the ``external_ids`` of a container's Port and Interface.

    ``attached-mac`` and ``iface-id`` are Open vSwitch's conventional keys for a port's client. By
    the latter OVN's controller finds the logical port that it stands for.
    """
    client: str = endpoint.id
    if isinstance(segment, OvnSegment) and endpoint.addresses:
        client = lease_port(segment.segment, endpoint.addresses[0].ip)
    return {
        OWNER_KEY: owner,
        NETWORK_KEY: endpoint.network,
        ENDPOINT_KEY: endpoint.id,
        ADDRESS_KEY: " ".join(str(address) for address in endpoint.addresses),
        "attached-mac": mac_text(endpoint.mac),
        CLIENT_KEY: client,
    }
