"""The netlink adapter against the kernel: what the contract cannot ask of a fake."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.adapters.kernel.reaper import DYING
from ovsdriver.adapters.kernel.sandbox.neighbours import Inquiry
from ovsdriver.adapters.kernel.veths import NEWBORN
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import Gateway, Veth
from ovsdriver.errors import UnavailableError, UnsupportedError
from tests.builders import a_network, a_subnet
from tests.integration.netns import Sandbox, described, own_namespace, run

pytestmark = pytest.mark.netns

OWNER = "ovsnet"
PATIENCE_S = 30
CONF = Path("/proc/sys/net")


def a_veth(number: int = 1) -> Veth:
    endpoint = EndpointId(f"{number:012x}".ljust(64, "0"))
    return Veth(
        host=names.host_link(endpoint),
        container=names.container_link(endpoint),
        mac=EUI(0x0A0F0A000000 + number),
        mtu=1400,
        tso_of="lo",  # no tap of a vswitchd with TSO
        alias=names.alias(OWNER, endpoint),
    )


def a_gateway(*, mtu: int = 1400, ipv6: bool = True) -> Gateway:
    subnets = (a_subnet(), a_subnet("fd00:1::/64", "fd00:1::1"))
    gateway = desired.gateway(a_network(subnets=subnets[: 1 + ipv6], mtu=mtu), owner=OWNER)
    assert gateway is not None
    return gateway


@pytest.fixture
def netns() -> Iterator[Sandbox]:
    with own_namespace() as here:
        yield here


@pytest.fixture
async def links(netns: Sandbox) -> AsyncIterator[KernelLinks]:
    kernel = Kernel(owner=OWNER, timeout_s=PATIENCE_S)
    yield kernel.links
    await kernel.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the kernel sends no event for it
            await asyncio.sleep(0.01)


def sysctl(key: str) -> int:
    return int((CONF / key).read_text())


def link(name: str) -> dict[str, object]:
    found: dict[str, object] = described("ip", "-json", "-details", "link", "show", name)[0]
    return found


def exists(name: str) -> bool:
    return name in [each["ifname"] for each in described("ip", "-json", "link", "show")]


async def test_a_pair_is_as_ip_shows_it(links: KernelLinks) -> None:
    veth = a_veth()

    await links.ensure_veth(veth)

    host, container = link(veth.host), link(veth.container)
    assert {"UP", "NOARP"} <= set(host["flags"])  # type: ignore[call-overload]
    assert "UP" not in container["flags"]  # type: ignore[operator]
    assert (host["ifalias"], host["group"], host["mtu"]) == (veth.alias, "default", 1400)
    assert (container["group"], container["mtu"]) == ("default", 1400)
    assert container["address"] == names.mac_text(veth.mac)
    assert (host["link"], container["link"]) == (veth.container, veth.host)


async def test_tx_offload_off_is_what_ethtool_makes_of_it(links: KernelLinks) -> None:
    run("ip", "link", "add", "plain0", "type", "veth", "peer", "name", "plain1")
    run("ethtool", "-K", "plain1", "tx", "off")

    await links.ensure_veth(a_veth())

    ours, theirs = (run("ethtool", "-k", each) for each in (a_veth().container, "plain1"))
    assert ours.splitlines()[1:] == theirs.splitlines()[1:]


async def test_a_pair_that_is_right_is_not_touched(links: KernelLinks) -> None:
    await links.ensure_veth(a_veth())
    before = links.changes

    await links.ensure_veth(a_veth())

    assert links.changes == before


async def test_a_pair_costs_two_netlink_requests_a_switch_and_an_offload(
    links: KernelLinks,
) -> None:
    await links.ensure_veth(a_veth())

    assert links.changes == 4


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(["ip", "link", "set", a_veth().host, "down"], id="host end down"),
        pytest.param(["ip", "link", "set", a_veth().host, "arp", "on"], id="ARP on"),
        pytest.param(["ip", "link", "set", a_veth().host, "mtu", "1500"], id="MTU"),
        pytest.param(["ip", "link", "set", a_veth().container, "mtu", "1000"], id="other MTU"),
        pytest.param(
            ["ip", "link", "set", a_veth().container, "address", "02:00:00:00:00:01"], id="MAC"
        ),
        pytest.param(["ip", "link", "set", a_veth().container, "name", "eth0"], id="name"),
        pytest.param(["ethtool", "-K", a_veth().container, "tx", "on"], id="offload"),
        pytest.param(["sysctl", "-qw", f"net.ipv6.conf.{a_veth().host}.disable_ipv6=0"], id="IPv6"),
        pytest.param(
            ["sysctl", "-qw", f"net.ipv4.conf.{a_veth().host}.rp_filter=0"], id="rp_filter"
        ),
    ],
)
async def test_what_was_changed_by_hand_is_put_right(links: KernelLinks, damage: list[str]) -> None:
    veth = a_veth()
    await links.ensure_veth(veth)
    intact = picture(veth)
    run(*damage)

    await links.ensure_veth(veth)

    assert picture(veth) == intact


def picture(veth: Veth) -> list[object]:
    parts = [
        {key: value for key, value in link(each).items() if key not in ("operstate", "ifindex")}
        for each in (veth.host, veth.container)
    ]
    return [
        *parts,
        run("ethtool", "-k", veth.container),
        sysctl(f"ipv6/conf/{veth.host}/disable_ipv6"),
        sysctl(f"ipv4/conf/{veth.host}/rp_filter"),
    ]


async def test_ipv6_stays_off_when_a_small_mtu_grows(links: KernelLinks) -> None:
    veth = a_veth()
    await links.ensure_veth(replace(veth, mtu=1000))
    assert not (CONF / "ipv6/conf" / veth.host).exists()

    await links.ensure_veth(veth)

    assert sysctl(f"ipv6/conf/{veth.host}/disable_ipv6") == 1


async def test_a_pair_that_a_crash_left_half_made_is_finished(links: KernelLinks) -> None:
    veth = a_veth()
    half_made(veth)

    await links.ensure_veth(veth)

    assert (link(veth.host)["ifalias"], link(veth.host)["group"]) == (veth.alias, "default")
    assert link(veth.container)["address"] == names.mac_text(veth.mac)


async def test_a_pair_that_a_crash_left_half_made_can_be_removed(links: KernelLinks) -> None:
    half_made(a_veth())

    assert await links.remove_link(a_veth().host) is True

    await until(lambda: not exists(a_veth().host))


def half_made(veth: Veth) -> None:
    """Do the first of the two requests that make a pair."""
    made = ("ip", "link", "add", "name", veth.host, "group", str(NEWBORN), "type", "veth")
    run(*made, "peer", "name", veth.container)


async def test_the_host_neither_answers_nor_speaks_on_its_end(
    links: KernelLinks, netns: Sandbox
) -> None:
    """An ordinary pair beside it shows that it would."""
    veth, address = a_veth(), IPAddress("192.0.2.1")
    run("ip", "addr", "add", f"{address}/32", "dev", "lo")
    await links.ensure_veth(veth)
    run("ip", "link", "add", "plain0", "type", "veth", "peer", "name", "plain1")
    with Sandbox() as container, Sandbox() as other:
        run("ip", "link", "set", veth.container, "netns", container.path)
        run("ip", "link", "set", "plain1", "netns", other.path)
        container.run("ip", "link", "set", veth.container, "up")
        other.run("ip", "link", "set", "plain1", "up")
        ears = (
            container.call(lambda: listener(veth.container)),
            other.call(lambda: listener("plain1")),
        )
        with ears[0], ears[1]:
            for host in (veth.host, "plain0"):  # what it says at the start shall be heard
                run("ip", "link", "set", host, "down")
                run("ip", "link", "set", host, "up")

            def ask(where: Sandbox, name: str) -> bool:
                inquiry = Inquiry(name, [address])
                where.call(lambda: inquiry.run(time.monotonic() + 3))
                return address in inquiry.found

            assert await asyncio.to_thread(ask, other, "plain1")
            assert not await asyncio.to_thread(ask, container, veth.container)
            plain, silent = str(link("plain0")["address"]), str(link(veth.host)["address"])
            spoken: set[str] = set()
            await until(lambda: plain in heard(ears[1], spoken))
            assert silent not in heard(ears[0], set())


def listener(name: str) -> socket.socket:
    """Open a socket that hears every frame on a link of the thread's namespace."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    made.bind((name, 0x0003))
    return made


