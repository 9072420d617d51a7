"""A container's end made again in its namespace: what of it is as before, and what is kept."""

import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.sandbox import inner_links
from ovsdriver.domain.wires.plumbing import Tap, Veth
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.errors import UnavailableError
from tests.builders import OWNER, TAP, VETH
from tests.integration.conftest import PATIENCE_S
from tests.integration.netns import Sandbox, own_namespace, run
from tests.integration.taps import held_tap

pytestmark = pytest.mark.netns


class Container:
    """A container with one link; Docker, its people and vswitchd around it."""

    def __init__(self, sandbox: Sandbox, kernel: Kernel, kind: str) -> None:
        self.sandbox = sandbox
        self.path = sandbox.path
        self.link: Veth | Tap = VETH if kind == "veth" else TAP
        self.sandboxes = kernel.sandboxes
        self._links = kernel.links
        self._handle = -1

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    async def plug(self) -> None:
        """Do what Join does, or vswitchd after a restart."""
        if isinstance(self.link, Veth):
            await self._links.ensure_veth(self.link)
            return
        if self._handle < 0:
            self._handle = held_tap(self.link.name)
        await self._links.ensure_tap(self.link)

    def lose(self) -> None:
        """Delete the host's end, or kill vswitchd."""
        if isinstance(self.link, Veth):
            run("ip", "link", "del", self.link.host)
        else:
            os.close(self._handle)
            self._handle = -1

    async def start(self, *, ipv6: bool = True) -> None:
        """Do what Docker does with the link."""
        await self.plug()
        name = self.link.container if isinstance(self.link, Veth) else self.link.name
        run("ip", "link", "set", name, "netns", self.path)
        self.run("ip", "link", "set", name, "name", "eth0")
        if not ipv6:
            self.set("ipv6/conf/eth0/disable_ipv6", "1")
        self.run("ip", "addr", "add", "10.1.0.2/24", "dev", "eth0")
        if ipv6:
            self.run("ip", "addr", "add", "fd00:1::2/64", "dev", "eth0", "nodad")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", "10.1.0.1")
        if ipv6:
            self.run("ip", "-6", "route", "add", "default", "via", "fd00:1::1")

    def change(self) -> None:
        """Do what people with NET_ADMIN do."""
        for command in (
            "addr add 10.1.0.200/24 dev eth0 label eth0:two",
            "addr add 192.0.2.7/32 dev eth0",
            "addr add fd00:1::200/64 dev eth0 nodad",
            "route add 10.9.0.0/16 via 10.1.0.9 metric 7",
            "route add default via 10.1.0.8 table 77",
            "route add 198.51.100.0/24 dev eth0 src 192.0.2.7",
            "-6 route add fd00:9::/48 via fd00:1::9",
            "neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0",
            "neigh add fd00:1::9 lladdr 02:00:00:00:00:09 dev eth0",
        ):
            self.run("ip", *command.split())
        for name, value in (
            ("ipv4/conf/eth0/arp_ignore", "2"),
            ("ipv4/conf/eth0/proxy_arp", "1"),
            ("ipv6/conf/eth0/accept_ra", "0"),
            ("ipv4/neigh/eth0/ucast_solicit", "9"),
            ("ipv6/neigh/eth0/ucast_solicit", "8"),
        ):
            self.set(name, value)

    async def noted(self) -> SandboxLink:
        seen = await self.sandboxes.look(self.path, self.link)
        assert seen is not None
        assert seen.attached
        return seen.link

    async def restored(self, noted: SandboxLink) -> None:
        seen = await self.sandboxes.look(self.path, self.link, noted)
        if seen is None or not seen.attached:
            await self.plug()
        assert await self.sandboxes.restore(self.path, self.link, noted) == ()

    def run(self, *command: str, stdin: str | None = None) -> str:
        return self.sandbox.run(*command, stdin=stdin)

    def set(self, name: str, value: str) -> None:
        self.run("sh", "-c", f"echo {value} >/proc/sys/net/{name}")

    def sees(self) -> dict[str, Any]:
        """Return all that a container sees of its interface."""
        (link,) = self.sandbox.described("ip", "-json", "-details", "link", "show", "eth0")
        (held,) = self.sandbox.described("ip", "-json", "addr", "show", "eth0")
        folders = (
            f"/proc/sys/net/{family}/{kind}/eth0"
            for family in ("ipv4", "ipv6")
            for kind in ("conf", "neigh")
        )
        settings = self.sandbox.run("grep", "-rs", "", *folders, check=False)
        return {
            "link": {key: link[key] for key in ("ifindex", "address", "mtu", "flags")},
            "offload": self.run("ethtool", "-k", "eth0").splitlines()[1:4],
            "addresses": sorted(str(_steady(each)) for each in held["addr_info"]),
            "routes": sorted(
                str(_steady(each))
                for family in ("-4", "-6")
                for each in self.sandbox.described(
                    "ip", "-json", family, "route", "show", "table", "all"
                )
            ),
            "neighbours": sorted(
                str(each)
                for each in self.sandbox.described(
                    "ip", "-json", "neigh", "show", "nud", "permanent"
                )
            ),
            "settings": sorted(settings.splitlines()),
            "links": [each["ifname"] for each in self.sandbox.described("ip", "-json", "link")],
        }


