"""Cells that no two rules share."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from ovsdriver.domain.access.cells import Cell, cells, places
from ovsdriver.domain.access.policy import Reach, Zone
from ovsdriver.domain.records.options.access import AccessProtocol

EVERYTHING = ((0, 0xFFFFFFFF), (0, 255), (0, 65535))


def reach(
    rule: str,
    prefix: str = "",
    protocol: AccessProtocol | None = None,
    ports: tuple[int, int] = (0, 65535),
) -> Reach:
    return Reach(
        rule=rule,
        prefix=IPNetwork(prefix) if prefix else None,
        protocol=protocol,
        first_port=ports[0],
        last_port=ports[1],
    )


def test_a_rule_about_everybody_is_one_cell_of_each_family() -> None:
    (four,) = cells([reach("any")], family=4)
    (six,) = cells([reach("any")], family=6)
    assert (four.addresses, four.protocols, four.ports) == EVERYTHING
    assert six.addresses == (0, 2**128 - 1)


def test_of_rules_about_the_same_the_first_one_counts() -> None:
    https = reach("https", "10.0.0.0/8", AccessProtocol.TCP, (443, 443))
    found = cells([https, reach("ten", "10.0.0.0/8")], family=4)
    ten = (0x0A000000, 0x0AFFFFFF)
    assert sorted((each.rule, each.addresses, each.protocols, each.ports) for each in found) == [
        ("https", ten, (6, 6), (443, 443)),
        ("ten", ten, (0, 5), (0, 65535)),
        ("ten", ten, (6, 6), (0, 442)),
        ("ten", ten, (6, 6), (444, 65535)),
        ("ten", ten, (7, 255), (0, 65535)),
    ]


def test_a_rule_that_another_one_covers_has_no_cell() -> None:
    found = cells([reach("all"), reach("one", "10.0.0.1/32", AccessProtocol.TCP)], family=4)
    assert [each.rule for each in found] == ["all"]


def test_a_rule_stays_one_cell_across_others_about_other_ports() -> None:
    web = reach("web", protocol=AccessProtocol.TCP, ports=(80, 80))
    hosts = [
        reach(f"host {number}", f"10.0.0.{number * 2}/32", AccessProtocol.TCP, (443, 443))
        for number in range(100)
    ]
    assert len(cells([web, *hosts], family=4)) == 101


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Reach(rule="x", zone=Zone.HOST), id="a-zone"),
        pytest.param(Reach(rule="x", names=("example.com",)), id="a-name"),
        pytest.param(reach("x", "fd00::/8"), id="the-other-family"),
    ],
)
def test_what_no_address_of_the_family_says_has_no_cell(other: Reach) -> None:
    assert not cells([other], family=4)


def test_icmp_is_another_number_in_each_family() -> None:
    ping = reach("ping", protocol=AccessProtocol.ICMP)
    assert [each.protocols for family in (4, 6) for each in cells([ping], family=family)] == [
        (1, 1),
        (58, 58),
    ]


def test_of_a_zone_only_protocols_and_ports_are_told() -> None:
    (found,) = places([Reach(rule="x", zone=Zone.HOST, protocol=AccessProtocol.UDP)])
    assert (found.protocols, found.ports) == ((17, 17), (0, 65535))


reaches = st.lists(
    st.builds(
        lambda length, number, protocol, first, more: reach(
            "",
            f"10.0.0.{(number << (32 - length)) % 256}/{length}",
            protocol,
            (first, first + more) if protocol else (0, 65535),
        ),
        st.integers(24, 32),
        st.integers(0, 255),
        st.sampled_from([None, AccessProtocol.TCP, AccessProtocol.UDP]),
        st.integers(0, 6),
        st.integers(0, 3),
    ),
    max_size=8,
)


@given(reaches)
def test_every_point_is_in_the_cell_of_the_first_rule_about_it(found: list[Reach]) -> None:
    rules = [
        reach(str(n), str(r.prefix), r.protocol, (r.first_port, r.last_port))
        for n, r in enumerate(found)
    ]
    made = cells(rules, family=4)
    base = 0x0A000000
    edges = {
        int(edge) for each in rules if each.prefix for edge in (each.prefix.first, each.prefix.last)
    }
    for address in {base, *edges, *(edge + 1 for edge in edges)}:
        for protocol in (5, 6, 17):
            for port in range(11):
                expected = next((r.rule for r in rules if _about(r, address, protocol, port)), None)
                assert _of(made, address, protocol, port) == expected


def _about(rule: Reach, address: int, protocol: int, port: int) -> bool:
    numbers = {AccessProtocol.TCP: 6, AccessProtocol.UDP: 17}
    assert rule.prefix is not None
    return rule.prefix.first <= address <= rule.prefix.last and (
        rule.protocol is None
        or (numbers[rule.protocol] == protocol and rule.first_port <= port <= rule.last_port)
    )


def _of(made: Sequence[Cell], address: int, protocol: int, port: int) -> str | None:
    found = [
        each.rule
        for each in made
        if each.addresses[0] <= address <= each.addresses[1]
        and each.protocols[0] <= protocol <= each.protocols[1]
        and each.ports[0] <= port <= each.ports[1]
    ]
    assert len(found) <= 1, "two cells overlap"
    return found[0] if found else None