def heard(ear: socket.socket, so_far: set[str]) -> set[str]:
    """Add who has sent IPv6 frames (reports, solicitations) since the last call."""
    while True:
        try:
            frame, origin = ear.recvfrom(2048)
        except BlockingIOError:
            return so_far
        if origin[2] != 4 and frame[12:14] == b"\x86\xdd":
            so_far.add(frame[6:12].hex(":"))


async def test_the_host_takes_no_ipv4_packet_on_its_end(links: KernelLinks, netns: Sandbox) -> None:
    """A container that knows the end's MAC sends to an address of the host, past the switch."""
    veth = a_veth()
    run("ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
    await links.ensure_veth(veth)
    run("ip", "link", "add", "plain0", "type", "veth", "peer", "name", "plain1")
    run("ip", "link", "set", "plain0", "up")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("192.0.2.1", 7777))
        service.setblocking(False)
        for number, (end, name) in enumerate(
            [(veth.host, veth.container), ("plain0", "plain1")], start=1
        ):
            with Sandbox() as container:
                run("ip", "link", "set", name, "netns", container.path)
                container.run("ip", "link", "set", name, "up")
                container.run("ip", "addr", "add", f"192.0.2.{10 + number}/24", "dev", name)
                mac = str(link(end)["address"])
                container.run("ip", "neigh", "add", "192.0.2.1", "lladdr", mac, "dev", name)
                await until(lambda end=end: link(end)["operstate"] == "UP")  # type: ignore[misc]
                sender = container.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                with sender:
                    sender.sendto(name.encode(), ("192.0.2.1", 7777))
        received = await asyncio.wait_for(
            asyncio.get_running_loop().sock_recv(service, 100), PATIENCE_S
        )

    assert received == b"plain1"