def _steady(what: dict[str, Any]) -> dict[str, Any]:
    # a link-local address is asked for by ND for a moment
    return {key: value for key, value in what.items() if key != "tentative"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A namespace beside one of the test's own, as Docker's are beside the host's."""
    with own_namespace(), Sandbox() as made:
        yield made


@pytest.fixture
async def kernel(sandbox: Sandbox) -> AsyncIterator[Kernel]:
    made = Kernel(owner=OWNER, timeout_s=PATIENCE_S)
    yield made
    await made.close()


@pytest.fixture(params=["veth", "tap"])
def container(
    request: pytest.FixtureRequest, sandbox: Sandbox, kernel: Kernel
) -> Iterator[Container]:
    with closing(Container(sandbox, kernel, request.param)) as made:
        yield made


async def test_a_lost_link_is_made_again_as_it_was(container: Container) -> None:
    await container.start()
    container.change()
    before, noted = container.sees(), await container.noted()
    container.lose()
    await container.restored(noted)
    assert container.sees() == before
    assert await container.noted() == noted


async def test_a_container_without_ipv6_does_not_get_it(container: Container) -> None:
    await container.start(ipv6=False)
    before, noted = container.sees(), await container.noted()
    container.lose()
    await container.restored(noted)
    assert container.sees() == before
    assert "inet6" not in str(before["addresses"])


async def test_what_was_down_or_had_nothing_stays_so(container: Container) -> None:
    await container.start()
    container.run("ip", "link", "set", "eth0", "down")
    container.run("ip", "addr", "flush", "dev", "eth0")
    before, noted = container.sees(), await container.noted()
    container.lose()
    await container.restored(noted)
    assert container.sees() == before


STEPS = (
    *("delete_link", "move_link", "find_link_by_index", "change_link", "_put_settings"),
    *("host_places.put_addresses", "host_places.put_routes", "neighbour_messages.put"),
    "neighbours.announce",
)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_it_is_gone_on_with_wherever_it_was_cut_short(
    container: Container, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    await container.start()
    container.change()
    before, noted = container.sees(), await container.noted()
    container.lose()
    await container.plug()
    real = inner_links
    for part in step.split("."):
        real = getattr(real, part)
    cut: list[str] = []

    def killed(*args: Any, **kwargs: Any) -> Any:
        if after:
            result = real(*args, **kwargs)
            if step == "_put_settings":
                list(result)
        cut.append(step)
        raise OSError(errno.EINTR, "killed")

    with monkeypatch.context() as patch:
        patch.setattr(f"ovsdriver.adapters.kernel.sandbox.inner_links.{step}", killed)
        if step == "delete_link" and isinstance(container.link, Veth):
            await container.sandboxes.restore(container.path, container.link, noted)
            assert cut == []  # nothing was left to be deleted
        else:
            with pytest.raises(UnavailableError, match="killed"):
                await container.sandboxes.restore(container.path, container.link, noted)
            assert cut == [step]
    await container.restored(noted)
    assert container.sees() == before


async def test_a_pair_whose_host_end_was_renamed_is_replaced(
    sandbox: Sandbox, kernel: Kernel
) -> None:
    container = Container(sandbox, kernel, "veth")
    await container.start()
    before, noted = container.sees(), await container.noted()
    run("ip", "link", "set", VETH.host, "down", "name", "theirs")
    seen = await container.sandboxes.look(container.path, VETH, noted)
    assert seen is not None
    assert (seen.link, seen.attached) == (noted, False)
    await container.restored(noted)
    assert container.sees() == before
    assert "theirs" not in await kernel.links.links()


async def test_what_is_on_top_of_a_lost_link_is_made_again_too(container: Container) -> None:
    await container.start()
    for command in (
        "link add br0 type bridge",
        "link add link eth0 name mac0 address 02:00:00:00:00:77 mtu 1300 type macvlan mode bridge",
        "link add link mac0 name mac1 type macvlan mode private",
        "link set mac1 master br0",
        "link set mac0 up",
        "addr add 10.2.0.2/24 dev mac0",
        "route add 10.3.0.0/24 via 10.2.0.1",
        "link set mac1 up",
    ):
        container.run("ip", *command.split())
    container.set("ipv4/conf/mac0/proxy_arp", "1")

    def tops() -> dict[str, Any]:
        found = container.sandbox.described("ip", "-json", "-details", "link", "show")
        return {
            each["ifname"]: (
                *(each["ifindex"], each["address"], each["mtu"], each["flags"], each.get("master")),
                each["linkinfo"].get("info_data", {}).get("mode"),
                each.get("link"),
            )
            for each in found
            if each["ifname"].startswith("mac")
        }

    before, noted, above = container.sees(), await container.noted(), tops()
    assert len(above) == 2
    container.lose()
    await container.restored(noted)
    assert (tops(), container.sees()) == (above, before)
    assert await container.noted() == noted
    await container.restored(noted)
    assert await container.noted() == noted


async def test_a_port_of_a_bridge_in_its_container_is_one_again(container: Container) -> None:
    await container.start()
    container.run("ip", "link", "add", "br0", "type", "bridge")
    container.run("ip", "link", "set", "eth0", "master", "br0")
    noted = await container.noted()
    assert noted.master == "br0"
    container.lose()
    await container.restored(noted)
    assert await container.noted() == noted


async def test_what_the_kernel_does_not_take_is_said_and_the_rest_is_made(
    container: Container,
) -> None:
    await container.start()
    noted = await container.noted()
    container.lose()
    container.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    await container.plug()
    refused = await container.sandboxes.restore(container.path, container.link, noted)
    assert [each for each in refused if "fd00:1::2/64 on eth0" in each]
    again = await container.noted()
    assert [str(each.address) for each in again.held.addresses] == ["10.1.0.2/24"]
    assert [each.text for each in again.held.routes] == [noted.held.routes[0].text]


async def test_a_container_with_very_many_routes_is_noted_in_part(container: Container) -> None:
    await container.start()
    many = "\n".join(
        f"route add 10.{n // 256}.{n % 256}.0/24 via 10.1.0.9" for n in range(512, 4096)
    )
    container.run("ip", "-batch", "-", stdin=many)
    noted = await container.noted()
    assert noted.excess == "2585 of the 3586 routes of eth0"
    assert noted.held.routes[0].text.startswith("default via 10.1.0.1")
    assert noted.held.routes[1000].text.startswith("default via fd00:1::1")
    container.lose()
    await container.restored(noted)
    assert await container.noted() == replace(noted, held=replace(noted.held, more_routes=0))


async def test_a_thousand_routes_of_a_link_are_all_put_back_whatever_others_have(
    container: Container,
) -> None:
    await container.start()
    container.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
    container.run("ip", "link", "set", "eth1", "up")
    others = [f"route add 10.{n // 256}.{n % 256}.0/24 dev eth1" for n in range(512, 2560)]
    own = [f"route add 11.0.{n // 256}.{n % 256} via 10.1.0.9" for n in range(998)]
    container.run("ip", "-batch", "-", stdin="\n".join([*others, *own]))
    noted = await container.noted()
    assert (noted.excess, len(noted.held.routes)) == ("", 1000)
    container.lose()
    await container.restored(noted)
    assert await container.noted() == noted


async def test_an_index_that_is_taken_by_now_is_not_waited_for(container: Container) -> None:
    await container.start()
    noted = await container.noted()
    container.lose()
    container.run("ip", "link", "del", "eth0") if isinstance(container.link, Tap) else None
    container.run("ip", "link", "add", "other", "index", str(noted.index), "type", "bridge")
    await container.restored(noted)
    again = await container.noted()
    assert again.index != noted.index
    assert again.held.routes
    assert [each.text for each in again.held.routes] == [each.text for each in noted.held.routes]


async def test_a_socket_that_is_bound_to_the_interface_goes_on(
    sandbox: Sandbox, kernel: Kernel
) -> None:
    container = Container(sandbox, kernel, "veth")
    await container.start()

    def bound() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return made

    with closing(sandbox.call(bound)) as sender:
        noted = await container.noted()
        container.lose()
        with pytest.raises(OSError):  # noqa: PT011 - whatever it is
            sender.sendto(b"lost", ("10.1.0.255", 9))
        await container.restored(noted)
        with listening(VETH.host) as wire:
            sender.sendto(b"back again", ("10.1.0.255", 9))
            assert any(b"back again" in frame for frame in frames(wire, until=b"back again"))


async def test_what_comes_back_is_announced(sandbox: Sandbox, kernel: Kernel) -> None:
    container = Container(sandbox, kernel, "veth")
    await container.start()
    noted = await container.noted()
    container.lose()
    await container.plug()
    mac, v4, v6 = (
        VETH.mac.packed,
        bytes([10, 1, 0, 2]),
        socket.inet_pton(socket.AF_INET6, "fd00:1::2"),
    )
    with listening(VETH.host) as wire:
        await container.sandboxes.restore(container.path, VETH, noted)
        # an ARP request for one's own address; an advertisement that overrides
        arp = b"\xff" * 6 + mac + b"\x08\x06" + bytes.fromhex("0001080006040001") + mac + v4
        heard = frames(wire, until=bytes.fromhex("20000000") + v6)
        assert any(each.startswith(arp) for each in heard)
        assert any(bytes.fromhex("20000000") + v6 + b"\x02\x01" + mac in each for each in heard)


def listening(link: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind((link, 3))
    wire.settimeout(PATIENCE_S)
    return wire


def frames(wire: socket.socket, *, until: bytes) -> list[bytes]:
    """Return what arrives, up to the frame that ``until`` is in."""
    heard = [wire.recv(4096)]
    while until not in heard[-1]:
        heard.append(wire.recv(4096))
    return heard
