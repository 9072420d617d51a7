"""Containers of a segment are found by name from every host."""

import sys
from pathlib import Path

import pytest

from tests.e2e.stage import Container, Stage
from tests.e2e.world import until
from tests.hosts import resolve, segments
from tests.hosts.fleet import Fleet
from tests.hosts.segments import SUBNET

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

WITH_GLIBC = (
    *("--volume", "/usr:/usr:ro", "--volume", "/usr/lib:/lib:ro"),
    *("--volume", "/usr/lib64:/lib64:ro"),
)
"""The machine's own programs, for they ask as most images do."""


def ask(place: Container, name: str, kind: str = "A", transport: str = "udp") -> str:
    """Return what the server of a container answers, Docker's own."""
    said = (str(Path(resolve.__file__)), "127.0.0.11", name, kind, transport)
    return place.world.run(sys.executable, *said, netns=place.netns)


def knows(place: Container, name: str, *addresses: str, kind: str = "A") -> None:
    """Wait until a container finds a name."""
    wanted = " ".join(("NOERROR", *addresses))
    last: list[str] = []

    def found() -> bool:
        last[:] = [ask(place, name, kind)]
        return last == [wanted]

    until(found, lambda: f"{place.name} finds {name} {kind} as {wanted}: {last}", timeout_s=30)


def misses(place: Container, name: str, address: str) -> None:
    """Wait until a container does not find a name any more."""
    gone = f"{place.name} does not find {name} any more"
    until(lambda: address not in ask(place, name), gone, timeout_s=30)


def test_containers_are_found_by_name_and_alias_from_every_host(
    fleet: Fleet, stages: list[Stage]
) -> None:
    networks = segments.made(stages, "blue", subnet=SUBNET)
    containers = [
        stage.container(f"Web{n}", network, "--network-alias", f"alias{n}", *WITH_GLIBC)
        for n, (stage, network) in enumerate(zip(stages, networks, strict=True), 1)
    ]
    for number, there in enumerate(containers, 1):
        address = there.address("blue")
        for here in containers:
            if here is not there:
                knows(here, f"web{number}", address)
                knows(here, f"alias{number}", address)
                assert address in here.execute("getent", "ahostsv4", f"web{number}")
    last = containers.pop()
    address = last.address("blue")
    stages[-1].bed.docker("rm", "--force", last.name)
    for here in containers:
        misses(here, "web3", address)


def test_a_container_on_two_segments_asks_on_both(fleet: Fleet, stages: list[Stage]) -> None:
    blue = segments.made(stages[:2], "blue", subnet=SUBNET)
    red = segments.made(stages[:2], "red", subnet="10.51.0.0/24")
    both = stages[0].container("both", blue[0])
    stages[0].bed.docker("network", "connect", "red", "both")
    one, other = (
        stages[1].container(name, net[1]) for name, net in (("one", blue), ("other", red))
    )
    knows(both, "one", one.address("blue"))
    routes = {each["dst"] for each in both.sees("route", "show") if each["dst"].startswith("169")}
    assert routes == {"169.254.53.53", "169.254.53.52/31"}
    stages[0].bed.docker("network", "disconnect", "blue", "both")
    knows(both, "other", other.address("red"))