async def test_pairs_are_deleted_in_few_batches(links: KernelLinks) -> None:
    veths = [a_veth(number) for number in range(1, 41)]
    await asyncio.gather(*(links.ensure_veth(each) for each in veths))

    removed = await asyncio.gather(*(links.remove_link(each.host) for each in veths))

    assert all(removed)
    await until(lambda: [each["ifname"] for each in described("ip", "-json", "link")] == ["lo"])
    assert links.flushes <= len(veths) // 2


async def test_closing_deletes_what_is_marked(netns: Sandbox) -> None:
    kernel = Kernel(owner=OWNER)
    await kernel.links.ensure_veth(a_veth())
    await kernel.links.remove_link(a_veth().host)

    await kernel.close()

    assert not exists(a_veth().host)


async def test_what_an_earlier_daemon_marked_is_hidden_and_deleted(links: KernelLinks) -> None:
    await links.ensure_veth(a_veth())
    run("ip", "link", "set", a_veth().host, "group", str(DYING))

    assert a_veth().host not in await links.links()

    await until(lambda: not exists(a_veth().host))


async def test_a_pair_that_an_earlier_daemon_marked_is_made_anew(links: KernelLinks) -> None:
    await links.ensure_veth(a_veth())
    old = link(a_veth().host)["ifindex"]
    run("ip", "link", "set", a_veth().host, "group", str(DYING))

    await links.ensure_veth(a_veth())

    assert link(a_veth().host)["ifindex"] != old


async def test_many_pairs_come_and_go_at_once(links: KernelLinks) -> None:
    async def live(number: int) -> None:
        for _ in range(3):
            await links.ensure_veth(a_veth(number))
            assert await links.remove_link(a_veth(number).host) is True
        await links.ensure_veth(a_veth(number))

    await asyncio.gather(*(live(number) for number in range(1, 31)))

    found = await links.links()
    assert len([each for each in found.values() if each.alias]) == 30


async def test_a_refusal_is_in_the_kernels_words(links: KernelLinks) -> None:
    gateway = a_gateway(mtu=70000)
    run("ip", "tuntap", "add", "dev", gateway.port.name, "mode", "tap")

    with pytest.raises(
        UnavailableError, match=rf"gateway {gateway.port.name}: .*: mtu greater than device maximum"
    ):
        await links.ensure_gateway(gateway)


