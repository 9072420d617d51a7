"""``ovsnet ports``."""

from dataclasses import replace

import pytest
from netaddr import IPAddress

from ovsdriver.admin.views import EndpointReport, Report
from ovsdriver.domain.records.model import EndpointId, PortMapping, Publication, Transport
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import DB, LAB, OLD, WEB, endpoint, network


def published(host: str, host_port: int, address: str) -> Publication:
    return Publication(
        protocol=Transport.TCP,
        host=IPAddress(host),
        host_port=host_port,
        address=IPAddress(address),
        port=80,
    )


def web(*published: Publication) -> EndpointReport:
    """Return an endpoint, all of whose ports are reserved."""
    reserved = tuple(each.at for each in published)
    return endpoint("web", WEB, published=published, reserved=reserved)


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.there = Report(
        networks=(network("lab", LAB), network("old", OLD)),
        endpoints=(
            web(published("::", 8080, "fd00::2"), published("0.0.0.0", 8080, "10.1.0.2")),
            endpoint(
                "",
                DB,
                on=OLD,
                network_name="",
                published=(published("127.0.0.1", 80, "10.2.0.2"),),
            ),
        ),
    )
    return desk


def test_published_ports_are_listed_by_port(shell: Shell, desk: Desk):
    rows = [line.split() for line in shell("ports").stdout.splitlines()]
    assert rows == [
        ["PUBLISHED", "CONTAINER", "NETWORK", "LEADS", "TO", "STATE"],
        ["127.0.0.1:80/tcp", DB[:12], OLD[:12], "10.2.0.2:80", "not", "reserved"],
        ["0.0.0.0:8080/tcp", "web", "lab", "10.1.0.2:80", "reserved"],
        ["[::]:8080/tcp", "web", "lab", "[fd00::2]:80", "reserved"],
    ]


def test_those_of_one_network_are_listed(shell: Shell, desk: Desk):
    assert len(shell("ports", "--network", "lab").stdout.splitlines()) == 3
    assert shell.json("ports", "--network", "old")[0]["published"]["host_port"] == 80
    assert shell("ports", "--network", "none").exit_code != 0


def test_json_says_whose_they_are(shell: Shell, desk: Desk):
    first, *rest = shell.json("ports")
    assert first == {
        "published": {
            "protocol": "tcp",
            "host": "127.0.0.1",
            "host_port": 80,
            "address": "10.2.0.2",
            "port": 80,
            "count": 1,
            "instead_of": None,
        },
        "reserved": False,
        "endpoint": DB,
        "network": OLD,
        "network_name": "",
        "container": "",
    }
    assert len(rest) == 2


def test_nothing_published_is_an_empty_list(shell: Shell, desk: Desk):
    desk.there = Report()
    assert shell.json("ports") == []


def test_an_endpoint_shows_its_ports(shell: Shell, desk: Desk):
    text = shell("endpoint", "show", "web").stdout
    assert "[::]:8080/tcp to 80, 0.0.0.0:8080/tcp to 80" in text


def test_what_nobody_publishes_is_listed_with_the_reason(shell: Shell, desk: Desk):
    why = "a network with ovs.mode=flat has no gateway on this host"
    asked = PortMapping(protocol=Transport.TCP, port=80, host_port=8080)
    lacking = endpoint("web", WEB, unpublished=(asked,), unpublished_why=why)
    desk.there = Report(networks=(network("lab", LAB),), endpoints=(lacking,))
    assert shell("ports").stdout.splitlines()[1].split() == [
        *("-", "web", "lab", "80/tcp", "not", "published:"),
        *why.split(),
    ]
    (shown,) = shell.json("ports")
    asked_for = shown["unpublished"]
    assert (asked_for["host_port"], asked_for["port"], shown["why"]) == (8080, 80, why)
    assert f"80/tcp: {why}" in shell("endpoint", "show", "web").stdout


def test_ranges_are_one_row(shell: Shell, desk: Desk):
    few = replace(published("0.0.0.0", 8000, "10.1.0.2"), count=100)
    many = replace(published("::", 10000, "fd00::2"), count=10001)
    desk.there = Report(
        networks=(network("lab", LAB),),
        endpoints=(replace(web(few, many), reserved=(few.at,)),),
    )
    rows = [line.split() for line in shell("ports").stdout.splitlines()]
    assert rows[1] == ["0.0.0.0:8000-8099/tcp", "web", "lab", "10.1.0.2:80-179", "reserved"]
    assert rows[2] == ["[::]:10000-20000/tcp", "web", "lab", "[fd00::2]:80-10080", "open"]
    assert "0.0.0.0:8000-8099/tcp to 80-179" in shell("endpoint", "show", "web").stdout


def test_clients_that_are_seen_as_the_gateway_are_marked(shell: Shell, desk: Desk):
    detour = replace(published("0.0.0.0", 8080, "10.1.0.2"), instead_of=EndpointId(DB))
    desk.there = Report(endpoints=(web(detour),))
    assert "reserved, clients seen as the gateway" in shell("ports").stdout
