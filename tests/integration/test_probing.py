"""``ipam.probe`` on a real switch: who is asked, who answers, and that the host does not."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from netaddr import EUI, IPAddress

from ipam import PoolId
from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.adapters.kernel.sandbox.neighbours import Inquiry
from ovsdriver.adapters.ovs.rows import OvsSwitch
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import Probe
from ovsdriver.errors import UnavailableError
from ovsdriver.service.aspects.addresses.probing import SegmentProber
from tests.builders import RED, a_network, a_segment, a_subnet
from tests.fakes.journal import FakeJournal
from tests.integration.netns import Sandbox, described, inside, own_namespace, run
from tests.integration.ovs import PrivateOvs, eventually, private_ovs, running_switch

pytestmark = [pytest.mark.netns, pytest.mark.ovs]

OWNER = "ovsnet"
PATIENCE_S = 30
POOLS = (PoolId("ovsnet/four"), PoolId("ovsnet/six"))
NETWORK = a_network(
    mode=Mode.FLAT,
    probe=True,
    segment=a_segment("br-lab", 30, adopted=True),
    subnets=(
        a_subnet("10.1.0.0/24", None, POOLS[0]),
        a_subnet("fd00:1::/64", None, POOLS[1]),
    ),
)
PROBE = names.probe_link(RED)
MACS = {30: EUI("02:00:00:00:00:30"), 31: EUI("02:00:00:00:00:31")}


def the_probe() -> Probe:
    probe = desired.probe(NETWORK, owner=OWNER)
    assert probe is not None
    return probe


@pytest.fixture
def ovs() -> Iterator[PrivateOvs]:
    """With somebody's bridge; the test is in its namespace."""
    with private_ovs("pr-") as made, inside(f"/run/netns/{made.namespace}"):
        made.vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
        yield made


@pytest.fixture
async def links(ovs: PrivateOvs) -> AsyncIterator[KernelLinks]:
    kernel = Kernel(owner=OWNER, timeout_s=PATIENCE_S)
    yield kernel.links
    await kernel.close()


@pytest.fixture
async def switch(ovs: PrivateOvs) -> AsyncIterator[OvsSwitch]:
    async with running_switch(ovs) as made:
        yield made


@pytest.fixture
async def port(switch: OvsSwitch, links: KernelLinks) -> Probe:
    """The port that the segment is asked from, made as a network's creation makes it."""
    probe = the_probe()
    await switch.ensure_port(probe.port)
    await links.ensure_probe(probe)
    return probe


@pytest.fixture
async def prober(tmp_path: Path, links: KernelLinks) -> AsyncIterator[SegmentProber]:
    database = await Database.open(tmp_path / "state.db")
    state = await SqliteState.load(database)
    await state.put_network(NETWORK)
    yield SegmentProber(owner=OWNER, state=state, links=links, journal=FakeJournal())
    await database.close()


@pytest.fixture
def squatters(ovs: PrivateOvs) -> Iterator[dict[int, Sandbox]]:
    """Two machines by VLAN: 30 has .2 and ::2, 31 has .2, .3, ::2 and ::3."""
    with ExitStack() as stack:
        made = {tag: stack.enter_context(Sandbox()) for tag in MACS}
        for tag, sandbox in made.items():
            ovs.ip("link", "add", f"lab{tag}", "type", "veth", "peer", "name", f"far{tag}")
            ovs.ip("link", "set", f"far{tag}", "netns", sandbox.path)
            ovs.ip("link", "set", f"lab{tag}", "up")
            ovs.vsctl("add-port", "br-lab", f"lab{tag}", f"tag={tag}")
            mac = names.mac_text(MACS[tag])
            sandbox.run("ip", "link", "set", f"far{tag}", "name", "eth0", "address", mac, "up")
            sandbox.run("ethtool", "-K", "eth0", "tx", "off")  # or datagrams lack checksums
            for last in (2, 3)[: tag - 29]:
                sandbox.run("ip", "addr", "add", f"10.1.0.{last}/24", "dev", "eth0")
                sandbox.run("ip", "addr", "add", f"fd00:1::{last}/64", "dev", "eth0", "nodad")
        yield made


@pytest.mark.parametrize(("pool", "prefix"), [(POOLS[0], "10.1.0."), (POOLS[1], "fd00:1::")])
async def test_only_who_is_on_the_networks_own_vlan_answers(
    prober: SegmentProber, port: Probe, squatters: dict[int, Sandbox], pool: PoolId, prefix: str
) -> None:
    asked = [IPAddress(f"{prefix}{last}") for last in (2, 3, 4)]

    found = await prober.claimed(pool, asked, within_s=2)

    assert found == {asked[0]: names.mac_text(MACS[30])}


