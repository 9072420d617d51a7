"""Addresses and routes of the host with all that can be said of them, moved in a real kernel."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ovsdriver.adapters.kernel.host.nics import KernelNics
from ovsdriver.adapters.kernel.netlink import Netlink
from tests.integration.netns import described, own_namespace, run

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    with own_namespace():
        for link in ("eth1", "br1", "other"):
            run("ip", "link", "add", link, "type", "veth", "peer", "name", f"{link}w")
            run("ip", "link", "set", f"{link}w", "up")
        for link in ("eth1", "other"):
            run("ip", "link", "set", link, "up")
        yield


def routes(link: str) -> list[dict[str, Any]]:
    """Return routes through a link but for those that every link has, without its name."""
    found = []
    for family in ("-4", "-6"):
        for route in described("ip", "-json", family, "route", "show", "table", "all"):
            of_link = link in str(route)
            if not of_link or route["dst"].startswith(("fe80:", "ff00:")):
                continue
            if route.get("type") in ("local", "broadcast", "multicast", "anycast"):
                continue
            route["flags"] = [each for each in route["flags"] if each not in ("linkdown", "dead")]
            found.append(json.loads(json.dumps(route).replace(f'"{link}"', '"LINK"')))
    return sorted(found, key=str)


def addresses(link: str) -> list[tuple[Any, ...]]:
    (found,) = described("ip", "-json", "address", "show", "dev", link)
    return [
        (a["local"], a["prefixlen"], a.get("broadcast"), a["scope"], a.get("noprefixroute"))
        for a in found["addr_info"]
        if not a["local"].startswith("fe80:")
    ]


async def test_everything_about_addresses_and_routes_goes_along_and_comes_back() -> None:
    for command in (
        "address add 192.0.2.7/24 brd + dev eth1",
        "address add 192.0.2.8/24 dev eth1 label eth1:web",
        "address add 198.51.100.7/30 dev eth1 scope link noprefixroute",
        "address add 2001:db8::7/64 dev eth1 nodad noprefixroute",
        "route add 2001:db8::/64 dev eth1 metric 77",
        "route add default via 192.0.2.1 dev eth1 metric 500 src 192.0.2.8 mtu 1400",
        "route add 203.0.113.0/24 via 192.0.2.2 dev eth1 table 1000 proto static",
        "route add 198.51.100.128/25 dev eth1 scope link",
        "route add 203.0.113.128/25 via 198.51.100.250 dev eth1 onlink",
        "-6 route add default via 2001:db8::1 dev eth1 metric 9 pref high",
        "-6 route add 2001:db8:1::/48 via fe80::1 dev eth1",
        "address add 10.9.0.1/24 dev other",
        "route add 10.77.0.0/16 nexthop via 192.0.2.3 dev eth1 nexthop via 10.9.0.9 dev other",
        "route add default via 10.9.0.254 dev other metric 900",
    ):
        run("ip", *command.split())
    before = addresses("eth1"), routes("eth1"), routes("other")
    netlink = Netlink(timeout_s=10)
    nics = KernelNics(netlink)

    assert list(await nics.move(await nics.held("eth1"), source="eth1", target="br1")) == []

    assert sorted(addresses("br1"), key=str) == sorted(before[0], key=str)
    assert routes("br1") == before[1]
    assert addresses("eth1") == []
    assert routes("eth1") == []
    labels = described("ip", "-json", "-4", "address", "show", "dev", "br1")[0]["addr_info"]
    assert {each["label"] for each in labels} == {"br1", "br1:web"}

    assert list(await nics.move(await nics.held("br1"), source="br1", target="eth1")) == []

    after = addresses("eth1"), routes("eth1"), routes("other")
    assert (sorted(after[0], key=str), *after[1:]) == (sorted(before[0], key=str), *before[1:])
    await netlink.close()


async def test_what_was_given_for_a_time_is_told_from_what_lasts() -> None:
    lifetime = ("valid_lft", "900", "preferred_lft", "600")
    run("ip", "address", "add", "192.0.2.7/24", "dev", "eth1", *lifetime)
    netlink = Netlink(timeout_s=10)
    nics = KernelNics(netlink)
    held = await nics.held("eth1")
    assert not held.addresses[0].permanent
    assert held.lasting().addresses == ()

    await nics.move(held, source="eth1", target="br1")

    (link,) = described("ip", "-json", "address", "show", "dev", "br1")
    (address,) = (each for each in link["addr_info"] if each["family"] == "inet")
    assert 800 < address["valid_life_time"] <= 900
    assert 500 < address["preferred_life_time"] <= 600
    await netlink.close()
