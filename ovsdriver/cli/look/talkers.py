"""Who talks to whom: what Open vSwitch's datapath and the kernel's conntrack have, with names."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from netaddr import IPAddress

from ovsdriver.adapters.kernel.codec.conntrack import Conntrack
from ovsdriver.admin.measures.views import EndpointTraffic, TrafficReport
from ovsdriver.cli.doctor import rpc
from ovsdriver.config import Settings
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.traffic import talking
from ovsdriver.domain.traffic.talking import Flows, Place, Places

_MOST = 100_000
"""Connections that are looked at."""
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Connections of a container past its gateway, to or from one place."""

    container: str
    outward: bool
    """The container has asked; else the other end has."""
    peer: str
    """``192.0.2.2 tcp/443``; inward: the address that asks, and the port that was asked for."""
    connections: int
    bytes: int | None
    """Since they began; None where the kernel does not count them."""


async def flows(settings: Settings) -> Flows | None:
    """Return the flows of all datapaths; None if ovs-vswitchd cannot be asked."""
    listed = await rpc.ask_vswitchd(settings.ovsdb, "dpctl/dump-dps", [])
    if listed is None:
        return None
    found: dict[str, tuple[talking.Pair, talking.Count]] = {}
    for datapath in listed.split():
        said = await rpc.ask_vswitchd(settings.ovsdb, "dpctl/dump-flows", ["--names", datapath])
        # Of a host with many flows it is long, and nobody waits for this loop meanwhile.
        found.update(talking.read((said or "").splitlines()))
    return found


def places(report: TrafficReport) -> Places:
    """Return who is where, by what the process says."""
    found = Places()
    for each in report.endpoints:
        place = Place(name=called(each), network=each.network)
        found.add(place, port=each.link, mac=mac_text(each.mac))
    for gateway in report.gateways:
        name = f"gateway of {gateway.network_name or gateway.network[:12]}"
        place = Place(name=name, network=gateway.network)
        found.add(
            place, port=gateway.link, mac="" if gateway.mac is None else mac_text(gateway.mac)
        )
    for uplink in report.uplinks:
        found.add(Place(name=f"outside by {uplink.nic}"), port=uplink.nic)
    return found


def called(endpoint: EndpointTraffic) -> str:
    """Return how an endpoint is shown: ``lab/web``, by ids as far as names are not known."""
    network = endpoint.network_name or endpoint.network[:12]
    return f"{network}/{endpoint.container or endpoint.endpoint[:12]}"


async def past_gateways(report: TrafficReport) -> Sequence[Past]:
    """Return what conntrack has of containers' connections; OSError if it cannot be asked."""
    homes = {address.ip: called(each) for each in report.endpoints for address in each.addresses}
    return await asyncio.to_thread(_past, homes)


def _past(homes: Mapping[IPAddress, str]) -> Sequence[Past]:
    with closing(Conntrack()) as conntrack:
        known = conntrack.connections(_MOST)
    found: dict[tuple[str, bool, str], list[int | None]] = defaultdict(list)
    for each in known:
        port = f"{_PROTOCOLS.get(each.protocol, each.protocol)}/{each.port}"
        if each.source in homes:
            key = homes[each.source], True, f"{each.destination} {port}"
        elif each.answering in homes:
            key = homes[each.answering], False, f"{each.source} {port}"
        else:
            continue
        found[key].append(each.bytes)
    return [
        Past(
            container=container,
            outward=outward,
            peer=peer,
            connections=len(counts),
            bytes=None if None in counts else sum(each or 0 for each in counts),
        )
        for (container, outward, peer), counts in found.items()
    ]
