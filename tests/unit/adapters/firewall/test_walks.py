"""Packets walked through this host: our rules as we make them, and other people's beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.firewall import chain_readers, nft_rules
from ovsdriver.adapters.firewall.docker_user import Listing
from ovsdriver.adapters.firewall.iptables_reader import from_iptables
from ovsdriver.domain.records.model import (
    HostAccess,
    Mode,
    NetworkId,
    Publication,
    Transport,
)
from ovsdriver.domain.tracing.hops import Hop, Question, Verdict, reaches, sentence
from ovsdriver.domain.tracing.host_view import Route, RouteFault
from ovsdriver.domain.tracing.lay import Home, Lay
from ovsdriver.domain.tracing.walk import Through, first_packet, through
from ovsdriver.domain.traffic.chains import NO_LINK, BaseChain
from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules, Guard

WAN, DOCKER = "eth0", "docker0"
OWN = {WAN: ("192.0.2.1", "2001:db8::1"), DOCKER: ("172.17.0.1",)}
FAR = {4: IPAddress("203.0.113.9"), 6: IPAddress("2001:db8:9::9")}
ROUTER = IPAddress("192.0.2.254")


def rules(number: int, mode: str = "nat", **more: Any) -> GatewayRules:
    """Return the rules of a network ``10.N.0.0/24`` and ``fd00:N::/64``, whose gateway is .1."""
    return GatewayRules(
        network=NetworkId(f"{number}" * 64),
        link=f"ovg{number:012}",
        mode=Mode(mode),
        subnets=(IPNetwork(f"10.{number}.0.0/24"), IPNetwork(f"fd00:{number}::/64")),
        held=(IPAddress(f"10.{number}.0.1"), IPAddress(f"fd00:{number}::1")),
        **more,
    )


NETWORKS = {
    "lab": rules(1),
    "other": rules(2),
    "routed": rules(3, "routed"),
    "routes": rules(4, "routed"),
    "alone": rules(5, "routed", isolate=True),
    "shy": rules(6, host=HostAccess.NONE, icc=False),
    "near": rules(7, host=HostAccess.GATEWAY),
    "bare": rules(8, masquerade=False),
    "apart": rules(9, "routed", icc=False),
}
PUBLISHED = Publication(
    protocol=Transport.TCP,
    host=IPAddress("0.0.0.0"),
    host_port=8080,
    address=IPAddress("10.1.0.2"),
    port=80,
)
PLAN = FirewallPlan(gateways=tuple(NETWORKS.values()), published=(PUBLISHED,))
LAY = Lay(
    homes={each.link: Home(name=name, rules=each) for name, each in NETWORKS.items()},
    containers={IPAddress("10.1.0.2"): "web"},
)


def ours(plan: FirewallPlan = PLAN, **more: Any) -> list[BaseChain]:
    return chain_readers.from_ruleset(nft_rules.render(plan, table="ovsnet", **more))


@dataclass
class Host:
    """A host with these networks, a wire and Docker's bridge."""

    chains: Sequence[BaseChain] = field(default_factory=ours)
    off: Mapping[tuple[str, int], str] = field(default_factory=dict)
    faults: Mapping[IPAddress, RouteFault] = field(default_factory=dict)

    def _on(self, link: str) -> tuple[str, ...]:
        home = LAY.home(link)
        return OWN.get(link, ()) if home is None else tuple(map(str, home.rules.held))

    def holder(self, address: IPAddress) -> str:
        links = (*LAY.homes, *OWN)
        return next((link for link in links if str(address) in self._on(link)), "")

    def is_local(self, address: IPAddress) -> bool:
        return bool(self.holder(address)) or address.is_loopback()

    def has(self, link: str, address: IPAddress) -> bool:
        return str(address) in self._on(link)

    def kind(self, link: str) -> str:
        return {DOCKER: "bridge", WAN: ""}.get(link, "openvswitch")

    def mtu(self, link: str) -> int:
        return 1500

    def up(self, link: str) -> bool:
        return True

    def route(
        self, target: IPAddress, *, source: IPAddress | None = None, incoming: str = ""
    ) -> Route:
        if target in self.faults:
            return Route(fault=self.faults[target])
        for link, home in LAY.homes.items():
            if any(target in each for each in home.rules.subnets):
                return Route(link=link, source=home.rules.held[0 if target.version == 4 else 1])
        if target in IPNetwork("172.17.0.0/16"):
            return Route(link=DOCKER, source=IPAddress("172.17.0.1"))
        own = IPAddress(OWN[WAN][0 if target.version == 4 else 1])
        return Route(link=WAN, gateway=ROUTER, source=own)

    def returns(self, source: IPAddress, link: str) -> bool:
        return self.route(source).link == link

    def not_forwarding(self, link: str, family: int) -> str:
        return self.off.get((link, family), "")


