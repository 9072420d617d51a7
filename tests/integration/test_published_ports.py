"""Published ports on a real kernel: who reaches what, and as whom he is seen."""

import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
from netaddr import IPAddress

from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.adapters.kernel.codec.conntrack import Conntrack
from ovsdriver.domain.records.model import Publication, Transport
from ovsdriver.domain.traffic.firewall import FirewallPlan
from tests.fakes.firewall import MemoryNotes
from tests.integration.netns import Sandbox, own_namespace, run
from tests.integration.routed_host import Behind, Place, RoutedHost, nft, sysctl

pytestmark = pytest.mark.netns

FAMILIES = (4, 6)
EVERYWHERE = {4: "0.0.0.0", 6: "::"}
WAIT_S = 5.0
SILENCE_S = 0.5


@pytest.fixture
def host() -> Iterator[RoutedHost]:
    with ExitStack() as stack:
        stack.enter_context(own_namespace())
        yield RoutedHost(stack)


@pytest.fixture
async def firewall(host: RoutedHost) -> AsyncIterator[HostFirewall]:
    made = HostFirewall(instance="ovsnet", notes=MemoryNotes())
    yield made
    await made.close()


def publication(
    place: Behind, host: str = "0.0.0.0", *, port: int = 8080, protocol: Transport = Transport.TCP
) -> Publication:
    address = IPAddress(host)
    return Publication(
        protocol=protocol,
        host=address,
        host_port=port,
        address=place.addresses[address.version].ip,
        port=80,
    )


def plan(
    *networks: Behind, published: tuple[Publication, ...], loopback: bool = True
) -> FirewallPlan:
    return FirewallPlan(
        gateways=tuple(replace(each.rules(), loopback=loopback) for each in networks),
        published=published,
    )


def listening(place: Behind, family: int = 4) -> socket.socket:
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
    made = place.sandbox.call(lambda: socket.create_server(("", 80), family=kind))
    made.settimeout(WAIT_S)
    return made


def connected(here: Sandbox | None, target: tuple[str, int]) -> socket.socket | None:
    """Connect from a namespace, ours or another; None if nobody answers."""

    def connect() -> socket.socket | None:
        try:
            return socket.create_connection(target, SILENCE_S)
        except OSError:
            return None

    return here.call(connect) if here is not None else connect()


def seen(here: Sandbox | None, target: str, server: socket.socket, port: int = 8080) -> str:
    """Return the address that the container sees; empty if nothing arrives."""
    near = connected(here, (target, port))
    if near is None:
        return ""
    with near:
        far, peer = server.accept()
        far.close()
        return str(peer[0])


