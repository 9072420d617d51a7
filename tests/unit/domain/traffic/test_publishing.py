"""From what `-p` says to what is published."""

from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import HostPort, PortMapping, Publication, Transport
from ovsdriver.domain.traffic.publishing import (
    Earlier,
    Places,
    WantedPort,
    gathered,
    left_out,
    left_to_sibling,
    overlapping,
    wishes,
)
from ovsdriver.domain.wires import desired
from tests.builders import FIRST, RED, SECOND, a_network, a_subnet, an_endpoint

DUAL = (IPNetwork("10.1.0.2/24"), IPNetwork("fd00:1::2/64"))


def mapping(port: int = 80, host: str = "", first: int = 0, last: int = 0) -> PortMapping:
    return PortMapping(
        protocol=Transport.TCP,
        port=port,
        host_address=IPAddress(host) if host else None,
        host_port=first,
        host_port_end=last,
    )


def wish(*ports: PortMapping, addresses: Any = DUAL, **more: Any) -> WantedPort:
    (found,) = wishes(ports, addresses, **more)
    return found


def ways(found: WantedPort) -> list[tuple[str, str]]:
    return [(str(way.host), str(way.container)) for way in found.ways]


def at(host: str, port: int, protocol: Transport = Transport.TCP) -> HostPort:
    return HostPort(protocol=protocol, address=IPAddress(host), port=port)


def published_at(
    host: str, host_port: int, address: str = "10.1.0.2", port: int = 80
) -> Publication:
    return Publication(
        protocol=Transport.TCP,
        host=IPAddress(host),
        host_port=host_port,
        address=IPAddress(address),
        port=port,
    )


def test_without_a_host_address_both_families_get_the_same_port() -> None:
    found = wish(mapping(first=8080, last=8080))
    assert ways(found) == [("0.0.0.0", "10.1.0.2"), ("::", "fd00:1::2")]
    assert list(found.choices) == [8080]
    assert {each.host_port for each in found.publications(8080)} == {8080}


def test_a_family_that_the_container_lacks_is_left_out() -> None:
    assert ways(wish(mapping(), addresses=DUAL[:1])) == [("0.0.0.0", "10.1.0.2")]
    assert ways(wish(mapping(), addresses=DUAL[1:])) == [("::", "fd00:1::2")]


@pytest.mark.parametrize(
    ("host", "way"),
    [
        ("127.0.0.1", ("127.0.0.1", "10.1.0.2")),
        ("0.0.0.0", ("0.0.0.0", "10.1.0.2")),
        ("::1", ("::1", "fd00:1::2")),
        ("::", ("::", "fd00:1::2")),
        ("::ffff:192.0.2.1", ("192.0.2.1", "10.1.0.2")),
    ],
)
def test_a_host_address_chooses_the_family(host: str, way: tuple[str, str]) -> None:
    assert ways(wish(mapping(host=host))) == [way]


def test_a_host_address_of_a_family_that_nobody_publishes_is_left_out() -> None:
    six, any_family = mapping(host="::1"), mapping(81)
    assert not wishes([six], DUAL[:1])
    assert left_out([six, any_family], {4}) == [six]
    assert not left_out([six, any_family], {4, 6})
    assert left_out([any_family], {6}, bindings=[IPAddress("127.0.0.1")]) == [any_family]
    assert left_out([six, any_family], ()) == [six, any_family]


def test_a_family_of_another_endpoint_is_left_to_it() -> None:
    assert ways(wish(mapping(), elsewhere={6})) == [("0.0.0.0", "10.1.0.2")]
    assert ways(wish(mapping(), skipped={(Transport.TCP, 80, 4)})) == [("::", "fd00:1::2")]
    assert not wishes([mapping(host="127.0.0.1")], DUAL, skipped={(Transport.TCP, 80, 4)})


