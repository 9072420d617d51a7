"""``ovsnet ports``."""

import pytest

from ovsdriver.service.report import PublishedReport, Report
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import DB, LAB, OLD, WEB, endpoint, network


def published(host: str, host_port: int, address: str, *, reserved: bool = True) -> PublishedReport:
    return PublishedReport(
        protocol="tcp",
        host=host,
        host_port=host_port,
        address=address,
        port=80,
        reserved=reserved,
    )


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.there = Report(
        networks=(network("lab", LAB), network("old", OLD)),
        endpoints=(
            endpoint(
                "web",
                WEB,
                published=(
                    published("::", 8080, "fd00::2"),
                    published("0.0.0.0", 8080, "10.1.0.2"),
                ),
            ),
            endpoint(
                "",
                DB,
                on=OLD,
                network_name="",
                published=(published("127.0.0.1", 80, "10.2.0.2", reserved=False),),
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
    assert shell.json("ports", "--network", "old")[0]["host_port"] == 80
    assert shell("ports", "--network", "none").exit_code != 0


def test_json_says_whose_they_are(shell: Shell, desk: Desk):
    first, *rest = shell.json("ports")
    assert first == {
        "protocol": "tcp",
        "host": "127.0.0.1",
        "host_port": 80,
        "address": "10.2.0.2",
        "port": 80,
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
