"""From records to the rows, links and rules there should be. Pure, and the only such place."""

from collections.abc import Iterable, Mapping

from netaddr import IPNetwork

from ovsdriver.domain import names
from ovsdriver.domain.firewall import FirewallPlan, GatewayRules
from ovsdriver.domain.model import (
    Attachment,
    Bridge,
    Endpoint,
    Gateway,
    Network,
    Port,
    Probe,
    Segment,
    Uplink,
    UplinkPort,
    Veth,
    VlanTag,
)


def bridge(segment: Segment, *, owner: str) -> Bridge | None:
    """Return the bridge to make for ``segment``; None if it is someone else's to make."""
    if segment.adopted:
        return None
    return Bridge(
        name=segment.bridge,
        datapath=segment.datapath,
        owned=True,
        external_ids=names.bridge_ids(owner),
    )


def uplink_ports(networks: Iterable[Network], *, owner: str) -> Mapping[str, UplinkPort]:
    """Return the ports of ours that lead to wires, by bridge.

    Each lets through the segments of the networks that use it and nothing else; the administrator's
    own ports are none of these.
    """
    users: dict[str, tuple[Uplink, set[VlanTag]]] = {}
    for network in networks:
        segment = network.segment
        if segment.uplink is not None and not segment.uplink.given and not network.ended:
            users.setdefault(segment.bridge, (segment.uplink, set()))[1].add(segment.tag)
    return {
        bridge: UplinkPort(
            name=names.bond_port(bridge) if uplink.bond else uplink.nics[0],
            bridge=bridge,
            nics=uplink.nics,
            trunks=tuple(sorted(tags)),
            bond=uplink.bond,
            lacp=uplink.lacp,
            external_ids=names.uplink_ids(owner),
        )
        for bridge, (uplink, tags) in users.items()
    }


def attachment(network: Network, endpoint: Endpoint, *, owner: str, tx_offload: bool) -> Attachment:
    """Return the plumbing that puts ``endpoint`` on ``network``.

    The same records always give the same names, so a restarted daemon finds what an earlier
    one made.
    """
    host = names.host_link(endpoint.id)
    return Attachment(
        endpoint=endpoint.id,
        veth=Veth(
            host=host,
            container=names.container_link(endpoint.id),
            mac=endpoint.mac,
            mtu=endpoint.mtu,
            tx_offload=tx_offload,
            alias=names.alias(owner, endpoint.id),
        ),
        port=Port(
            name=host,
            bridge=network.segment.bridge,
            tag=network.segment.tag,
            external_ids=names.endpoint_ids(owner, endpoint),
        ),
    )


def gateway(network: Network, *, owner: str) -> Gateway | None:
    """Return the host's port on ``network``; None where its mode has none."""
    addresses = tuple(
        IPNetwork(f"{subnet.gateway}/{subnet.cidr.prefixlen}")
        for subnet in network.subnets
        if subnet.gateway is not None
    )
    if not network.mode.has_gateway or not addresses:
        return None
    return Gateway(
        network=network.id,
        port=Port(
            name=names.gateway_link(network.id),
            bridge=network.segment.bridge,
            tag=network.segment.tag,
            internal=True,
            mac=names.mac_for(addresses[0], network.segment),
            mtu=network.mtu,
            external_ids=names.gateway_ids(owner, network),
        ),
        addresses=addresses,
        mtu=network.mtu,
    )


def probe(network: Network, *, owner: str) -> Probe | None:
    """Return the port that the segment is asked from; None if nobody asks, or the gateway does."""
    if not network.probe or gateway(network, owner=owner) is not None:
        return None
    return Probe(
        network=network.id,
        port=Port(
            name=names.probe_link(network.id),
            bridge=network.segment.bridge,
            tag=network.segment.tag,
            internal=True,
            mac=names.mac_for_probe(network.id),
            mtu=network.mtu,
            external_ids=names.probe_ids(owner, network),
        ),
        mtu=network.mtu,
    )


def asking_link(network: Network, *, owner: str) -> str | None:
    """Return the host's device on the segment, from which it can be asked; None if it has none."""
    host = gateway(network, owner=owner) or probe(network, owner=owner)
    return host.port.name if host is not None else None


def firewall(networks: Iterable[Network], *, outside_bridges: tuple[str, ...] = ()) -> FirewallPlan:
    """Return what the host's firewall should allow for all of ``networks``, in a stable order."""
    return FirewallPlan(
        gateways=tuple(
            GatewayRules(
                network=network.id,
                link=names.gateway_link(network.id),
                mode=network.mode,
                subnets=tuple(s.cidr for s in network.subnets if s.gateway is not None),
                masquerade=network.masquerade,
            )
            for network in sorted(networks, key=lambda each: each.id)
            if network.mode.has_gateway and not network.ended
        ),
        outside_bridges=outside_bridges,
    )