@pytest.mark.parametrize(
    ("bindings", "expected"),
    [
        (["127.0.0.1"], [("127.0.0.1", "10.1.0.2")]),
        (["127.0.0.1", "::1"], [("127.0.0.1", "10.1.0.2"), ("::1", "fd00:1::2")]),
    ],
)
def test_a_networks_binding_holds_for_both_families_unless_an_address_is_said(
    bindings: list[str], expected: list[tuple[str, str]]
) -> None:
    addresses = [IPAddress(each) for each in bindings]
    assert ways(wish(mapping(), bindings=addresses)) == expected
    assert ways(wish(mapping(host="::"), bindings=addresses)) == [("::", "fd00:1::2")]


def test_what_is_said_twice_is_published_once() -> None:
    assert len(wishes([mapping(first=80, last=80)] * 2, DUAL)) == 1
    assert len(wishes([mapping(first=80, last=80), mapping(first=81, last=81)], DUAL)) == 2


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (0, 0, "every port that this host hands out"),
        (80, 80, "host port 80"),
        (80, 85, "every host port from 80 to 85"),
    ],
)
def test_the_choices_can_be_said_in_a_sentence(first: int, last: int, words: str) -> None:
    found = wish(mapping(first=first, last=last))
    assert found.host_text == words
    assert list(found.choices) == (list(range(first, last + 1)) if first else [])


def test_a_port_that_was_chosen_before_is_kept_if_it_still_fits() -> None:
    def kept(wanted: WantedPort, address: str = "10.1.0.2") -> int:
        return Earlier([published_at("0.0.0.0", 40000, address)]).take(wanted)

    assert kept(wish(mapping())) == 40000
    assert kept(wish(mapping(first=39999, last=40001))) == 40000
    assert kept(wish(mapping(first=8080, last=8080))) == 0
    assert kept(wish(mapping(port=81))) == 0
    assert kept(wish(mapping(host="127.0.0.1"))) == 0
    assert kept(wish(mapping()), "10.1.0.3") == 0


def test_a_port_that_was_chosen_before_is_kept_for_one_wish_only() -> None:
    earlier = Earlier([published_at("0.0.0.0", 8001), published_at("::", 8001, "fd00:1::2")])
    exact, span = mapping(first=8001, last=8001), mapping(first=8000, last=8005)
    assert earlier.take(wish(exact)) == 8001
    assert earlier.take(wish(span)) == 0


@pytest.mark.parametrize(
    ("published", "told", "other_gateway6", "current", "left"),
    [
        pytest.param({4, 6}, {4, 6}, True, True, {6}, id="this-one-is-for-ipv4"),
        pytest.param({4}, {4, 6}, True, True, set(), id="and-takes-it-from-the-other"),
        pytest.param({4}, {4, 6}, False, True, {4}, id="this-one-is-for-ipv6"),
        pytest.param({4}, {6}, False, True, {4}, id="it-has-only-ipv6"),
        pytest.param({4}, {4, 6}, False, False, set(), id="the-other-is-of-an-earlier-daemon"),
        pytest.param({4, 6}, {4, 6}, False, True, set(), id="its-end-was-not-heard-of"),
        pytest.param({4}, {4}, False, True, set(), id="nor-here"),
        pytest.param({6}, {4}, False, True, set(), id="nobody-has-ipv6-any-more"),
    ],
)
def test_each_family_of_a_container_is_published_by_one_endpoint(
    published: set[int], told: set[int], other_gateway6: bool, current: bool, left: set[int]
) -> None:
    found = left_to_sibling(
        frozenset(published), told=frozenset(told), other_gateway6=other_gateway6, current=current
    )
    assert found == left


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [
        (at("0.0.0.0", 80), at("127.0.0.1", 80), True),
        (at("127.0.0.1", 80), at("0.0.0.0", 80), True),
        (at("127.0.0.1", 80), at("127.0.0.2", 80), False),
        (at("0.0.0.0", 80), at("::", 80), False),
        (at("0.0.0.0", 80), at("0.0.0.0", 81), False),
        (at("0.0.0.0", 80), at("0.0.0.0", 80, Transport.UDP), False),
    ],
)
def test_ports_overlap_if_two_programs_could_not_have_both(
    one: HostPort, other: HostPort, result: bool
) -> None:
    assert one.overlaps(other) is result
    assert other.overlaps(one) is result
    places = Places([one])
    assert places.overlap(other) is result
    places.remove(one)
    assert not places.overlap(other)


