"""A host that is a router, with the routes of half the world."""

from collections.abc import Iterator

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place

pytestmark = [pytest.mark.docker, pytest.mark.long]

MANY = 75_000


@pytest.fixture
def routes(bed: Bed) -> Iterator[None]:
    """Routes as a routing daemon makes them, a few of them where automatic subnets come from."""
    bed.ip("link", "add", "bgp0", "type", "veth", "peer", "name", "bgp1")
    bed.ip("address", "add", "198.18.7.1/24", "dev", "bgp0")
    for end in ("bgp0", "bgp1"):
        bed.ip("link", "set", end, "up")
    # in a table of their own: of the main one vswitchd reads all routes whenever one comes
    there = "via 198.18.7.2 dev bgp0 proto bird table 100"
    many = (f"{20 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24" for n in range(MANY))
    lines = [f"route add {each} {there}" for each in many]
    lines += [f"route add 172.24.{n}.0/24 {there} metric 20" for n in (0, 1, 3)]
    bed.run("ip", "-batch", "-", stdin="\n".join(lines))
    yield
    bed.ip("link", "del", "bgp0")


def test_a_host_with_75000_routes_makes_networks(routes: None, bed: Bed, stage: Stage) -> None:
    named = stage.network("named", "--subnet", "10.91.0.0/24")
    chosen = stage.network("chosen")
    assert named.subnet() == "10.91.0.0/24"
    assert chosen.subnet() == "172.24.2.0/24"

    container = stage.container("app", named)
    app = Place(bed, "app", container.netns)
    app.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)


def test_a_subnet_with_one_of_many_routes_in_it_is_refused_by_name(routes: None, bed: Bed) -> None:
    said = bed.docker_refuses(
        *("network", "create", "--driver=ovsnet", "--ipam-driver=ovsipam"),
        *("--subnet=20.0.0.0/16", "clash"),
    )
    assert "20.0.0.0/16 overlaps the host's route to 20.0." in said
    assert "via bgp0" in said
