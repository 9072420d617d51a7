"""Subnets whose network was never made, or is just going: who asks for them by name gets them."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL

import pytest

from tests.e2e.bed import Bed
from tests.e2e.modern import ModernEngine
from tests.e2e.stage import Stage
from tests.e2e.wire import Wire, pools

pytestmark = pytest.mark.docker

CREATE = ("network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam")


@pytest.fixture
def wire(bed: Bed) -> Wire:
    return Wire(bed)


def test_a_subnet_that_engine_28_left_with_a_refused_one_is_given_to_the_next_try(
    bed: Bed, stage: Stage, wire: Wire
) -> None:
    """Its rollback is shadowed: of two ``--subnet`` the second is refused, the first stays."""
    stage.network("other", subnet="10.78.2.0/24")
    left = wire.pool("10.78.1.0/24")
    wire.address(left, gateway=True)
    assert "overlaps 10.78.2.0/24" in wire.request_pool("10.78.2.0/24")["Err"]
    network = stage.network("again", subnet="10.78.1.0/24")
    assert stage.container("ann", network).pings(network.gateway())
    assert left not in [each["pool"]["id"] for each in pools(bed)]
    text = bed.docker_refuses(*CREATE, "--subnet", "10.78.1.0/24", "third")
    assert "overlaps 10.78.1.0/24" in text
    wire.release_pool(left)
    assert len(pools(bed)) == 2, "what Docker says of the old one is not about the new one"


@pytest.mark.parametrize("driver", ["ovsnet", "bridge"])
def test_of_two_who_make_the_same_network_at_once_one_gets_it(
    bed: Bed, stage: Stage, driver: str
) -> None:
    create = ("network", "create", "--driver", driver, "--ipam-driver", "ovsipam")
    with ThreadPoolExecutor(2) as both:
        tries = [
            both.submit(bed.attempt, "docker", *create, "--subnet", "10.78.1.0/24", name)
            for name in ("one", "two")
        ]
    results = [each.result() for each in tries]
    assert sorted(each.code for each in results) == [0, 1], results
    assert "overlaps 10.78.1.0/24" in "".join(each.err for each in results)
    (name,) = stage.custom_networks()
    stage.container("ann", name)
    assert len(pools(bed)) == 1
    assert "overlaps 10.78.1.0/24" in bed.docker_refuses(*create, "--subnet", "10.78.1.0/24", "x")


def test_a_network_that_dockerd_died_in_the_making_of_is_made_by_the_same_command(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed()
    engine = ModernEngine(bed)  # its network is one that Docker does not know
    lost = engine.network("10.78.1.0/24", "fd00:78:1::/64")
    both = ("--ipv6", "--subnet", "fd00:78:1::/64")
    assert "overlaps" in bed.docker_refuses(*CREATE, "--subnet", "10.78.1.0/24", *both, "lab")
    bed.dockerd.stop(SIGKILL)
    bed.start_docker()
    stage = Stage(bed)
    network = stage.network("lab", *both, subnet="10.78.1.0/24")
    stage.container("ann", network)
    known = json.loads(bed.ovsnet("network", "ls", "--json"))
    assert [each["network"]["id"] for each in known] == [network.id]
    assert network.id != lost.id
    stage.clear()


def test_an_automatic_subnet_is_not_that_of_a_network_that_is_being_removed(
    bed: Bed, stage: Stage, wire: Wire
) -> None:
    """Docker releases a network's pools before the network itself."""
    going = stage.network("going")
    (pool,) = pools(bed)
    wire.release_pool(pool["pool"]["id"])
    assert stage.network("coming").subnet() != going.subnet()
