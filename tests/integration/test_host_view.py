"""What a trace asks of a real kernel: routes as packets meet them, rules as they stand."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.firewall import nft_rules, ruleset
from ovsdriver.adapters.firewall.nft import Nft
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.host.host_view import LiveHost
from ovsdriver.adapters.kernel.sandbox import sandbox_view
from ovsdriver.domain.records.model import Mode, NetworkId, Publication, Transport
from ovsdriver.domain.tracing.hops import Question, Verdict
from ovsdriver.domain.tracing.host_view import RouteFault
from ovsdriver.domain.tracing.lay import Home, Lay
from ovsdriver.domain.tracing.walk import first_packet, through
from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules, HostNetwork
from tests.integration.netns import Sandbox, described, own_namespace, run

pytestmark = pytest.mark.netns

GATEWAY = "ovg000000000001"
RULES = GatewayRules(
    network=NetworkId("1" * 64),
    link=GATEWAY,
    mode=Mode.NAT,
    subnets=(IPNetwork("10.1.0.0/24"), IPNetwork("fd00:1::/64")),
    held=(IPAddress("10.1.0.1"), IPAddress("fd00:1::1")),
)
PORT = Publication(
    protocol=Transport.TCP,
    host=IPAddress("0.0.0.0"),
    host_port=8080,
    address=IPAddress("10.1.0.2"),
    port=80,
)
SPAN = Publication(
    protocol=Transport.UDP,
    host=IPAddress("192.0.2.1"),
    host_port=5000,
    address=IPAddress("10.1.0.2"),
    port=5000,
    count=100,
)
PLAN = FirewallPlan(gateways=(RULES,), published=(PORT, SPAN))
LAY = Lay(homes={GATEWAY: Home(name="lab", rules=RULES)}, containers={PORT.address: "web"})
FAR = IPAddress("198.51.100.9")


@pytest.fixture
def host() -> Iterator[Sandbox]:
    with own_namespace() as here:
        run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv4.ip_forward=1")
        for link, *own in (
            ("eth0", "192.0.2.1/24", "2001:db8::1/64"),
            (GATEWAY, "10.1.0.1/24", "fd00:1::1/64"),
        ):
            run("ip", "link", "add", link, "type", "veth", "peer", "name", f"{link[:11]}p")
            run("ip", "link", "set", f"{link[:11]}p", "up")
            run("ip", "link", "set", link, "up")
            for address in own:
                run("ip", "address", "add", address, "dev", link)
        run("ip", "route", "add", "default", "via", "192.0.2.254")
        run("ip", "-6", "route", "add", "default", "via", "2001:db8::fe")
        yield here


@pytest.fixture
def view(host: Sandbox) -> Iterator[LiveHost]:
    with closing(RouteSocket()) as routes:
        yield LiveHost(routes, ())


def test_links_and_addresses_are_the_kernels(view: LiveHost) -> None:
    assert view.is_local(IPAddress("10.1.0.1"))
    assert view.is_local(IPAddress("127.0.0.1"))
    assert not view.is_local(FAR)
    assert view.holder(IPAddress("fd00:1::1")) == GATEWAY
    assert view.holder(FAR) == ""
    assert view.has("eth0", IPAddress("192.0.2.1"))
    assert not view.has(GATEWAY, IPAddress("192.0.2.1"))
    assert view.first("eth0", 6) == IPAddress("2001:db8::1")
    assert (view.kind("eth0"), view.mtu("eth0"), view.up("eth0")) == ("veth", 1500, True)
    assert (view.kind("none"), view.mtu("none"), view.up("none")) == ("", 0, False)
    assert len(view.mac("eth0").split(":")) == 6


@pytest.mark.parametrize(
    ("target", "gateway", "source"),
    [
        ("198.51.100.9", "192.0.2.254", "192.0.2.1"),
        ("2001:db8:9::9", "2001:db8::fe", "2001:db8::1"),
    ],
)
def test_the_kernel_is_asked_where_a_packet_goes(
    view: LiveHost, target: str, gateway: str, source: str
) -> None:
    sent = view.route(IPAddress(target))
    assert (sent.link, str(sent.gateway), str(sent.source)) == ("eth0", gateway, source)
    inner = IPAddress("10.1.0.2" if sent.gateway.version == 4 else "fd00:1::2")
    came = view.route(IPAddress(target), source=inner, incoming=GATEWAY)
    assert (came.link, came.fault) == ("eth0", RouteFault.NONE)
    assert view.returns(inner, GATEWAY)
    assert not view.returns(inner, "eth0")
    assert not view.returns(IPAddress(target), GATEWAY)


def test_why_a_packet_goes_nowhere_is_the_kernels_word(view: LiveHost) -> None:
    inner = IPAddress("10.1.0.2")
    for number, kind in enumerate(("blackhole", "unreachable", "prohibit"), start=1):
        run("ip", "route", "add", kind, f"203.0.113.{number}")
        run("ip", "-6", "route", "add", kind, f"2001:db8:7::{number}")
        four, six = IPAddress(f"203.0.113.{number}"), IPAddress(f"2001:db8:7::{number}")
        assert view.route(four).fault is RouteFault.REFUSED
        assert view.route(six).fault is not RouteFault.NONE
        assert view.route(four, source=inner, incoming=GATEWAY).fault is RouteFault.REFUSED
    run("sysctl", "-qw", f"net.ipv4.conf.{GATEWAY}.rp_filter=1")
    stranger = IPAddress("192.0.2.77")
    assert view.route(FAR, source=stranger, incoming=GATEWAY).fault is RouteFault.FILTERED
    run("ip", "route", "del", "default")
    assert view.route(FAR).fault is RouteFault.NO_ROUTE
    assert view.route(FAR, source=inner, incoming=GATEWAY).fault is RouteFault.NO_ROUTE


def test_forwarding_is_that_of_the_link_it_comes_in_by(view: LiveHost) -> None:
    assert view.not_forwarding(GATEWAY, 4) == ""
    run("sysctl", "-qw", f"net.ipv4.conf.{GATEWAY}.forwarding=0")
    assert view.not_forwarding(GATEWAY, 4) == f"net.ipv4.conf.{GATEWAY}.forwarding"
    assert view.not_forwarding("eth0", 4) == ""
    assert view.not_forwarding("eth0", 6) == "net.ipv6.conf.all.forwarding"
    run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    assert view.not_forwarding("eth0", 6) == ""


async def test_rules_that_stand_are_walked_as_those_that_should(host: Sandbox) -> None:
    objects = nft_rules.render(PLAN, table="ovsnet")
    nft = Nft()
    nft.run([{"add": {"table": {"family": "inet", "name": "ovsnet"}}}])
    nft.run([{"add": each} for each in objects])
    nft.close()
    wanted = ruleset.wanted(PLAN, HostNetwork(), table="ovsnet")
    standing = await ruleset.standing()
    with closing(RouteSocket()) as routes:
        view = LiveHost(routes, standing)
        for source, target, asked, incoming in (
            ("10.1.0.2", str(FAR), Question(), GATEWAY),
            ("10.1.0.9", str(FAR), Question(protocol="tcp", port=80), GATEWAY),
            ("192.0.2.77", str(FAR), Question(), GATEWAY),
            ("10.1.0.2", "192.0.2.1", Question(protocol="udp", port=53), GATEWAY),
            (str(FAR), "192.0.2.1", Question(protocol="tcp", port=8080), "eth0"),
            (str(FAR), "192.0.2.1", Question(protocol="udp", port=5050), "eth0"),
            (str(FAR), "10.1.0.2", Question(), "eth0"),
        ):
            packet = first_packet(IPAddress(source), IPAddress(target), asked, incoming=incoming)
            found, meant = (through(view, each, LAY, packet) for each in (standing, wanted))
            assert found == meant
        assert through(view, standing, LAY, packet).ends
        packet = first_packet(FAR, IPAddress("192.0.2.1"), Question(protocol="udp", port=5050))
        led = through(view, standing, LAY, packet)
        assert (str(led.destination), led.port) == ("10.1.0.2", 5050)


async def test_rules_of_others_are_read_from_every_table(host: Sandbox) -> None:
    run("nft", "add", "table", "ip", "mine")
    run("nft", "add", "chain", "ip", "mine", "on", "{ type filter hook forward priority 7; }")
    run("nft", "add", "set", "ip", "mine", "bad", "{ type ipv4_addr; flags interval; }")
    run("nft", "add", "element", "ip", "mine", "bad", "{ 198.51.100.0/24, 203.0.113.5 }")
    run("nft", "add", "rule", "ip", "mine", "on", "ip daddr @bad tcp dport 25 reject")
    standing = await ruleset.standing()
    with closing(RouteSocket()) as routes:
        view = LiveHost(routes, standing)

        def stops(target: str, asked: Question) -> bool:
            inner = IPAddress("10.1.0.2")
            packet = first_packet(inner, IPAddress(target), asked, incoming=GATEWAY)
            hops = through(view, standing, LAY, packet).hops
            return any(each.verdict is Verdict.STOP for each in hops)

        mail = Question(protocol="tcp", port=25)
        assert stops("198.51.100.9", mail)
        assert not stops("198.51.100.9", Question(protocol="tcp", port=26))
        assert not stops("198.51.100.9", Question())
        assert not stops("203.0.113.4", mail)


def test_a_container_is_looked_into_by_its_own_routes(host: Sandbox) -> None:
    with Sandbox() as box:
        run("ip", "link", "add", "c1", "type", "veth", "peer", "name", "c1h")
        (link,) = described("ip", "-json", "link", "show", "c1")
        mac = EUI(link["address"])
        run("ip", "link", "set", "c1", "netns", box.path)
        run("ip", "link", "set", "c1h", "up")
        box.run("ip", "link", "set", "lo", "up")
        box.run("ip", "link", "set", "c1", "up", "mtu", "1400")
        box.run("ip", "address", "add", "10.1.0.2/24", "dev", "c1")
        box.run("ip", "route", "add", "default", "via", "10.1.0.1")
        seen = sandbox_view.look(box.path, mac, FAR, Question(protocol="udp", port=53))
        assert seen is not None
        assert (str(seen.way), str(seen.via), str(seen.source)) == (
            "0.0.0.0/0",
            "10.1.0.1",
            "10.1.0.2",
        )
        assert (seen.up, seen.through_this, seen.mtu, seen.listens) == (True, True, 1400, False)
        near = sandbox_view.look(box.path, mac, IPAddress("10.1.0.3"), Question())
        assert near is not None
        assert (str(near.way), near.via) == ("10.1.0.0/24", None)
        box.run("ip", "route", "del", "default")
        lost = sandbox_view.look(box.path, mac, FAR, Question())
        assert lost is not None
        assert lost.way is None
        assert sandbox_view.has_resolver(box.path, IPAddress("127.0.0.11")) is False
    assert sandbox_view.look("/nowhere", EUI("02:00:00:00:00:01"), FAR, Question()) is None
    assert sandbox_view.has_resolver("/nowhere", IPAddress("127.0.0.11")) is None
