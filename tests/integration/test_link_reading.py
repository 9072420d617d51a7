"""Links, addresses and routes as read from netlink, against what ``ip`` and pyroute2 read."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from netaddr import EUI, IPNetwork
from pyroute2 import IPRoute

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.domain.records import names
from ovsdriver.domain.wires.observed import RouteKind
from ovsdriver.ports import Route
from tests.integration.netns import Sandbox, described, own_namespace, run

pytestmark = pytest.mark.netns

ANYWHERE = [IPNetwork("0.0.0.0/0"), IPNetwork("::/0")]
DEFAULTS = ("0.0.0.0/0", "::/0")
FOREIGN_ALIAS = 'Türe 3, "links"'


@pytest.fixture
def netns() -> Iterator[Sandbox]:
    """A host with all kinds of links, addresses and routes."""
    with own_namespace() as here, Sandbox() as container:
        for command in (
            "link add name lan type bridge",
            "link add name veth-here type veth peer name veth-too",
            "link add name veth-home type veth peer name veth-gone",
            f"link set veth-gone netns {container.path}",
            "tuntap add dev tap0 mode tap",
            "tuntap add dev tun0 mode tun",
            "link add name port7 link veth-here type macvlan",
            "link set lan mtu 1300",
            *(f"link set {each} up" for each in ("lan", "veth-here", "veth-too", "tun0")),
            "addr add 10.1.0.1/24 dev lan",
            "addr add 10.1.0.9/24 dev lan",
            "addr add 169.254.7.7/16 dev lan scope link",
            "addr add fd00:1::1/64 dev lan nodad",
            "addr add 10.8.0.1 peer 10.8.0.2/32 dev tun0",
            "route add 192.0.2.0/24 via 10.1.0.254",
            "route add default via 10.1.0.253 metric 50",
            "route add default via 10.1.0.252 table 1000",
            "route add 198.51.100.0/24 nexthop via 10.1.0.7 nexthop dev veth-here",
            "route add 203.0.113.0/24 via inet6 fd00:1::9 dev lan",
            "route add blackhole 10.66.0.0/16",
            "-6 route add unreachable fd66::/16",
            "-6 route add fd00:2::/64 via fd00:1::2",
            "-6 route add fd00:3::/64 nexthop via fd00:1::3 nexthop via fd00:1::4",
            "-6 route add default via fd00:1::fe",
        ):
            run("ip", *command.split())
        run("ip", "link", "set", "veth-too", "alias", FOREIGN_ALIAS)
        yield here


@pytest.fixture
async def links(netns: Sandbox) -> AsyncIterator[KernelLinks]:
    kernel = Kernel(owner="ovsnet")
    yield kernel.links
    await kernel.close()


async def test_links_are_read_as_ip_reads_them(links: KernelLinks) -> None:
    found = await links.links()

    shown = described("ip", "-json", "-details", "link", "show")
    assert {
        name: (each.index, each.mtu, each.kind, each.up, each.alias, each.mac)
        for name, each in found.items()
    } == {
        each["ifname"]: (
            each["ifindex"],
            each["mtu"],
            each.get("linkinfo", {}).get("info_kind", ""),
            "UP" in each["flags"],
            each.get("ifalias", ""),
            ethernet(each.get("address", "")),
        )
        for each in shown
    }
    assert found["veth-too"].alias == FOREIGN_ALIAS


def ethernet(address: str) -> EUI | None:
    return EUI(address) if address.count(":") == 5 else None


async def test_links_are_read_as_pyroute2_reads_them(links: KernelLinks) -> None:
    found = await links.links()

    def ask() -> list[Any]:
        with IPRoute() as oracle:
            return list(oracle.link("dump"))

    # IPRoute drives a loop of its own, so not on this thread; a new thread is in the namespace
    shown = {each.get("ifname"): each for each in await asyncio.to_thread(ask)}
    assert found.keys() == shown.keys()
    for name, each in found.items():
        other = shown[name]
        info = other.get("linkinfo")
        assert (each.index, each.mtu) == (other["index"], other.get("mtu"))
        assert each.kind == (info.get("kind") if info else "")
        assert each.peer_index == (other.get("link") if each.kind == "veth" else None)


async def test_the_other_end_of_a_veth_is_told_wherever_it_is(links: KernelLinks) -> None:
    found = await links.links()

    assert found["veth-here"].peer_index == found["veth-too"].index
    assert found["veth-home"].peer_index is not None
    assert found["port7"].peer_index is None


async def test_addresses_are_read_as_ip_reads_them(links: KernelLinks) -> None:
    found = await links.links()

    shown = {
        each["ifname"]: sorted(
            f"{address['local']}/{address['prefixlen']}" for address in each["addr_info"]
        )
        for each in described("ip", "-json", "addr", "show")
    }
    assert {name: sorted(map(str, each.addresses)) for name, each in found.items()} == shown
    assert "10.8.0.1/32" in shown["tun0"]


async def test_routes_are_read_as_ip_reads_them(links: KernelLinks) -> None:
    def read(routes: Sequence[Route]) -> list[tuple[str, str, int, str]]:
        return sorted((str(e.destination), e.link, e.table, str(e.gateway or "")) for e in routes)

    found = read([each for link in await links.links() for each in await links.routes_by(link)])
    assert found == sorted([*shown_routes(4), *shown_routes(6)])
    assert read(await links.routes(ANYWHERE)) == [e for e in found if e[0] not in DEFAULTS]
    assert ("198.51.100.0/24", "lan", 254, "10.1.0.7") in found
    assert ("198.51.100.0/24", "veth-here", 254, "") in found
    assert ("203.0.113.0/24", "lan", 254, "fd00:1::9") in found
    assert ("0.0.0.0/0", "lan", 1000, "10.1.0.252") in found
    assert ("::/0", "lan", 254, "fd00:1::fe") in found


def shown_routes(version: int) -> Iterator[tuple[str, str, int, str]]:
    everything = ("route", "show", "table", "all", "type", "unicast")
    for each in described("ip", "-json", "-details", f"-{version}", *everything):
        table = each.get("table", "main")
        if table == "local":
            continue
        number = {"main": 254}.get(table) or int(table)
        text = {4: "0.0.0.0/0", 6: "::/0"}[version] if each["dst"] == "default" else each["dst"]
        destination = str(IPNetwork(text))
        for hop in each.get("nexthops", [each]):
            gateway = hop.get("gateway") or hop.get("via", {}).get("host", "")
            yield destination, hop["dev"], number, gateway


async def test_what_is_taken_is_all_that_ip_shows_of_the_known_kinds(links: KernelLinks) -> None:
    found = {
        (str(each.destination), each.kind.value, each.link) for each in await links.taken(ANYWHERE)
    }

    shown = set()
    for version, default in ((4, "0.0.0.0/0"), (6, "::/0")):
        for each in described("ip", "-json", f"-{version}", "route", "show", "table", "all"):
            destination = str(IPNetwork(default if each["dst"] == "default" else each["dst"]))
            for hop in each.get("nexthops", [each]):
                shown.add((destination, each.get("type", "unicast"), hop.get("dev", "")))
    assert found == {e for e in shown if e[1] in set(RouteKind) and e[0] not in DEFAULTS}
    assert ("10.66.0.0/16", "blackhole", "") in found
    assert ("fd66::/16", "unreachable", "lo") in found
    assert ("10.1.0.9/32", "local", "lan") in found
    assert ("fd00:1::1/128", "local", "lan") in found


async def test_hundreds_of_links_and_routes_are_read_whole(links: KernelLinks) -> None:
    """More than one message of a dump."""
    before = len(await links.links())
    commands = [f"link add name many{number} type bridge" for number in range(300)]
    commands += [f"route add 10.200.{number}.0/24 dev lan" for number in range(250)]
    batch(commands)

    assert len(await links.links()) == before + 300
    assert len(await links.routes([IPNetwork("10.200.0.0/16")])) == 250
    near = await links.routes([IPNetwork("10.200.7.128/25")])
    assert [str(each.destination) for each in near] == ["10.200.7.0/24"]


def batch(commands: list[str]) -> None:
    run("sh", "-c", 'printf "%s" "$0" | ip -batch -', "\n".join(commands) + "\n")


async def test_names_and_macs_are_printed_as_people_write_them(links: KernelLinks) -> None:
    run("ip", "link", "set", "lan", "address", "02:00:00:00:00:0a")

    mac = (await links.links())["lan"].mac

    assert mac is not None
    assert str(mac) == names.mac_text(mac) == "02:00:00:00:00:0a"
