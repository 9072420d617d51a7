"""Links on a real Open vSwitch in the userspace datapath: checksums, TSO, gateways."""

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import pytest
from netaddr import EUI, IPAddress

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import Gateway, Veth
from ovsdriver.errors import UnavailableError
from tests.builders import a_network, a_segment, a_subnet
from tests.integration.netns import Sandbox, described, inside
from tests.integration.ovs import PrivateOvs, private_ovs

pytestmark = [pytest.mark.netns, pytest.mark.ovs]

OWNER = "ovsnet"
PATIENCE_S = 30
TSO = "other_config:userspace-tso-enable"


@pytest.fixture
def ovs() -> Iterator[PrivateOvs]:
    """Without a running ovs-vswitchd; the test is in its namespace."""
    with private_ovs("lnk-", vswitchd=False) as made, inside(f"/run/netns/{made.namespace}"):
        yield made


@pytest.fixture
async def links(ovs: PrivateOvs) -> AsyncIterator[KernelLinks]:
    kernel = Kernel(owner=OWNER, timeout_s=PATIENCE_S)
    yield kernel.links
    await kernel.close()


def start(ovs: PrivateOvs, *, tso: bool) -> None:
    ovs.vsctl(
        "--no-wait", "--", "init", "--", "set", "Open_vSwitch", ".", f"{TSO}={str(tso).lower()}"
    )
    ovs.start_vswitchd()
    ovs.vsctl("--may-exist", "add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")


async def tso_once_held(links: KernelLinks, tap: str) -> bool:
    """Return what a vswitchd that was started again holds, once it does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await links.tso(tap)
            except UnavailableError:
                await asyncio.sleep(0.01)


async def test_tso_is_that_of_the_running_vswitchd(ovs: PrivateOvs, links: KernelLinks) -> None:
    """The bridge's tap is persistent: each vswitchd finds that of the one before."""
    start(ovs, tso=False)
    assert await links.tso("br0") is False
    index = described("ip", "-json", "link", "show", "br0")[0]["ifindex"]

    ovs.vsctl("set", "Open_vSwitch", ".", f"{TSO}=true")
    assert await links.tso("br0") is False  # the column speaks of the next start

    ovs.kill_vswitchd()
    with pytest.raises(UnavailableError, match="no process holds it"):
        await links.tso("br0")

    start(ovs, tso=True)
    assert await tso_once_held(links, "br0") is True

    ovs.kill_vswitchd(signal.SIGTERM)
    start(ovs, tso=False)
    assert await tso_once_held(links, "br0") is False
    assert described("ip", "-json", "link", "show", "br0")[0]["ifindex"] == index


async def test_tso_shows_on_internal_ports_too(ovs: PrivateOvs, links: KernelLinks) -> None:
    start(ovs, tso=True)
    ovs.vsctl("add-port", "br0", "gw0", "--", "set", "Interface", "gw0", "type=internal")

    assert await links.tso("gw0") is True


class Container:
    """A sandbox whose ``eth0`` is plugged into ``br0``."""

    def __init__(self, sandbox: Sandbox, number: int) -> None:
        self.sandbox = sandbox
        self.address = f"10.1.0.{number}"
        endpoint = EndpointId(f"{number:012x}".ljust(64, "0"))
        self.veth = Veth(
            host=names.host_link(endpoint),
            container=names.container_link(endpoint),
            mac=EUI(0x0A0F0A010000 + number),
            mtu=1500,
            alias=names.alias(OWNER, endpoint),
        )

    async def plug_in(self, links: KernelLinks, ovs: PrivateOvs) -> None:
        await links.ensure_veth(self.veth)
        ovs.vsctl("add-port", "br0", self.veth.host, "tag=7")
        ovs.ip("link", "set", self.veth.container, "netns", self.sandbox.path)
        for command in (
            f"link set {self.veth.container} name eth0",
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 up",
        ):
            self.sandbox.run("ip", *command.split())


@contextmanager
def server(where: Sandbox, address: str) -> Iterator[int]:
    """Answer one TCP connection at a time with all that it sent; the value is the port."""
    listening = where.call(lambda: socket.create_server((address, 0)))
    listening.settimeout(PATIENCE_S)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def tcp_works(client: Sandbox, address: str, port: int, timeout_s: float) -> bool:
    """Whether 200 kB make their way there and back."""
    sent = bytes(range(256)) * 800
    try:
        made = client.call(lambda: socket.create_connection((address, port), timeout_s))
    except TimeoutError:
        return False
    with closing(made):
        received = bytearray()
        sender = threading.Thread(target=made.sendall, args=(sent,))
        sender.start()
        while len(received) < len(sent):
            received += made.recv(1 << 16)
        sender.join()
    return bytes(received) == sent


def ping_works(client: Sandbox, address: str) -> bool:
    client.run("ping", "-c", "1", "-W", str(PATIENCE_S), address)
    return True


