"""What status and refusals say is true, and names people."""

import json

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.world import until

pytestmark = pytest.mark.docker

MAC = ("--mac-address", "02:00:00:00:00:07")


def told(bed: Bed) -> str:
    """Return all that status tells."""
    return str(json.loads(bed.ovsnet("status", "--json")))


def test_two_containers_with_one_mac_are_told_by_name_and_one_on_another_network_is_not(
    bed: Bed, stage: Stage
) -> None:
    one, two = stage.network("one"), stage.network("two")
    stage.container("ann", one, *MAC)
    stage.container("carl", two, *MAC)
    assert "same MAC" not in told(bed)
    stage.container("bob", one, *MAC)
    until(
        lambda: "containers ann, bob have the same MAC address 02:00:00:00:00:07" in told(bed),
        lambda: f"it is told: {told(bed)}",
    )
    assert "carl" not in told(bed)
    stage.bed.docker("rm", "--force", "bob")
    assert "same MAC" not in told(bed)


def test_a_refusal_names_a_container_and_a_network_that_were_just_made(
    bed: Bed, stage: Stage
) -> None:
    """The collector's next look at Docker is up to a minute away."""
    network = stage.network("just-made", subnet="10.77.1.0/24")
    stage.container("ann", network)
    create = ("network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam")
    until(
        lambda: (
            "(network just-made, pool"
            in bed.docker_refuses(*create, "--subnet", "10.77.1.0/25", "refused")
        ),
        "its name is known",
        timeout_s=15,
    )


def test_networks_that_come_and_go_are_no_repairs(bed: Bed, stage: Stage) -> None:
    def mended() -> list[str]:
        return [
            each["what"] for each in json.loads(bed.ovsnet("status", "--json"))["repairs"]["lately"]
        ]

    before = mended()
    for number in range(4):
        network = stage.network(f"n{number}", "-o", "ovs.guard=true")
        bed.ovsnet("reconcile")
        stage.container("ann", network)
        bed.ovsnet("reconcile")
        stage.clear()
        bed.ovsnet("reconcile")
    assert [each for each in mended() if each not in before] == []