async def test_a_refused_pair_says_what_was_asked_for(links: KernelLinks) -> None:
    with pytest.raises(UnavailableError, match=r"ovh000000000001 \(MTU 70000\): Invalid argument"):
        await links.ensure_veth(replace(a_veth(), mtu=70000))


async def test_a_call_ends_in_time_when_the_thread_is_held_up(netns: Sandbox) -> None:
    kernel = Kernel(owner=OWNER, timeout_s=0.2)
    pipe = os.pipe()
    held = asyncio.create_task(kernel.links._netlink.ask("", lambda _: os.read(pipe[0], 1)))
    await asyncio.sleep(0)  # it comes first
    try:
        with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
            await kernel.links.links()
        with pytest.raises(UnavailableError):
            await held
    finally:
        os.write(pipe[1], b"x")
        await kernel.close()
        os.close(pipe[0])
        os.close(pipe[1])


async def test_a_gateways_switches_are_set(links: KernelLinks) -> None:
    gateway = a_gateway()
    name = gateway.port.name
    run("ip", "tuntap", "add", "dev", name, "mode", "tap")

    await links.ensure_gateway(gateway)

    ipv4 = {key: sysctl(f"ipv4/conf/{name}/{key}") for key in IPV4_SWITCHES}
    ipv6 = {key: sysctl(f"ipv6/conf/{name}/{key}") for key in IPV6_SWITCHES}
    assert ipv4 == IPV4_SWITCHES
    assert ipv6 == IPV6_SWITCHES


IPV4_SWITCHES = {
    "arp_ignore": 1,
    "arp_announce": 2,
    "rp_filter": 1,
    "accept_redirects": 0,
    "send_redirects": 0,
}
IPV6_SWITCHES = {
    "accept_ra": 0,
    "autoconf": 0,
    "accept_redirects": 0,
    "accept_dad": 0,
    "keep_addr_on_down": 1,
    "disable_ipv6": 0,
}


async def test_a_gateway_without_ipv6_has_none_at_all(links: KernelLinks) -> None:
    gateway = a_gateway(ipv6=False)
    run("ip", "tuntap", "add", "dev", gateway.port.name, "mode", "tap")

    await links.ensure_gateway(gateway)

    assert sysctl(f"ipv6/conf/{gateway.port.name}/disable_ipv6") == 1
    assert described("ip", "-json", "-6", "addr", "show", gateway.port.name) in ([], [{}])


async def test_a_gateway_that_is_right_is_not_touched(links: KernelLinks) -> None:
    gateway = a_gateway()
    run("ip", "tuntap", "add", "dev", gateway.port.name, "mode", "tap")
    await links.ensure_gateway(gateway)
    before = links.changes

    await links.ensure_gateway(gateway)

    assert links.changes == before


async def test_ipv6_addresses_of_a_gateway_survive_down_and_up(links: KernelLinks) -> None:
    gateway = a_gateway()
    name = gateway.port.name
    run("ip", "tuntap", "add", "dev", name, "mode", "tap")
    await links.ensure_gateway(gateway)

    run("ip", "link", "set", name, "down")
    run("ip", "link", "set", name, "up")

    assert IPNetwork("fd00:1::1/64") in (await links.links())[name].addresses


async def test_a_gateways_device_is_waited_for(links: KernelLinks) -> None:
    gateway = a_gateway()
    settling = asyncio.create_task(links.ensure_gateway(gateway))
    await links.links()  # the first look is over by then
    assert not settling.done()

    run("ip", "tuntap", "add", "dev", gateway.port.name, "mode", "tap")
    await settling

    assert (await links.links())[gateway.port.name].up


async def test_a_gateway_whose_device_never_comes_is_given_up(netns: Sandbox) -> None:
    kernel = Kernel(owner=OWNER, timeout_s=0.1)

    with pytest.raises(UnavailableError, match="ovs-vsctl list Interface"):
        await kernel.links.ensure_gateway(a_gateway())

    await kernel.close()