@pytest.mark.parametrize("family", FAMILIES)
async def test_everybody_reaches_the_port_by_an_address_of_the_host(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    docker = host.docker_bridge()
    await firewall.ensure(plan(one, two, published=(publication(one, EVERYWHERE[family]),)))
    target, gateway = str(outside.gateway(family)), str(one.gateways[family])
    with closing(listening(one, family)) as server:
        assert seen(outside.sandbox, target, server) == str(outside.addresses[family].ip)
        assert seen(two.sandbox, target, server) == str(two.addresses[family].ip)
        assert seen(two.sandbox, gateway, server) == str(two.addresses[family].ip)
        assert seen(docker.sandbox, target, server) in ("", str(docker.addresses[family].ip))
        assert seen(None, target, server) == target
        assert seen(one.sandbox, target, server) == gateway
        assert seen(one.sandbox, gateway, server) == gateway
        if family == 4:
            assert seen(None, "127.0.0.1", server) == gateway
            assert seen(None, "127.9.9.9", server) == gateway
        assert connected(outside.sandbox, (str(one.addresses[family].ip), 80)) is None
        assert connected(outside.sandbox, (target, 8081)) is None
        await firewall.ensure(plan(one, two, published=()))
        assert connected(outside.sandbox, (target, 8080)) is None


async def test_more_exact_addresses_win_and_others_are_not_touched(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    far = host.uplink("wan1", number=2, default=False)
    target = str(outside.gateway(4))
    published = (publication(one), publication(two, target))
    await firewall.ensure(plan(one, two, published=published))
    with closing(listening(one)) as first, closing(listening(two)) as second:
        assert seen(outside.sandbox, target, second)
        assert seen(None, "127.0.0.1", first)
    # what is only passed on is not for this host
    elsewhere = far.sandbox.call(lambda: socket.create_server(("", 8080)))
    elsewhere.settimeout(WAIT_S)
    with closing(elsewhere):
        assert seen(one.sandbox, str(far.addresses[4].ip), elsewhere) == str(far.gateway(4))


def aims_at_loopback(place: Place, via: IPAddress) -> None:
    """Have somebody send what is for 127.0.0.1 to the host, as no honest one does."""
    place.sandbox.run("ip", "address", "del", "127.0.0.1/8", "dev", "lo")
    place.sandbox.run("ip", "route", "add", "127.0.0.0/8", "via", str(via))
    for setting in ("route_localnet=1", "rp_filter=0"):
        place.sandbox.run("sysctl", "-qw", f"net.ipv4.conf.eth0.{setting}")


async def test_a_port_of_127_0_0_1_is_not_reached_from_any_wire(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one = host.uplink(), host.network(1)
    await firewall.ensure(plan(one, published=(publication(one, "127.0.0.1"),)))
    aims_at_loopback(outside, outside.gateway(4))
    aims_at_loopback(one, one.gateways[4])
    with closing(listening(one)) as server, closing(socket.create_server(("127.0.0.1", 9))) as own:
        own.settimeout(SILENCE_S)
        assert seen(None, "127.0.0.1", server) == str(one.gateways[4])
        assert connected(outside.sandbox, ("127.0.0.1", 8080)) is None
        # nor do containers reach what listens on the host's own loopback
        assert sysctl(f"net/ipv4/conf/{one.link}/route_localnet") == "1"
        assert connected(one.sandbox, ("127.0.0.1", 8080)) is None
        assert connected(one.sandbox, ("127.0.0.1", 9)) is None
        # without the rule they would: so this test sees what it looks for
        nft("flush", "chain", "inet", "ovsnet", "loopback")
        for place, port in ((outside, 8080), (one, 9)):
            near = connected(place.sandbox, ("127.0.0.1", port))
            assert near is not None
            near.close()


async def test_the_switch_for_127_8_goes_back_with_the_last_port(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one, two = host.network(1), host.network(2)
    await firewall.ensure(plan(one, two, published=(), loopback=False))
    path = f"net/ipv4/conf/{one.link}/route_localnet"
    assert sysctl(path) == "0"
    both = plan(one, two, published=(publication(one),), loopback=False)
    wanted = replace(both, gateways=(replace(both.gateways[0], loopback=True), both.gateways[1]))
    assert await firewall.ensure(wanted)
    assert (sysctl(path), sysctl(f"net/ipv4/conf/{two.link}/route_localnet")) == ("1", "0")
    assert not await firewall.ensure(wanted)
    assert await firewall.ensure(plan(one, two, published=(), loopback=False))
    assert sysctl(path) == "0"


def datagrams(place: Behind) -> socket.socket:
    def opened() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("", 80))
        made.settimeout(SILENCE_S)
        return made

    return place.sandbox.call(opened)


def arrives(client: socket.socket, server: socket.socket) -> bool:
    """Whether a datagram of an open flow gets to a container."""
    try:
        client.send(b"more")
    except ConnectionRefusedError:
        client.send(b"more")
    try:
        return server.recv(10) == b"more"
    except TimeoutError:
        return False


async def test_a_flow_of_datagrams_follows_its_port(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    first, second = (publication(each, protocol=Transport.UDP) for each in (one, two))
    await firewall.ensure(plan(one, two, published=()))

    def flow() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect((str(outside.gateway(4)), 8080))
        return made

    with (
        closing(outside.sandbox.call(flow)) as client,
        closing(datagrams(one)) as at_one,
        closing(datagrams(two)) as at_two,
    ):
        assert not arrives(client, at_one)
        await firewall.ensure(plan(one, two, published=(first,)))
        assert not arrives(client, at_one), "the kernel remembers the flow as it was"
        await firewall.cut([first])
        assert arrives(client, at_one)
        await firewall.ensure(plan(one, two, published=(second,)))
        assert arrives(client, at_one), "it goes on past the new rules"
        await firewall.cut([first])
        assert not arrives(client, at_one)
        assert arrives(client, at_two)


async def test_only_the_connections_of_a_port_are_cut(
    host: RoutedHost, firewall: HostFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    target = str(outside.gateway(4))
    published = (publication(one), publication(two, port=8081))
    await firewall.ensure(plan(one, two, published=published))
    for few in (1 << 30, -1):  # all connections in one look, and each port by its own
        monkeypatch.setattr("ovsdriver.adapters.kernel.codec.conntrack._FEW", few)
        with closing(listening(one)) as first, closing(listening(two)) as second:
            ends = [connected(outside.sandbox, (target, port)) for port in (8080, 8081)]
            fars = [server.accept()[0] for server in (first, second)]
            with closing(Conntrack()) as conntrack:
                assert conntrack.cut([published[0]], [IPAddress(target)]) == 1
                assert conntrack.cut([published[0]], [IPAddress(target)]) == 0
            for each in (*ends, *fars):
                assert each is not None
                each.close()
    with closing(Conntrack()) as conntrack:
        # a port that is held for many, more than are asked for one by one
        many = [publication(one, port=port) for port in range(9000, 9100)]
        assert conntrack.cut(many, []) == 0


async def test_sctp_is_translated_as_well(host: RoutedHost, firewall: HostFirewall) -> None:
    """This kernel may lack SCTP's sockets; to translate it none is needed."""
    outside, one = host.uplink(), host.network(1)
    await firewall.ensure(plan(one, published=(publication(one, protocol=Transport.SCTP),)))

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
        made.settimeout(WAIT_S)
        return made

    with closing(one.sandbox.call(listen)) as server:
        with closing(outside.sandbox.call(listen)) as client:
            client.sendto(sctp_init(40000, 8080), (str(outside.gateway(4)), 0))
        packet = server.recv(2000)
        header = (packet[0] & 0xF) * 4
        assert struct.unpack_from(">HH", packet, header) == (40000, 80)
        assert socket.inet_ntoa(packet[12:16]) == str(outside.addresses[4].ip)


def sctp_init(source: int, destination: int) -> bytes:
    """Return an SCTP packet that begins an association (RFC 9260, section 3.3.2)."""
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
    header = struct.pack(">HHI", source, destination, 0)
    checksum = crc32c(header + bytes(4) + chunk)
    return header + struct.pack("<I", checksum) + chunk


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


async def test_one_port_more_is_written_as_just_that(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    """The table is not replaced while others' packets pass it, and 1,000 ports cost little."""
    one = host.network(1)
    ports = tuple(publication(one, port=port) for port in range(8000, 9000))
    await firewall.ensure(plan(one, published=ports))
    assert not await firewall.ensure(plan(one, published=ports))
    more = publication(one, port=9000)
    assert await firewall.ensure(plan(one, published=(*ports, more)))
    assert "tcp . 9000 : 10.66.1.2 . 80" in run("nft", "list", "table", "inet", "ovsnet")


@pytest.mark.parametrize("family", FAMILIES)
async def test_each_port_of_a_range_leads_to_its_own_and_a_range_is_one_element(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    target = str(outside.gateway(family))
    every = publication(one, EVERYWHERE[family], port=10000)
    same = replace(every, port=10000, count=10001)
    shifted = replace(every, host_port=79, port=79 - 10, count=21)
    single = replace(publication(two, target, port=15000), port=80)
    published = (same, replace(same, protocol=Transport.UDP), shifted, single)
    await firewall.ensure(plan(one, two, published=published))
    assert not await firewall.differs(plan(one, two, published=published))
    text = run("nft", "list", "table", "inet", "ovsnet")
    assert text.count("10000-20000") == 2
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]

    def answers(place: Behind, host_port: int, port: int) -> bool:
        with closing(place.sandbox.call(lambda: socket.create_server(("", port), family=kind))):
            made = connected(outside.sandbox, (target, host_port))
            if made is not None:
                made.close()
            return made is not None

    assert answers(one, 10000, 10000)
    assert answers(one, 20000, 20000)
    assert answers(one, 12345, 12345)
    assert not answers(one, 12345, 12346)
    assert not answers(one, 20001, 20001)
    assert answers(one, 90, 80)
    assert answers(two, 15000, 80)
    more = replace(same, host_port=30000, port=30000, count=5)
    assert await firewall.ensure(plan(one, two, published=(*published, more)))
    assert await firewall.ensure(plan(one, two, published=(more,)))
    assert not await firewall.differs(plan(one, two, published=(more,)))
    with closing(Conntrack()) as conntrack:
        assert conntrack.cut([same], [IPAddress(target)]) == 3
