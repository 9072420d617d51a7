"""Which packets of a guarded port pass: the flows, asked about packets one by one."""

from dataclasses import fields
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.model import Endpoint, EndpointId, NetworkId
from ovsdriver.domain.records.options.flows import Match
from ovsdriver.domain.traffic import guarding

MAC, OTHER = EUI("0a:0f:0a:00:00:02"), EUI("0a:0f:0a:00:00:03")
OWN4, OTHER4 = IPAddress("10.0.0.2"), IPAddress("10.0.0.3")
OWN6, OTHER6 = IPAddress("fd00::2"), IPAddress("fd00::3")
LOCAL6 = MAC.ipv6_link_local()
NOBODY6 = IPAddress("::")
IP, ARP, IP6 = 0x0800, 0x0806, 0x86DD


def endpoint(*addresses: str) -> Endpoint:
    return Endpoint(
        id=EndpointId("e" * 64),
        network=NetworkId("a" * 64),
        mac=MAC,
        addresses=tuple(map(IPNetwork, addresses)),
    )


BOTH = endpoint("10.0.0.2/24", "fd00::2/64")


def passes(who: Endpoint, **packet: Any) -> bool:
    """Whether the guard lets a packet with these fields pass."""

    def fits(match: Match) -> bool:
        wanted = {each.name: getattr(match, each.name) for each in fields(match)}
        return all(
            packet.get(k) == v for k, v in wanted.items() if v is not None and v is not False
        )

    best = [flow for flow in guarding.guard(who) if fits(flow.match)]
    rank = max(flow.rank for flow in best)
    (verdict,) = {flow.passes for flow in best if flow.rank == rank}
    return verdict


def icmp6(kind: int, **rest: Any) -> dict[str, Any]:
    packet = {"eth_src": MAC, "eth_type": IP6, "ip_protocol": 58, "icmpv6_type": kind}
    return packet | {"ipv6_src": OWN6} | rest


def udp(source: int, destination: int, **rest: Any) -> dict[str, Any]:
    return {"eth_src": MAC, "ip_protocol": 17, "udp_src": source, "udp_dst": destination} | rest


def ip4(protocol: int, **rest: Any) -> dict[str, Any]:
    return {"eth_src": MAC, "eth_type": IP, "ipv4_src": OWN4, "ip_protocol": protocol} | rest


def ip6(protocol: int | None, **rest: Any) -> dict[str, Any]:
    return {"eth_src": MAC, "eth_type": IP6, "ipv6_src": OWN6, "ip_protocol": protocol} | rest


def probe(target: IPAddress, **rest: Any) -> dict[str, Any]:
    asked = {"arp_op": 1, "arp_spa": IPAddress(0), "arp_sha": MAC, "arp_tpa": target}
    return {"eth_src": MAC, "eth_type": ARP} | asked | rest