async def test_a_question_is_not_answered_by_the_port_itself(
    prober: SegmentProber, port: Probe, ovs: PrivateOvs
) -> None:
    """Not even for an address that the host has elsewhere."""
    ovs.ip("addr", "add", "10.1.0.9/32", "dev", "lo")

    assert await prober.claimed(POOLS[0], [IPAddress("10.1.0.9")], within_s=0.3) == {}


async def test_a_segment_whose_port_is_gone_is_nobodys_and_no_error(
    prober: SegmentProber, squatters: dict[int, Sandbox], caplog: pytest.LogCaptureFixture
) -> None:
    assert await prober.claimed(POOLS[0], [IPAddress("10.1.0.2")], within_s=2) == {}
    assert [each.levelname for each in caplog.records if each.msg == "ipam.probe-failed"] == [
        "WARNING"
    ]


async def test_the_host_is_not_to_be_met_on_the_port(
    port: Probe, links: KernelLinks, ovs: PrivateOvs, squatters: dict[int, Sandbox]
) -> None:
    """Not even by who knows the port's MAC, and one of the host's other addresses."""
    mac, there = names.mac_text(port.port.mac), squatters[30]
    for address in HOST:
        ovs.ip("addr", "add", address, "dev", "lo")
        there.run("ip", "route", "add", address, "dev", "eth0")
        there.run("ip", "neigh", "add", address, "lladdr", mac, "dev", "eth0")
    with listening_host() as ears:
        assert hears(there, ears) == []

        # As vswitchd makes such a port, the host is there: the test can tell.
        write_setting(f"ipv4/conf/{PROBE}/rp_filter", "0")
        write_setting(f"ipv6/conf/{PROBE}/disable_ipv6", "0")
        assert await eventually(lambda: len(hears(there, ears)) == 2, "the host hears")
        await links.ensure_probe(port)
        assert hears(there, ears) == []
    (shown,) = described("ip", "-json", "link", "show", PROBE)
    assert "NOARP" in shown["flags"]


HOST = ["192.0.2.1", "2001:db8::1"]