async def test_an_ipv6_gateway_with_too_small_an_mtu_is_refused(links: KernelLinks) -> None:
    gateway = a_gateway(mtu=1000)
    run("ip", "tuntap", "add", "dev", gateway.port.name, "mode", "tap")

    with pytest.raises(UnsupportedError, match="the MTU is 1000"):
        await links.ensure_gateway(gateway)


async def test_asking_on_a_link_that_is_down_says_so(links: KernelLinks) -> None:
    run("ip", "tuntap", "add", "dev", "tap0", "mode", "tap")

    with pytest.raises(UnavailableError, match=r"tap0 .*Network is down"):
        await links.neighbours("tap0", [IPAddress("192.0.2.1")], within_s=PATIENCE_S)


async def test_asking_leaves_no_trace_at_the_neighbour(links: KernelLinks) -> None:
    """A probe has no sender address, so nobody's neighbour table learns one."""
    veth = a_veth()
    await links.ensure_veth(veth)
    with Sandbox() as container:
        run("ip", "link", "set", veth.container, "netns", container.path)
        container.run("ip", "link", "set", veth.container, "up")
        container.run("ip", "addr", "add", "192.0.2.1/24", "dev", veth.container)
        container.run("ip", "addr", "add", "fd00::1/64", "dev", veth.container, "nodad")

        both = [IPAddress("192.0.2.1"), IPAddress("fd00::1")]
        found = await links.neighbours(veth.host, both, within_s=PATIENCE_S)
        assert found == dict.fromkeys(both, veth.mac)

        assert container.described("ip", "-json", "neigh", "show") == []


async def test_an_announcement_counts_as_an_answer(links: KernelLinks) -> None:
    """Someone that does not answer probes gives himself away by any ARP packet of his."""
    veth, address = a_veth(), IPAddress("192.0.2.9")
    await links.ensure_veth(veth)
    with Sandbox() as container:
        run("ip", "link", "set", veth.container, "netns", container.path)
        container.run("ip", "link", "set", veth.container, "up")
        mouth = container.call(lambda: listener(veth.container))
        mac = bytes.fromhex("020000000009")
        body = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, address.packed, b"", b"")
        asking = asyncio.create_task(links.neighbours(veth.host, [address], within_s=PATIENCE_S))
        with mouth:
            while not asking.done():
                mouth.send(b"\xff" * 6 + mac + b"\x08\x06" + body)
                await asyncio.sleep(0.05)

        assert await asking == {address: EUI("02:00:00:00:00:09")}


async def test_the_veth_is_switched_and_not_a_bridge_with_its_address(
    links: KernelLinks,
) -> None:
    veth = a_veth()
    await links.ensure_veth(replace(veth, tso_of=""))
    with Sandbox() as container:
        container.run("ip", "link", "add", "name", "br0", "type", "bridge")
        run("ip", "link", "set", veth.container, "netns", container.path)
        container.run("ip", "link", "set", "br0", "address", names.mac_text(veth.mac))

        assert await links.ensure_offload(container.path, veth.mac, tx=False) is True

        features = container.run("ethtool", "-k", veth.container)
        assert "\ntx-checksumming: off" in features
        assert "\ntx-checksumming: on" in container.run("ethtool", "-k", "br0")


async def test_both_links_are_switched_where_two_networks_gave_the_same_mac(
    links: KernelLinks,
) -> None:
    veths = [replace(a_veth(number), mac=a_veth(1).mac, tso_of="") for number in (1, 2)]
    with Sandbox() as container:
        for each in veths:
            await links.ensure_veth(each)
            run("ip", "link", "set", each.container, "netns", container.path)

        assert await links.ensure_offload(container.path, a_veth(1).mac, tx=False) is True

        for each in veths:
            features = container.run("ethtool", "-k", each.container)
            assert "\ntx-checksumming: off" in features


async def test_the_daemon_stays_in_its_namespace_after_a_visit(
    links: KernelLinks, netns: Sandbox
) -> None:
    await links.ensure_veth(a_veth())
    with Sandbox() as container:
        await links.ensure_offload(container.path, a_veth().mac, tx=False)

    assert os.stat("/proc/thread-self/ns/net").st_ino == os.stat(netns.path).st_ino  # noqa: PTH116
    assert a_veth().host in await links.links()
