"""What access rules judge on a bridge: what containers and their neighbours say to each other.

Pure. What passes its gateway is judged behind that, where it is seen before it is translated, and
where it is known which addresses are the host's: so neither what a container sends to its gateway's
MAC nor what comes out of the gateway's port is judged here. On networks without a gateway all of it
is, what comes from wires and goes there, too.

What finds neighbours, groups and addresses is not judged: ARP, ND (RFC 4861), MLD (RFC 3810), what
clients of DHCP ask everybody and are answered (RFC 2131, RFC 8415).

Frames without a tag are in the VLAN of their port, which flows do not see: so each port of a VLAN
where anybody has rules has a flow that says so. MACs and addresses may be others' in other VLANs.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from netaddr import EUI, IPAddress

from ovsdriver.domain.access.policy import Judgement, Member, Policy, Reach
from ovsdriver.domain.records.options.access import AccessProtocol, Side
from ovsdriver.domain.records.options.flows import (
    Flow,
    Governed,
    Match,
    PortFlows,
    Ruling,
    Stage,
    Vlan,
)
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.traffic.guarding import ICMP, ICMPV6, IPV4, IPV6, UDP

_TYPES = (IPV4, IPV6)
_PROTOCOLS: Mapping[AccessProtocol, Mapping[int | None, int]] = {
    AccessProtocol.TCP: {None: 6},
    AccessProtocol.UDP: {None: UDP},
    AccessProtocol.ICMP: {4: ICMP, 6: ICMPV6},
}
_HIGHEST_PORT = 0xFFFF

_UNTAGGED, _HERE, _SENDS, _TO_GATEWAY, _AS_GATEWAY = 1, 2, 4, 6, 8
"""Ranks: what is in the network is looked at, what a container with rules sends is judged, but not
what it sends to its gateway. Nobody sends as that: who did would get what is for it, unjudged."""
_REST, _ALLOW, _DENY = range(3)

SHARED = 1 << 30
"""Numbers above those of ports: of what is shared by all of a bridge."""
_POLICIES, _PORTS = 1 << 31, SHARED


def zone(bridge: str, vlan: VlanTag) -> int:
    """Return the zone of conntrack for a VLAN of a bridge: above those of OVN, which count up."""
    digest = hashlib.sha256(f"zone/{bridge}/{vlan}".encode()).digest()
    return 0x8000 | int.from_bytes(digest[:2], "big")


def policy_number(policy: str) -> int:
    """Return what a policy's flows are numbered with, where a port's have the port's number."""
    return _POLICIES | int(policy, 16) >> 17


def port_number(port: int) -> int:
    """Return what flows are numbered with that say in which network a port is."""
    return _PORTS | port


def everywhere(
    zones: Mapping[VlanTag, int], gateways: Mapping[VlanTag, Collection[EUI]]
) -> PortFlows:
    """Return what a bridge has on which anybody has access rules.

    Args:
        zones: of the VLANs that these are in. Frames come tagged from wires and trunks. Those
            without a tag that come from ports of which nobody knows the VLAN (such as links of a
            bond) are counted into the VLAN without a number.
        gateways: MACs of the gateways in each VLAN.
    """
    flows = {
        _flow(
            _HERE if vlan else _UNTAGGED,
            Match(vlan=Vlan.of(vlan) if vlan else Vlan.UNTAGGED, eth_type=kind),
            zone=zone,
        )
        for vlan, zone in zones.items()
        for kind in _TYPES
    }
    # without a tag a gateway itself sends
    claims = {
        _as_gateway(Match(vlan=Vlan.of(vlan), eth_src=each))
        for vlan, macs in gateways.items()
        for each in macs
        if vlan
    }
    return PortFlows(flows=frozenset(flows | claims), judging=True)


@lru_cache(maxsize=4096)
def here(port: int, zone: int, gateways: frozenset[EUI]) -> PortFlows:
    """Return the flows that say that frames without a tag from a port are in a zone.

    ``gateways`` are the MACs of the gateways there, none of which is behind the port.
    """
    flows = {_flow(_HERE, Match(eth_type=kind), zone=zone) for kind in _TYPES}
    flows |= {_as_gateway(Match(eth_src=each)) for each in gateways}
    return PortFlows(flows=frozenset(replace(each, port=port) for each in flows))