@contextmanager
def listening_host() -> Iterator[list[socket.socket]]:
    """Listen on every address of the host, for datagrams of both families."""
    with ExitStack() as stack:
        ears = [
            stack.enter_context(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            for family in (socket.AF_INET, socket.AF_INET6)
        ]
        ears[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for ear, everywhere in zip(ears, ("0.0.0.0", "::"), strict=True):
            ear.bind((everywhere, 5000))
        yield ears


def hears(there: Sandbox, ears: list[socket.socket]) -> list[str]:
    """Send to each address of the host, and return at which it came in within a moment."""

    def send() -> None:
        for family, address in zip((socket.AF_INET, socket.AF_INET6), HOST, strict=True):
            with socket.socket(family, socket.SOCK_DGRAM) as mouth:
                mouth.sendto(b"hello", (address, 5000))

    there.call(send)
    time.sleep(0.3)
    return [address for ear, address in zip(ears, HOST, strict=True) if drained(ear)]


def drained(ear: socket.socket) -> bool:
    """Whether anything has come in."""
    came = False
    while True:
        try:
            ear.recv(2048)
        except BlockingIOError:
            return came
        came = True


def write_setting(key: str, value: str) -> None:
    run("sh", "-c", f"echo {value} >/proc/sys/net/{key}")


async def test_the_port_says_nothing_by_itself(
    switch: OvsSwitch, links: KernelLinks, squatters: dict[int, Sandbox]
) -> None:
    with squatters[30].call(lambda: listener("eth0")) as ear:
        probe = the_probe()
        await switch.ensure_port(probe.port)
        await links.ensure_probe(probe)
        await links.neighbours(PROBE, [IPAddress("10.1.0.99")], within_s=0.3)

        mac = probe.port.mac
        assert mac is not None
        heard = [frame for frame in frames(ear) if frame[6:12] == mac.packed]

    assert [frame[12:14] for frame in heard] == [b"\x08\x06"] * 3


async def test_a_port_that_is_right_is_not_touched(port: Probe, links: KernelLinks) -> None:
    before = links.changes

    await links.ensure_probe(port)

    assert links.changes == before


async def test_the_port_is_an_access_port_with_our_mark(port: Probe, ovs: PrivateOvs) -> None:
    assert ovs.vsctl("get", "Port", PROBE, "tag", "vlan_mode").split() == ["30", "access"]
    assert ovs.vsctl("get", "Port", PROBE, "external_ids:ovsnet-purpose").strip() == "probe"


def listener(name: str) -> socket.socket:
    """Open a socket that hears every frame on a link of the thread's namespace."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    made.bind((name, 0x0003))
    return made


def frames(ear: socket.socket) -> list[bytes]:
    """Return what came in, without what was sent from there."""
    found = []
    while True:
        try:
            frame, origin = ear.recvfrom(2048)
        except BlockingIOError:
            return found
        if origin[2] != 4:
            found.append(frame)


class Questions:
    """A link whose other end we hold: what is asked there, and who answers."""

    def __init__(self, far: Sandbox) -> None:
        run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
        run("ip", "link", "set", "far", "netns", far.path)
        far.run("ip", "link", "set", "far", "up", "arp", "off")
        far.run("sysctl", "-qw", "net.ipv6.conf.far.disable_ipv6=1")
        run("ip", "link", "set", "near", "up", "arp", "off")
        run("sysctl", "-qw", "net.ipv6.conf.near.disable_ipv6=1")
        self.ear = far.call(lambda: listener("far"))

    def asked(self) -> list[str]:
        """Return the addresses that were asked for since the last call, by ARP or ND."""
        return [
            str(
                IPAddress(int.from_bytes(frame[38:42], "big"), 4)
                if frame[12:14] == b"\x08\x06"
                else IPAddress(int.from_bytes(frame[62:78], "big"), 6)
            )
            for frame in frames(self.ear)
        ]


@pytest.fixture
def questions() -> Iterator[Questions]:
    with own_namespace(), Sandbox() as far:
        made = Questions(far)
        with made.ear:
            yield made


def inquire(addresses: list[str], within_s: float) -> Inquiry:
    inquiry = Inquiry("near", map(IPAddress, addresses))
    inquiry.run(time.monotonic() + within_s)
    return inquiry


def test_every_address_is_asked_for_three_times(questions: Questions) -> None:
    addresses = [f"10.1.0.{last}" for last in range(2, 9)] + ["fd00:1::2", "fd00:1::3"]

    assert inquire(addresses, 0.3).found == {}

    assert sorted(questions.asked()) == sorted(addresses * 3)


async def test_who_has_answered_is_not_asked_again(questions: Questions) -> None:
    asking = asyncio.create_task(asyncio.to_thread(inquire, ["10.1.0.2", "10.1.0.3"], 3))
    heard: list[str] = []

    def both() -> bool:
        heard.extend(questions.asked())
        return len(heard) == 2

    await eventually(both, "both are asked for")
    mac = MACS[30].packed
    body = struct.pack("!HHBBH6s4s", 1, 0x0800, 6, 4, 2, mac, IPAddress("10.1.0.2").packed)
    questions.ear.send(b"\xff" * 6 + mac + b"\x08\x06" + body + bytes(10))

    assert (await asking).found == {IPAddress("10.1.0.2"): mac}

    assert sorted(heard + questions.asked()) == ["10.1.0.2", *["10.1.0.3"] * 3]


async def test_an_inquiry_ends_when_everybody_has_answered(questions: Questions) -> None:
    addresses = [IPAddress("10.1.0.2"), IPAddress("10.1.0.2")]
    inquiry = Inquiry("near", addresses)
    asking = asyncio.create_task(asyncio.to_thread(inquiry.run, time.monotonic() + 3600))
    await eventually(questions.asked, "it asks")
    mac = MACS[30].packed
    body = struct.pack("!HHBBH6s4s", 1, 0x0800, 6, 4, 2, mac, addresses[0].packed)
    questions.ear.send(b"\xff" * 6 + mac + b"\x08\x06" + body + bytes(10))

    async with asyncio.timeout(PATIENCE_S):
        await asking

    assert inquiry.found == {addresses[0]: mac}


async def test_who_cannot_ask_in_time_is_told_so_in_time(questions: Questions) -> None:
    kernel = Kernel(owner=OWNER)
    links = kernel.links
    asking = [
        asyncio.create_task(links.neighbours("near", [IPAddress("10.1.0.2")], within_s=2))
        for _ in range(64)
    ]
    await asyncio.sleep(0)  # they come first

    with pytest.raises(UnavailableError, match=r"could not be asked within 0\.1 s"):
        await links.neighbours("near", [IPAddress("10.1.0.3")], within_s=0.1)

    for each in asking:
        assert await each == {}
    assert set(questions.asked()) == {"10.1.0.2"}
    await kernel.close()
