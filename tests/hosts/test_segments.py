"""Networks over several hosts: one subnet, one address held once, containers that reach others."""

import pytest

from tests.e2e.stage import Network, Stage
from tests.hosts.fleet import Fleet

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

SUBNET, SUBNET6 = "10.50.0.0/24", "fd50::/64"


def on_segment(name: str) -> tuple[str, ...]:
    return ("-o", f"ovs.segment={name}", "--ipam-opt", f"ipam.segment={name}")


def everywhere(stages: list[Stage], name: str, *options: str, subnet: str) -> list[Network]:
    """Make a network of a segment on the first host, and join it on the others."""
    first = stages[0].network(name, *on_segment(name), *options, subnet=subnet)
    plain = [each for each in options if each in ("--ipv6", "--internal")]
    return [first, *(each.network(name, *on_segment(name), *plain) for each in stages[1:])]


def test_a_segment_is_one_network_on_all_hosts(fleet: Fleet, stages: list[Stage]) -> None:
    networks = everywhere(stages, "blue", subnet=SUBNET)
    assert {each.subnet() for each in networks} == {SUBNET}
    containers = [
        stage.container(f"web{n}", network)
        for n, (stage, network) in enumerate(zip(stages, networks, strict=True), 1)
    ]
    addresses = [each.address("blue") for each in containers]
    assert len(set(addresses)) == len(addresses)
    for here in containers:
        for there, address in zip(containers, addresses, strict=True):
            if there is not here:
                here.reaches(address, who=there.name)