def _as_gateway(match: Match) -> Flow:
    return Flow(stage=Stage.ACCESS, rank=_AS_GATEWAY, match=match, passes=False)


@lru_cache(maxsize=64)  # as a guard
def member(member: Member, *, zone: int, gateway: EUI | None, forwards: bool = False) -> PortFlows:
    """Return what the port of a container with access rules has.

    With an IPv6 address it has the link-local one that is made from its MAC as well, as it has for
    ``guarding.guard``.

    Args:
        member: it.
        zone: of its VLAN; see :func:`zone`.
        gateway: MAC of its gateway; None if it has none.
        forwards: it is the gateway of its network. Its rules are about what it says itself, and
            what passes it is judged by those of who says it.
    """
    addresses = set(member.addresses)
    if any(each.version == 6 for each in addresses):
        addresses.add(member.mac.ipv6_link_local())
    own = [Match(eth_type=each) for each in _TYPES]
    flows = set[Flow]()
    if forwards:
        flows |= {_flow(_HERE, each, zone=zone) for each in own}
        own = [_from(each) for each in addresses]
    flows |= {_flow(_SENDS, each, zone=zone, governed=True) for each in own}
    if gateway is not None:
        flows.add(_flow(_TO_GATEWAY, Match(eth_dst=gateway)))
    end = Governed(
        zone=zone,
        mac=member.mac,
        addresses=tuple(sorted(addresses)),
        policy=member.policy,
        forwards=forwards,
    )
    return PortFlows(flows=frozenset(flows), governed=frozenset({end}))


def policy(policy: Policy) -> PortFlows:
    """Return what a bridge has for a policy, however many containers share it.

    What it says of the host, of the outside and of names is about nobody on a bridge: those are
    behind a gateway.
    """
    rulings = (
        ruling
        for side, judgement in ((Side.TO, policy.to), (Side.FROM, policy.from_))
        for ruling in _rulings(policy.key, side, judgement)
    )
    return PortFlows(rulings=frozenset(rulings))


def _rulings(policy: str, side: Side, judgement: Judgement) -> Iterator[Ruling]:
    rest = Ruling(policy=policy, side=side, rank=_REST, passes=not judgement.closed)
    yield rest
    for rank, reaches in ((_DENY, judgement.deny), (_ALLOW, judgement.allow)):
        for reach in reaches:
            yield from _matched(replace(rest, rank=rank, passes=rank == _ALLOW), reach)


def _matched(ruling: Ruling, reach: Reach) -> Iterator[Ruling]:
    """Give what a rule matches, on a bridge."""
    if reach.zone is not None or reach.names:
        return
    ruling = replace(ruling, rule=reach.rule)
    if reach.prefix is not None:
        ruling = replace(ruling, family=reach.prefix.version, peer=reach.prefix)
    if reach.protocol is None:
        yield ruling
        return
    for family, protocol in _PROTOCOLS[reach.protocol].items():
        if None not in (family, ruling.family) and family != ruling.family:
            continue
        found = replace(ruling, family=family or ruling.family, protocol=protocol)
        if reach.protocol is AccessProtocol.ICMP:
            yield found
            continue
        for port, mask in _ports(reach.first_port, reach.last_port):
            yield replace(found, port=port, port_mask=mask)


def _ports(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Give values and masks that match the ports from ``first`` to ``last``, and no others."""
    while first <= last:
        size = first & -first or _HIGHEST_PORT + 1
        while first + size - 1 > last:
            size //= 2
        yield first, _HIGHEST_PORT & ~(size - 1)
        first += size


def _from(address: IPAddress) -> Match:
    if address.version == 4:
        return Match(eth_type=IPV4, ipv4_src=address)
    return Match(eth_type=IPV6, ipv6_src=address)


def _flow(rank: int, match: Match, *, zone: int = 0, governed: bool = False) -> Flow:
    return Flow(stage=Stage.ACCESS, rank=rank, match=match, zone=zone, governed=governed)


def combined(parts: Iterable[PortFlows]) -> PortFlows:
    """Return all that several have to say."""
    each = tuple(parts)
    return PortFlows(
        flows=frozenset().union(*(part.flows for part in each)),
        meters=frozenset().union(*(part.meters for part in each)),
        governed=frozenset().union(*(part.governed for part in each)),
        rulings=frozenset().union(*(part.rulings for part in each)),
        judging=any(part.judging for part in each),
    )
