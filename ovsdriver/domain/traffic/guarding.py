"""What a guarded port may send: its own MAC and addresses, and no answers that are the network's.

Pure. Names of the packets that are let pass or dropped are those of RFC 826 and RFC 5227 (ARP),
RFC 2131 and RFC 8415 (DHCP), RFC 792 and RFC 1256 (ICMP), RFC 4861 (ND), RFC 3810 and RFC 4286
(multicast).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from netaddr import EUI, IPAddress

from ovsdriver.domain.records.model import Endpoint
from ovsdriver.domain.records.options.flows import Flow, Match, Stage
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

IPV4 = 0x0800
ARP = 0x0806
IPV6 = 0x86DD
ICMP = 1
IGMP = 2
UDP = 17
ICMPV6 = 58

_UNREADABLE = 0
_TUNNELS = (4, 41, 47, 97, 115, 137)
"""Protocols that carry whole packets or frames, which nobody looks into: IPIP, 6in4, GRE,
EtherIP, L2TP, MPLS."""
_ICMP_REDIRECT, _ICMP_ROUTER_ADVERTISEMENT = 5, 9
_ARP_REQUEST = 1

_ROUTER_SOLICITATION = 133
_ROUTER_ADVERTISEMENT = 134
_NEIGHBOUR_SOLICITATION = 135
_NEIGHBOUR_ADVERTISEMENT = 136
_REDIRECT = 137
_RENUMBERING = 138
_LISTENER_QUERY = 130
_LISTENER_REPORTS = (131, 143)
_MULTICAST_ROUTER = (151, 153)

_DHCP_SERVER, _DHCP_CLIENT = 67, 68
_DHCPV6_CLIENT, _DHCPV6_SERVER = 546, 547

_NOBODY4 = IPAddress("0.0.0.0")  # noqa: S104 - the source of who has no address yet
_NOBODY6 = IPAddress("::")
_NO_MAC = EUI(0)

_DROP, _PASS, _FORBID, _EXCEPT, _NEVER = 0, 4, 8, 12, 14
"""Ranks: everything is dropped but what is let pass, but what is forbidden all the same, but
exceptions of that, but what only looks like one."""


def refuse_unfit(bridge: str, *, guard: bool, metered: bool, controllers: int) -> None:
    """Refuse flows of ours on a bridge where they would not hold.

    Args:
        bridge: its name.
        guard: ports are guarded.
        metered: what containers send is held to a rate, or marked.
        controllers: how many the bridge has.

    Raises:
        UnsupportedError: it has any, and there would be such flows.
    """
    if controllers and (guard or metered):
        raise UnsupportedError(
            f"{_option(guard=guard)}: bridge {bridge} has a controller, which may bypass or remove "
            "the flows that this needs; leave the option out, or choose another bridge with -o "
            "ovs.bridge=NAME"
        )


def refuse_controller(bridge: str, whose: str, *, guard: bool, metered: bool) -> None:
    """Refuse a controller for a bridge on which there are flows of ours that must hold.

    Args:
        bridge: its name.
        whose: a network or an endpoint on it, for the sentence.
        guard: its ports are guarded.
        metered: what its containers send is held to a rate, or marked.

    Raises:
        ConflictError: there would be such flows.
    """
    if guard or metered:
        raise ConflictError(
            f"ovs.controller: {whose} on bridge {bridge} has {_option(guard=guard)}, and a "
            "controller may bypass or remove its flows; choose another bridge with -o "
            "ovs.bridge=NAME"
        )


def _option(*, guard: bool) -> str:
    return "ovs.guard=true" if guard else "ovs.rate, ovs.broadcast or ovs.dscp"


def refuse_unpinnable(endpoint: Endpoint, *, trunk: bool) -> None:
    """Refuse a guard for a container whose addresses are not known.

    Args:
        endpoint: its record.
        trunk: it takes part in VLANs with their tags.

    Raises:
        InvalidOptionError: it is such a one.
    """
    if trunk:
        raise InvalidOptionError(
            "ovs.guard=true and ovs.trunks contradict each other: ovsnet does not know a "
            "container's addresses in other VLANs; leave one of them out, or set ovs.guard=false "
            "for this container"
        )
    if not endpoint.addresses:
        raise InvalidOptionError(
            "ovs.guard=true: the container has no address that it could be held to; use an IPAM "
            "(--ipam-driver ovsipam), or leave the option out"
        )


def guard(endpoint: Endpoint, *, forwards: bool = False) -> frozenset[Flow]:
    """Return the flows that pin ``endpoint`` to its MAC and its addresses.

    With an IPv6 address it has the link-local one that is made from its MAC as well.

    Args:
        endpoint: its record.
        forwards: it is the gateway of its network, whose packets are others'. It is pinned to its
            MAC, and claims no addresses but its own.
    """
    return _guard(endpoint.mac, tuple(each.ip for each in endpoint.addresses), forwards)


@lru_cache(maxsize=64)  # asked for before a port is there, and again when it is
def _guard(mac: EUI, addresses: tuple[IPAddress, ...], forwards: bool) -> frozenset[Flow]:
    four = [each for each in addresses if each.version == 4]
    six = [each for each in addresses if each.version == 6]
    allowed: list[Match] = []
    exceptions: list[Match] = []
    if four:
        allowed += _ipv4(mac, four)
    if six:
        held = [*six, mac.ipv6_link_local()]
        allowed += _ipv6(mac, held)
        exceptions += _neighbour_discovery(mac, held)
    if forwards:
        allowed += [Match(eth_src=mac, eth_type=family) for family in (IPV4, IPV6)]
    return frozenset(
        (
            _flow(_DROP, Match(), passes=False),
            *(_flow(_PASS, match) for match in allowed),
            *(_flow(_FORBID, match, passes=False) for match in _forbidden()),
            *(_flow(_EXCEPT, match) for match in exceptions),
            # shown so if an option of it is broken or comes twice, and its sender's MAC as absent
            _flow(
                _NEVER,
                replace(_icmpv6(_NEIGHBOUR_SOLICITATION), nd_target=_NOBODY6),
                passes=False,
            ),
        )
    )


def _flow(rank: int, match: Match, *, passes: bool = True) -> Flow:
    return Flow(stage=Stage.GUARD, rank=rank, match=match, passes=passes)


def _ipv4(mac: EUI, addresses: Iterable[IPAddress]) -> Iterator[Match]:
    for address in addresses:
        yield Match(eth_src=mac, eth_type=ARP, arp_spa=address, arp_sha=mac)
        yield Match(eth_src=mac, eth_type=IPV4, ipv4_src=address)
        # a probe, whether anybody has the address; for another's it would be taken as a claim
        yield Match(
            eth_src=mac,
            eth_type=ARP,
            arp_op=_ARP_REQUEST,
            arp_spa=_NOBODY4,
            arp_sha=mac,
            arp_tpa=address,
        )
    yield Match(
        eth_src=mac,
        eth_type=IPV4,
        ip_protocol=UDP,
        ipv4_src=_NOBODY4,
        udp_src=_DHCP_CLIENT,
        udp_dst=_DHCP_SERVER,
    )


def _ipv6(mac: EUI, addresses: Iterable[IPAddress]) -> Iterator[Match]:
    for address in addresses:
        yield Match(eth_src=mac, eth_type=IPV6, ipv6_src=address)
    for kind in (_ROUTER_SOLICITATION, *_LISTENER_REPORTS):
        yield _icmpv6(kind, mac=mac, source=_NOBODY6)


def _neighbour_discovery(mac: EUI, addresses: Iterable[IPAddress]) -> Iterator[Match]:
    """Return what it may ask and answer: always as itself, and only for what it holds."""
    addresses = tuple(addresses)
    for address in addresses:
        yield replace(
            _icmpv6(_NEIGHBOUR_SOLICITATION, mac=mac, source=_NOBODY6),
            nd_target=address,
            nd_sll=_NO_MAC,
        )
        for said in (mac, _NO_MAC):
            yield replace(_icmpv6(_NEIGHBOUR_SOLICITATION, mac=mac, source=address), nd_sll=said)
            for target in addresses:
                yield replace(
                    _icmpv6(_NEIGHBOUR_ADVERTISEMENT, mac=mac, source=address),
                    nd_target=target,
                    nd_tll=said,
                )


def _icmpv6(kind: int, *, mac: EUI | None = None, source: IPAddress | None = None) -> Match:
    return Match(eth_src=mac, eth_type=IPV6, ip_protocol=ICMPV6, ipv6_src=source, icmpv6_type=kind)


def _forbidden() -> Iterator[Match]:
    for kind in (
        _ROUTER_ADVERTISEMENT,
        _NEIGHBOUR_SOLICITATION,
        _NEIGHBOUR_ADVERTISEMENT,
        _REDIRECT,
        _RENUMBERING,
        _LISTENER_QUERY,
        *_MULTICAST_ROUTER,
    ):
        yield _icmpv6(kind)
    for kind in (_ICMP_REDIRECT, _ICMP_ROUTER_ADVERTISEMENT):
        yield Match(eth_type=IPV4, ip_protocol=ICMP, icmpv4_type=kind)
    yield Match(eth_type=IPV4, ip_protocol=UDP, udp_src=_DHCP_SERVER)
    yield Match(eth_type=IPV4, ip_protocol=UDP, udp_dst=_DHCP_CLIENT)
    yield Match(eth_type=IPV6, ip_protocol=UDP, udp_src=_DHCPV6_SERVER)
    yield Match(eth_type=IPV6, ip_protocol=UDP, udp_dst=_DHCPV6_CLIENT)
    # which of them are queries Open vSwitch does not show
    yield Match(eth_type=IPV4, ip_protocol=IGMP)
    yield from _unseen()


def _unseen() -> Iterator[Match]:
    """Return what may hide any of the others from us, and not from who gets it."""
    for protocol in (ICMP, UDP):
        yield Match(eth_type=IPV4, ip_protocol=protocol, fragment=True)
    # of a later one not even the protocol is known, and in a first one headers may hide it
    yield Match(eth_type=IPV6, fragment=True)
    yield Match(eth_type=IPV6, ip_protocol=_UNREADABLE)
    for family in (IPV4, IPV6):
        for protocol in _TUNNELS:
            yield Match(eth_type=family, ip_protocol=protocol)