def walked(
    source: str, target: str, asked: str = "icmp", *, by: str = "", host: Host | None = None
) -> Through:
    """Walk a packet; ``by`` is the network, or the link, that it comes from."""
    protocol, _, port = asked.partition("/")
    question = Question(protocol=protocol, port=int(port) if port else None)
    incoming = NETWORKS[by].link if by in NETWORKS else by or NO_LINK
    packet = first_packet(IPAddress(source), IPAddress(target), question, incoming=incoming)
    host = host or Host()
    return through(host, host.chains, LAY, packet)


def who(hops: Sequence[Hop]) -> str:
    """Return what decides: of a stop or a doubt; empty if there is none."""
    return next((each.by for each in hops if each.verdict is not Verdict.PASS), "")


def at(name: str, family: int, last: int) -> str:
    number = next(n for n, each in enumerate(NETWORKS, start=1) if each == name)
    return f"10.{number}.0.{last}" if family == 4 else f"fd00:{number}::{last}"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("source", "target", "decides"),
    [
        ("lab", "other", "ovs.mode=nat of other"),
        ("lab", "routed", "ovs.mode=nat of lab"),
        ("routed", "lab", "ovs.mode=nat of lab"),
        ("routed", "routes", ""),
        ("routed", "alone", "ovs.isolate=true of alone"),
        ("alone", "routed", "ovs.isolate=true of alone"),
        ("apart", "apart", "ovs.icc=false of apart"),
        ("apart", "routed", ""),
    ],
)
def test_from_gateway_to_gateway_the_option_that_decides_is_named(
    source: str, target: str, decides: str, family: int
) -> None:
    found = walked(at(source, family, 2), at(target, family, 3), by=source)
    assert who(found.hops) == decides
    assert found.ends is bool(decides)
    assert found.ends or found.outgoing == NETWORKS[target].link


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("lab", ""),
        ("shy", ""),
        ("routed", "ovs.mode=routed of routed"),
        ("bare", "com.docker.network.bridge.enable_ip_masquerade=false of bare"),
    ],
)
def test_out_of_a_network_everything_goes_and_unmasked_answers_are_others(
    name: str, decides: str, family: int
) -> None:
    found = walked(at(name, family, 2), str(FAR[family]), by=name)
    assert not found.ends
    assert who(found.hops) == decides
    assert reaches(found.hops) is (None if decides else True)
    own = OWN[WAN][0 if family == 4 else 1]
    assert str(found.seen_as) == (at(name, family, 2) if decides else own)


@pytest.mark.parametrize(
    ("name", "target", "asked", "decides"),
    [
        ("lab", "10.1.0.1", "tcp/22", ""),
        ("lab", "192.0.2.1", "tcp/22", ""),
        ("lab", "172.17.0.1", "tcp/22", ""),
        ("lab", "10.2.0.1", "icmp", "the gateway of other"),
        ("near", "10.7.0.1", "tcp/22", ""),
        ("near", "192.0.2.1", "icmp", "ovs.host=gateway of near"),
        ("shy", "10.6.0.1", "icmp", ""),
        ("shy", "10.6.0.1", "tcp/22", "ovs.host=none of shy"),
        ("shy", "192.0.2.1", "icmp", "ovs.host=none of shy"),
        ("shy", "fd00:6::1", "tcp/22", "ovs.host=none of shy"),
        ("shy", "fd00:6::1", "icmp", ""),
    ],
)
def test_what_a_container_reaches_of_the_host_is_what_its_network_says(
    name: str, target: str, asked: str, decides: str
) -> None:
    source = at(name, IPAddress(target).version, 2)
    found = walked(source, target, asked, by=name)
    assert who(found.hops) == decides
    assert found.ends or not found.outgoing