NONE = EUI(0)
LETS = [
    pytest.param({"eth_src": MAC, "eth_type": IP, "ipv4_src": OWN4}, id="own-address"),
    pytest.param({"eth_src": MAC, "eth_type": IP6, "ipv6_src": OWN6}, id="own-address6"),
    pytest.param({"eth_src": MAC, "eth_type": IP6, "ipv6_src": LOCAL6}, id="link-local"),
    pytest.param(
        {"eth_src": MAC, "eth_type": ARP, "arp_spa": OWN4, "arp_sha": MAC}, id="arp-as-itself"
    ),
    pytest.param(probe(OWN4), id="arp-probe"),
    pytest.param(ip4(6, fragment=True), id="tcp-fragment"),
    pytest.param(ip4(1, icmpv4_type=8), id="ping"),
    pytest.param(udp(68, 67, eth_type=IP, ipv4_src=IPAddress(0)), id="dhcp-client"),
    pytest.param(icmp6(135, nd_sll=MAC, nd_target=OTHER6), id="asks-for-a-neighbour"),
    pytest.param(icmp6(135, ipv6_src=NOBODY6, nd_sll=NONE, nd_target=OWN6), id="dad"),
    pytest.param(icmp6(136, nd_target=OWN6, nd_tll=MAC), id="answers-for-itself"),
    pytest.param(icmp6(136, nd_target=LOCAL6, nd_tll=NONE), id="answers-without-mac"),
    pytest.param(icmp6(133, ipv6_src=NOBODY6), id="asks-for-routers"),
    pytest.param(icmp6(143, ipv6_src=NOBODY6), id="listens-to-a-group"),
    pytest.param(icmp6(128), id="ping6"),
]
STOPS = [
    pytest.param(probe(OTHER4), id="probes-anothers-address"),
    pytest.param(probe(OWN4, arp_op=2), id="answers-as-nobody"),
    pytest.param(udp(9, 68, eth_type=IP, ipv4_src=OWN4), id="to-a-dhcp-client"),
    pytest.param(udp(9, 546, eth_type=IP6, ipv6_src=OWN6), id="to-a-dhcpv6-client"),
    pytest.param(ip4(17, fragment=True), id="fragment-of-udp"),
    pytest.param(ip4(1, fragment=True), id="fragment-of-icmp"),
    pytest.param(ip6(44, fragment=True), id="later-fragment6"),
    pytest.param(ip6(17, fragment=True), id="first-fragment6"),
    pytest.param(ip6(0), id="unreadable-headers6"),
    pytest.param(ip4(2), id="igmp"),
    pytest.param(icmp6(130, ipv6_src=LOCAL6), id="mld-query"),
    pytest.param(icmp6(151, ipv6_src=LOCAL6), id="multicast-router"),
    pytest.param(icmp6(138, ipv6_src=LOCAL6), id="renumbering"),
    pytest.param(ip4(1, icmpv4_type=5), id="redirect4"),
    pytest.param(ip4(1, icmpv4_type=9), id="router-advertisement4"),
    *(pytest.param(ip4(each), id=f"tunnel-{each}") for each in (4, 41, 47, 97, 115, 137)),
    *(pytest.param(ip6(each), id=f"tunnel6-{each}") for each in (4, 41, 47)),
    pytest.param(icmp6(135, nd_sll=NONE, nd_target=NOBODY6), id="broken-solicitation"),
    pytest.param({"eth_src": OTHER, "eth_type": IP, "ipv4_src": OWN4}, id="another-mac"),
    pytest.param({"eth_src": MAC, "eth_type": IP, "ipv4_src": OTHER4}, id="another-address"),
    pytest.param({"eth_src": MAC, "eth_type": IP6, "ipv6_src": OTHER6}, id="another-address6"),
    pytest.param(
        {"eth_src": MAC, "eth_type": ARP, "arp_spa": OTHER4, "arp_sha": MAC}, id="arp-for-another"
    ),
    pytest.param(
        {"eth_src": MAC, "eth_type": ARP, "arp_spa": OWN4, "arp_sha": OTHER}, id="arp-other-mac"
    ),
    pytest.param(udp(67, 68, eth_type=IP, ipv4_src=OWN4), id="dhcp-server"),
    pytest.param(udp(547, 546, eth_type=IP6, ipv6_src=LOCAL6), id="dhcpv6-server"),
    pytest.param(icmp6(134, ipv6_src=LOCAL6), id="router-advertisement"),
    pytest.param(icmp6(137, ipv6_src=LOCAL6), id="redirect"),
    pytest.param(icmp6(136, nd_target=OTHER6, nd_tll=MAC), id="answers-for-another"),
    pytest.param(icmp6(136, nd_target=OWN6, nd_tll=OTHER), id="answers-with-another-mac"),
    pytest.param(icmp6(135, nd_sll=OTHER, nd_target=OTHER6), id="asks-with-another-mac"),
    pytest.param(icmp6(135, ipv6_src=NOBODY6, nd_sll=NONE, nd_target=OTHER6), id="dad-of-another"),
    pytest.param({"eth_src": MAC, "eth_type": 0x88CC}, id="lldp"),
    pytest.param({"eth_src": MAC, "eth_type": 0x8035}, id="rarp"),
    pytest.param(
        {"eth_src": MAC, "eth_type": IP, "ipv4_src": IPAddress(0), "ip_protocol": 17},
        id="no-address-and-no-dhcp",
    ),
]


@pytest.mark.parametrize("packet", LETS)
def test_a_guarded_port_sends_as_itself(packet: dict[str, Any]) -> None:
    assert passes(BOTH, **packet)


@pytest.mark.parametrize("packet", STOPS)
def test_a_guarded_port_sends_as_nobody_else(packet: dict[str, Any]) -> None:
    assert not passes(BOTH, **packet)


def test_a_container_of_one_family_sends_nothing_of_the_other() -> None:
    four, six = endpoint("10.0.0.2/24"), endpoint("fd00::2/64")
    assert not passes(four, eth_src=MAC, eth_type=IP6, ipv6_src=LOCAL6)
    assert not passes(six, eth_src=MAC, eth_type=ARP, arp_spa=IPAddress(0), arp_sha=MAC)