@pytest.fixture
def containers() -> Iterator[tuple[Container, Container]]:
    with ExitStack() as stack:
        first, second = (Container(stack.enter_context(Sandbox()), number) for number in (2, 3))
        yield first, second


async def test_without_tso_tcp_needs_checksums_from_the_container(
    ovs: PrivateOvs, links: KernelLinks, containers: tuple[Container, Container]
) -> None:
    """The reason for all of it, and the cure of running containers after TSO is gone."""
    start(ovs, tso=False)
    client, other = containers
    for each in containers:
        await each.plug_in(links, ovs)
    with server(other.sandbox, other.address) as port:
        assert ping_works(client.sandbox, other.address)
        assert not tcp_works(client.sandbox, other.address, port, 2)

        for each in containers:
            path, mac = each.sandbox.path, each.veth.mac
            assert await links.ensure_offload(path, mac, tx=False) is True

        assert tcp_works(client.sandbox, other.address, port, PATIENCE_S)


async def test_with_tso_tcp_works_either_way(
    ovs: PrivateOvs, links: KernelLinks, containers: tuple[Container, Container]
) -> None:
    start(ovs, tso=True)
    client, other = containers
    for each in containers:
        await each.plug_in(links, ovs)
    with server(other.sandbox, other.address) as port:
        assert tcp_works(client.sandbox, other.address, port, PATIENCE_S)

        await links.ensure_offload(client.sandbox.path, client.veth.mac, tx=False)

        assert tcp_works(client.sandbox, other.address, port, PATIENCE_S)


def a_gateway() -> Gateway:
    network = a_network(
        segment=a_segment("br0", 7), subnets=(a_subnet(), a_subnet("fd00:1::/64", "fd00:1::1"))
    )
    gateway = desired.gateway(network, owner=OWNER)
    assert gateway is not None
    return gateway


def add_gateway_port(ovs: PrivateOvs, gateway: Gateway) -> None:
    name, mac = gateway.port.name, gateway.port.mac
    assert mac is not None
    ovs.vsctl(
        "add-port",
        "br0",
        name,
        f"tag={gateway.port.tag}",
        "--",
        "set",
        "Interface",
        name,
        "type=internal",
        f"mtu_request={gateway.mtu}",
        f"mac={names.mac_text(mac).replace(':', chr(92) + ':')}",
    )


async def test_a_gateway_is_settled_as_soon_as_vswitchd_has_made_it(
    ovs: PrivateOvs, links: KernelLinks
) -> None:
    start(ovs, tso=False)
    gateway = a_gateway()

    settling = asyncio.create_task(links.ensure_gateway(gateway))
    await links.links()
    add_gateway_port(ovs, gateway)
    await settling

    found = (await links.links())[gateway.port.name]
    assert (found.up, found.mac) == (True, gateway.port.mac)
    assert set(map(str, gateway.addresses)) <= set(map(str, found.addresses))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_gateway_survives_a_restart_of_vswitchd(
    ovs: PrivateOvs,
    links: KernelLinks,
    containers: tuple[Container, Container],
    end: signal.Signals,
) -> None:
    start(ovs, tso=False)
    gateway = a_gateway()
    add_gateway_port(ovs, gateway)
    await links.ensure_gateway(gateway)
    container = containers[0]
    await container.plug_in(links, ovs)
    assert ping_works(container.sandbox, "10.1.0.1")
    settled = links.changes

    ovs.kill_vswitchd(end)
    start(ovs, tso=False)
    assert ping_works(container.sandbox, "10.1.0.1")
    await links.ensure_gateway(gateway)

    assert links.changes == settled


@pytest.mark.parametrize("family", [4, 6])
async def test_a_taken_gateway_address_is_found_before_it_is_ours(
    ovs: PrivateOvs,
    links: KernelLinks,
    containers: tuple[Container, Container],
    family: int,
) -> None:
    """As for ``nat`` on an adopted bridge: the port is up, and has no address yet."""
    start(ovs, tso=False)
    gateway = a_gateway()
    add_gateway_port(ovs, gateway)
    bare = Gateway(network=gateway.network, port=gateway.port, addresses=(), mtu=gateway.mtu)
    await links.ensure_gateway(bare)
    router = containers[0]
    await router.plug_in(links, ovs)
    router.sandbox.run("ip", "addr", "add", "fd00:1::1/64", "dev", "eth0", "nodad")
    held = {4: IPAddress(router.address), 6: IPAddress("fd00:1::1")}[family]
    free = {4: IPAddress("10.1.0.99"), 6: IPAddress("fd00:1::99")}[family]

    ask = partial(links.neighbours, gateway.port.name)
    assert await ask([held], within_s=PATIENCE_S) == {held: router.veth.mac}
    assert await ask([free], within_s=0.5) == {}
