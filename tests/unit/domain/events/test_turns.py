"""What the change of a record says."""

from dataclasses import replace

import pytest

from ovsdriver.domain.events import turns
from ovsdriver.domain.records.model import Endpoint, EndpointId
from tests.builders import altered
from tests.contract.test_state import WEB, endpoint, network

MADE = replace(network(), made=True)
RUNS = replace(endpoint(), sandbox="/run/netns/web")


def told(happening: object) -> str:
    return "" if happening is None else f"{happening.type}.{happening.action}"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, network(), ""),
        (network(), MADE, "network.created"),
        (None, MADE, "network.created"),
        (MADE, replace(MADE, unused=True), ""),
        (MADE, replace(MADE, engine="x"), ""),
        (MADE, altered(MADE, icc=False), "network.changed"),
        (MADE, replace(MADE, ended=True), ""),
    ],
)
def test_a_network_is_told_of_when_it_stands_and_when_its_settings_change(before, after, expected):
    assert told(turns.of_network(before, after)) == expected


def test_a_network_is_created_with_what_people_know_it_by():
    happening = turns.of_network(None, MADE)
    assert happening is not None
    assert happening.attributes == {
        "bridge": "br-ovsnet",
        "vlan": "10",
        "mode": "nat",
        "subnets": "10.0.0.0/24",
    }


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, endpoint(), ""),
        (endpoint(), RUNS, "endpoint.attached"),
        (None, RUNS, "endpoint.attached"),
        (RUNS, RUNS, ""),
        (RUNS, endpoint(), "endpoint.detached"),
        (RUNS, replace(endpoint(), ended=True), "endpoint.detached"),
        (endpoint(), replace(endpoint(), ended=True), ""),
        (RUNS, replace(RUNS, options={"ovs.rate": "1m"}), "endpoint.changed"),
        (RUNS, replace(RUNS, published=()), ""),
    ],
)
def test_an_endpoint_is_told_of_when_its_container_comes_and_goes(
    before: Endpoint | None, after: Endpoint, expected: str
) -> None:
    assert told(turns.of_endpoint(before, after)) == expected


def test_what_goes_with_a_network_is_told_before_it():
    idle = replace(endpoint(EndpointId("e" * 64)))
    happenings = turns.of_forgotten_network(MADE, [RUNS, idle])
    assert [(told(each), each.endpoint) for each in happenings] == [
        ("endpoint.detached", WEB),
        ("network.deleted", ""),
    ]
    assert turns.of_forgotten_network(network(), [idle]) == []
