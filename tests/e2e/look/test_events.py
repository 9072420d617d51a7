"""What happened is told once, in order, with who did it; over restarts, too."""

import json
import signal
import time
from typing import Any

import pytest

from ovsdriver.service.events.carriers import YOUNG_S
from tests.e2e.addresses.test_probe import PROBE, Squatter
from tests.e2e.bed import _PROGRAM, Bed
from tests.e2e.stage import Stage
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker


class Told:
    """What was told since it was made."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._last = max((each["id"] for each in self._all()), default=0)

    def _all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._bed.ovsnet("events", "--json").splitlines()]

    def all(self, *types: str) -> list[dict[str, Any]]:
        found = [each for each in self._all() if each["id"] > self._last]
        return [each for each in found if not types or each["type"] in types]

    def what(self, *types: str) -> list[str]:
        return [f"{each['type']}.{each['action']}" for each in self.all(*types)]

    def until(self, what: list[str], *types: str) -> None:
        until(lambda: self.what(*types) == what, lambda: f"{what} is told: {self.what(*types)}")


@pytest.fixture
def told(bed: Bed) -> Told:
    return Told(bed)


def test_a_life_is_told_in_order_and_once_over_a_kill(bed: Bed, stage: Stage, told: Told) -> None:
    records = ("network", "endpoint", "lease")
    network = stage.network("lab")
    web = stage.container("web", network)
    address = web.address(network)
    expected = ["network.created", "lease.given", "endpoint.attached"]
    # acknowledged a moment ago
    bed.restart_plugin(signal.SIGKILL)
    assert told.what(*records) == expected
    bed.ovsnet("set", "lab/web", "ovs.rate=10mbit")
    bed.ovsnet("set", "lab", "ovs.icc=false")
    expected += ["endpoint.changed", "network.changed"]
    bed.restart_plugin()
    assert told.what(*records) == expected
    bed.docker("rm", "--force", "web")
    bed.docker("network", "rm", "lab")
    expected += ["endpoint.detached", "lease.released", "network.deleted"]
    bed.restart_plugin(signal.SIGKILL)
    assert told.what(*records) == expected
    assert told.what("process") == ["process.ready", "process.stopping", *["process.ready"] * 2]

    events = told.all(*records)
    assert events[2]["attributes"]["address"].startswith(f"{address}/")
    assert {each["cause"] for each in events} == {"docker", "user"}
    for each in events[3:5]:
        assert each["cause"] == "user"
        assert each["attributes"]["by"]
    assert events[3]["attributes"]["options"] == "ovs.rate=10mbit"
    named = [each for each in events if each["type"] != "lease"]
    assert {each["network"] for each in named} == {"lab"}
    assert {each["container"] for each in named if each["endpoint"]} == {"web"}
    of_web = bed.ovsnet("events", "--json", "--container", "web", "--type", "endpoint")
    assert "detached" in of_web


def test_a_cable_that_is_pulled_is_told_and_so_is_a_port_that_is_mended(
    bed: Bed, stage: Stage, told: Told
) -> None:
    network = stage.network("lab")
    web = stage.container("web", network)
    link = f"ovh{web.endpoint(network)['EndpointID'][:12]}"
    time.sleep(YOUNG_S)  # until then a loss that is mended is part of its start
    bed.ip("link", "set", link, "down")
    told.until(["link.down"], "link")
    bed.ip("link", "set", link, "up")
    told.until(["link.down", "link.up"], "link")
    assert {each["attributes"]["link"] for each in told.all("link")} == {link}

    bed.ovs_vsctl("del-port", link)
    until(lambda: "repair.mended" in told.what("repair"), "the port is mended, and that is told")
    (mended,) = told.all("repair")
    assert web.endpoint(network)["EndpointID"][:12] in mended["attributes"]["what"]
    assert told.what("link") == ["link.down", "link.up"]


def test_a_port_of_somebody_else_is_told_and_so_is_an_address_that_somebody_has(
    bed: Bed, stage: Stage, told: Told
) -> None:
    network = stage.network("lab", "-o", "ovs.vlan=30", *PROBE, subnet="10.30.0.0/24")
    with Squatter(bed, "br-ovsnet", 30, 2).there() as squatter:
        told.until(["port.appeared"], "port")
        stage.container("web", network)
        (conflict,) = told.all("conflict")
        assert conflict["attributes"]["mac"] == squatter.mac
        assert conflict["attributes"]["address"] == "10.30.0.2"
        assert conflict["network"] == "lab"
    told.until(["port.appeared", "port.gone"], "port")


def test_who_follows_misses_nothing_while_ovsnet_is_killed(bed: Bed, stage: Stage) -> None:
    words = ("events", "-f", "--json", "--since", "1h", "--type", "endpoint", "--network", "new")
    follower = Program(bed, "follower", str(_PROGRAM), *words)

    def heard() -> list[dict[str, Any]]:
        lines = [line for line in follower.said().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    network = stage.network("new")
    follower.start()
    try:
        ann = stage.container("ann", network).endpoint(network)["EndpointID"]
        until(lambda: len(heard()) == 1, lambda: f"ann is heard of: {follower.said()}")
        bed.restart_plugin(signal.SIGKILL)
        bob = stage.container("bob", network).endpoint(network)["EndpointID"]
        until(lambda: len(heard()) == 2, lambda: f"bob is heard of: {follower.said()}")
    finally:
        follower.stop(signal.SIGINT)
    assert [(each["action"], each["endpoint"]) for each in heard()] == [
        ("attached", ann),
        ("attached", bob),
    ]
    assert heard()[0]["id"] < heard()[1]["id"]