@pytest.mark.parametrize(
    ("source", "by", "target"),
    [
        ("203.0.113.9", WAN, "192.0.2.1"),
        ("10.2.0.2", "other", "192.0.2.1"),
        ("10.6.0.2", "shy", "192.0.2.1"),
        ("10.1.0.3", "lab", "10.1.0.1"),
        ("172.17.0.2", DOCKER, "192.0.2.1"),
        ("192.0.2.1", "", "192.0.2.1"),
        ("127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_a_published_port_leads_to_its_container_from_everywhere(
    source: str, by: str, target: str
) -> None:
    found = walked(source, target, "tcp/8080", by=by)
    assert not found.ends, found.hops
    assert (str(found.destination), found.port) == ("10.1.0.2", 80)
    assert found.outgoing == NETWORKS["lab"].link
    assert any(each.by == "published port 8080 of web" for each in found.hops)


def test_on_another_networks_gateway_a_published_port_is_closed() -> None:
    assert who(walked("10.2.0.2", "10.1.0.1", "tcp/8080", by="other").hops) == "the gateway of lab"
    found = walked("172.17.0.2", "10.1.0.1", "tcp/8080", by=DOCKER)
    assert who(found.hops) == "ovsnet's rule published on a gateway of ours"
    found = walked("203.0.113.9", "127.0.0.1", "tcp/8080", by=WAN)
    assert who(found.hops) == "published ports of ovsnet"


@pytest.mark.parametrize(
    ("name", "by", "source", "decides"),
    [
        ("lab", WAN, "203.0.113.9", "ovs.mode=nat of lab"),
        ("routed", WAN, "203.0.113.9", ""),
        ("alone", WAN, "203.0.113.9", ""),
        ("routed", DOCKER, "172.17.0.2", "ovsnet's rule containers of others"),
        ("lab", "", "192.0.2.1", ""),
    ],
)
def test_into_a_network_comes_what_its_mode_lets_in(
    name: str, by: str, source: str, decides: str
) -> None:
    assert who(walked(source, at(name, 4, 2), by=by).hops) == decides


def test_a_forged_source_ends_on_arrival() -> None:
    assert who(walked("10.2.0.2", str(FAR[4]), by="lab").hops) == "the subnets of lab"


def nft(policy: str, *exprs: list[Any], hook: str = "forward") -> BaseChain:
    chain = {"family": "inet", "table": "mine", "name": "c", "hook": hook, "prio": 5}
    listed = [{"expr": expr, "comment": "night"} for expr in exprs]
    return chain_readers.from_nft({**chain, "policy": policy}, {"c": listed})


def iptables(*lines: str, policy: str = "ACCEPT") -> BaseChain:
    text = [f"-P FORWARD {policy}", "-N DOCKER-USER", *lines]
    listing = Listing(lines=tuple(tuple(line.split()) for line in text))
    return from_iptables("iptables", listing, assume_ours=False)


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
LAB_NET = {"prefix": {"addr": "10.1.0.0", "len": 24}}
UNREADABLE = {"xt": {"type": "match", "name": "geoip"}}


@pytest.mark.parametrize(
    ("chain", "decides", "verdict"),
    [
        pytest.param(
            iptables("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -s 10.1.0.0/24 -j DROP"),
            "a rule of DOCKER-USER",
            False,
            id="docker-user",
        ),
        pytest.param(
            iptables("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -s 10.2.0.0/24 -j DROP"),
            "",
            True,
            id="docker-user-of-others",
        ),
        pytest.param(
            iptables("-A FORWARD -p tcp -m tcp --dport 443 -j DROP"),
            "a rule of iptables chain FORWARD",
            False,
            id="a-port",
        ),
        pytest.param(iptables("-A FORWARD -p tcp --dport 80:90 -j DROP"), "", True, id="ports"),
        pytest.param(iptables("-A FORWARD -p udp --dport 443 -j DROP"), "", True, id="udp"),
        pytest.param(iptables(policy="DROP"), "the host's FORWARD policy", False, id="policy"),
        pytest.param(
            iptables("-A FORWARD -m mark --mark 0x10000000/0x10000000 -j ACCEPT", policy="DROP"),
            "",
            True,
            id="our-mark",
        ),
        pytest.param(
            nft("accept", [match(SADDR, LAB_NET), {"drop": None}]),
            "a rule (night) of nftables chain inet mine c",
            False,
            id="nft-source",
        ),
        pytest.param(
            nft("accept", [match(DPORT, {"set": [80, {"range": [440, 450]}]}), {"reject": {}}]),
            "a rule (night) of nftables chain inet mine c",
            False,
            id="nft-ports",
        ),
        pytest.param(
            nft("accept", [match(DPORT, 443, "!="), {"drop": None}]), "", True, id="nft-others"
        ),
        pytest.param(
            nft("drop", [match({"ct": {"key": "state"}}, "new"), {"accept": None}]),
            "the policy of nftables chain inet mine c",
            False,
            id="nft-answers",
        ),
        pytest.param(nft("drop", [UNREADABLE, {"accept": None}]), "", None, id="unreadable"),
        pytest.param(nft("accept", [UNREADABLE, {"accept": None}]), "", True, id="no-matter"),
        pytest.param(nft("accept", [UNREADABLE, {"drop": None}]), "", True, id="perhaps"),
        pytest.param(nft("drop", hook="input"), "", True, id="another-hook"),
    ],
)
def test_what_other_peoples_rules_do_to_this_very_packet_is_told(
    chain: BaseChain, decides: str, verdict: bool | None
) -> None:
    host = Host(chains=[*ours(), chain])
    hops = walked("10.1.0.2", str(FAR[4]), "tcp/443", by="lab", host=host).hops
    assert who(hops) == decides
    assert reaches(hops) is verdict


def test_other_tables_of_firewalls_are_called_by_their_name() -> None:
    firewalld = replace(nft("drop"), table="firewalld")
    hops = walked("10.1.0.2", str(FAR[4]), by="lab", host=Host(chains=[*ours(), firewalld])).hops
    assert who(hops) == "firewalld"
    assert "ovsnet firewalld" in hops[-1].sentence
    ufw = iptables("-N ufw-user", "-A FORWARD -j ufw-user", "-A ufw-user -j DROP")
    hops = walked("10.1.0.2", str(FAR[4]), by="lab", host=Host(chains=[*ours(), ufw])).hops
    assert who(hops) == "ufw"


def test_the_hosts_input_and_output_count_for_what_is_asked_of_it() -> None:
    closed = Host(chains=[*ours(), nft("drop", hook="input")])
    assert "nftables chain inet mine c" in who(
        walked("10.1.0.2", "10.1.0.1", "tcp/22", by="lab", host=closed).hops
    )
    mute = Host(chains=[*ours(), nft("drop", hook="output")])
    hops = walked("10.1.0.2", "10.1.0.1", "tcp/22", by="lab", host=mute).hops
    assert hops[-1].sentence.startswith("the answer comes back, and ")


@pytest.mark.parametrize(
    ("host", "decides"),
    [
        (Host(off={(WAN, 4): "net.ipv4.conf.eth0.forwarding"}), "net.ipv4.conf.eth0.forwarding=0"),
        (
            Host(off={(NETWORKS["lab"].link, 4): "net.ipv4.conf.ovg.forwarding"}),
            "net.ipv4.conf.ovg.forwarding=0",
        ),
        (Host(faults={FAR[4]: RouteFault.NO_ROUTE}), "the routes of this host"),
        (Host(faults={FAR[4]: RouteFault.REFUSED}), "a route of this host"),
        (
            Host(faults={FAR[4]: RouteFault.FILTERED}),
            f"rp_filter of {NETWORKS['lab'].link}",
        ),
    ],
)
def test_the_kernels_own_reasons_are_told_of_the_packet_and_of_its_answer(
    host: Host, decides: str
) -> None:
    assert who(walked("10.1.0.2", str(FAR[4]), by="lab", host=host).hops) == decides


def test_without_our_table_a_container_goes_out_unmasked() -> None:
    hops = walked("10.1.0.2", str(FAR[4]), by="lab", host=Host(chains=[])).hops
    assert reaches(hops) is None
    assert "it leaves with its own address 10.1.0.2 (ovs.mode=nat of lab)" in hops[-1].sentence
    told = sentence("web", "outside", Question(), hops)
    assert told.startswith("web may reach outside (icmp): it leaves with its own address")


def test_what_crosses_no_gateway_of_ours_is_kept_from_our_forwarding() -> None:
    guarded = Host(chains=ours(guard=Guard(ipv4=frozenset({WAN}))))
    found = walked("203.0.113.9", "172.17.0.2", by=WAN, host=guarded)
    assert who(found.hops) == "forwarding of ovsnet's networks alone"
    assert not walked("203.0.113.9", "10.3.0.2", by=WAN, host=guarded).ends