def test_what_stands_in_the_way_of_a_wish_is_found_among_all_its_ports() -> None:
    held = [at("127.0.0.1", 80), at("::", 81), at("0.0.0.0", 90)]
    assert list(overlapping(wish(mapping(first=80, last=85)), held)) == held[:2]
    assert list(overlapping(wish(mapping()), held)) == held
    assert not list(overlapping(wish(mapping(host="127.0.0.2", first=80, last=80)), held))


def test_the_plan_has_the_ports_of_endpoints_and_networks_that_stand() -> None:
    web = an_endpoint(FIRST, published=(published_at("192.0.2.1", 80),))
    plan = desired.firewall([a_network()], [web])
    assert plan.published == web.published
    assert not desired.firewall([a_network(ended=True)], [web]).published
    ended = an_endpoint(FIRST, ended=True, published=web.published)
    assert not desired.firewall([a_network()], [ended]).published


def test_one_place_leads_to_one_container_whatever_the_records_say() -> None:
    dead = an_endpoint(FIRST, published=(published_at("0.0.0.0", 80),))
    alive = an_endpoint(SECOND, published=(published_at("0.0.0.0", 80, "10.1.0.3"),))
    assert len(desired.firewall([a_network()], [dead, alive]).published) == 1


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("0.0.0.0", True), ("127.0.0.5", True), ("192.0.2.1", False), ("::", False), ("::1", False)],
)
def test_a_gateway_carries_127_8_where_a_port_of_it_leads_there(host: str, loopback: bool) -> None:
    network = a_network(subnets=(a_subnet(), a_subnet("fd00:1::/64", "fd00:1::1")))
    target = "fd00:1::2" if ":" in host else "10.1.0.2"
    web = an_endpoint(FIRST, network=RED, published=(published_at(host, 80, target),))
    (gateway,) = desired.firewall([network], [web]).gateways
    assert gateway.loopback is loopback


def exact(
    first: int, port: int, host: str = "", protocol: Transport = Transport.UDP
) -> PortMapping:
    return replace(mapping(port, host, first, first), protocol=protocol)


def test_runs_of_ports_are_ranges_and_choices_stay_alone() -> None:
    run = [exact(10000 + n, 20000 + n) for n in range(100)]
    other = [exact(10000, 20000, "127.0.0.1"), exact(10000, 20000, protocol=Transport.TCP)]
    choice, hole = mapping(80, first=9000, last=9010), exact(10101, 20101)
    found = gathered([choice, *reversed(run), *other, hole, hole, mapping(81)])
    assert len(found) == 6
    assert replace(run[0], count=100) in found
    assert found[-2:] == (choice, mapping(81))
    assert [each.text for each in found if each.count > 1] == ["20000-20099/udp"]


def test_a_range_is_one_publication_and_stands_in_the_way_of_each_port() -> None:
    found = wish(replace(mapping(10000, first=10000, last=10000), count=10001))
    four, six = found.publications(10000)
    assert four.host_text == "0.0.0.0:10000-20000/tcp"
    assert six.at.last == 20000
    assert found.host_text == "one of the host ports 10000-20000"
    places = Places([four.at, at("0.0.0.0", 9999)])
    assert places.overlap(at("127.0.0.1", 12345))
    assert not places.overlap(at("::", 12345))
    assert not places.overlap(at("0.0.0.0", 20001))
    assert places.overlap(replace(at("127.0.0.1", 9000), count=1000))
    assert Places([at("0.0.0.0", 9999)]).overlap(replace(at("127.0.0.1", 9998), count=2))
    assert [p.port for p in overlapping(found, [at("0.0.0.0", 12345), at("0.0.0.0", 9)])] == [12345]
    assert Earlier([four, six]).take(found) == 10000
    assert Earlier([replace(four, count=1)]).take(found) == 0
    dead = replace(four, host_port=20000, port=20000, count=5)
    web = an_endpoint(FIRST, published=(four, dead))
    assert desired.firewall([a_network()], [web]).published == (four,)
