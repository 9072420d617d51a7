"""The tables of who reaches what in ovsdriver/README.md: each cell is tried, over both families."""

import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovsdriver.domain.records.model import HostAccess, Mode
from tests.e2e import documents
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.probes import Probe, answered
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import WEB_PORT, Place
from tests.e2e.world import Program, until

pytestmark = [pytest.mark.docker, pytest.mark.long]

MIRROR = (sys.executable, str(Path(__file__).parents[1] / "mirror.py"))
SERVICE, OURS, DOCKERS = 8077, 8080, 8090
"""Ports of the host: a service of its own, and two that lead to containers."""
WAN = {4: WAN4, 6: WAN6}
OUTSIDE = {4: OUTSIDE4, 6: OUTSIDE6}

WORDS = {
    "yes": ((4, 6), ("ping", "tcp")),
    "no": ((), ()),
    "ping": ((4, 6), ("ping",)),
    "IPv4": ((4,), ("ping", "tcp")),
}
"""What a cell says: over which families, and by what."""
UNSAID = "-"

HOST, BEYOND, OTHERS = "the host", "the outside", "Docker's bridge"
ISOLATE = "`routed`, `ovs.isolate=true`"
OPTIONS = {
    "`nat`": ("-o", "ovs.mode=nat"),
    "`routed`": ("-o", "ovs.mode=routed"),
    ISOLATE: ("-o", "ovs.mode=routed", "-o", "ovs.isolate=true"),
    "`flat`": ("-o", "ovs.mode=flat"),
    "`isolated`": ("-o", "ovs.mode=isolated"),
    "`gwbridge`": ("-o", "ovs.mode=gwbridge"),
}

Table = Mapping[str, Mapping[str, str]]


def tables() -> tuple[Table, Table]:
    """Return the two tables: what a row says of each column."""
    text = documents.DRIVER.read_text("utf-8")
    section = text.partition("\n## Who reaches what\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    starts = [number for number, cells in enumerate(lines) if cells[0] == "from"]
    one, two = (lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True))
    containers, host = (
        {row[0]: dict(zip(found[0][1:], row[1:], strict=True)) for row in found[2:]}
        for found in (one, two)
    )
    return containers, host


CONTAINERS, REST = tables()


def test_the_tables_have_all_modes_and_every_cell_can_be_tried() -> None:
    named = set(re.findall(r"`([\w.=]+)`", " ".join((*CONTAINERS, *REST))))
    assert {mode.value for mode in Mode} <= named
    assert {f"ovs.host={access}" for access in HostAccess} <= named
    assert {*CONTAINERS} == {*OPTIONS, OTHERS, HOST, BEYOND}
    columns = {column for row in CONTAINERS.values() for column in row}
    assert columns == {*OPTIONS, OTHERS}
    cells = {
        cell for table in (CONTAINERS, REST) for row in table.values() for cell in row.values()
    }
    assert cells <= {*WORDS, UNSAID}


@dataclass(frozen=True)
class Home:
    """A network, what is to be said of it, and its one container."""

    label: str
    network: Network
    container: Container
    host: str = "all"

    @property
    def has_gateway(self) -> bool:
        return self.label in ("`nat`", "`routed`", ISOLATE)


@dataclass
class Lab:
    """Two networks of each mode at least, with a container on each."""

    bed: Bed
    homes: list[Home] = field(default_factory=list)

    def place(self, name: str) -> Place:
        """Return a place that is no container."""
        return Place(self.bed, name, self.bed.outside if name == BEYOND else None)

    def sources(self, row: str) -> list[tuple[Place, Home | None]]:
        """Return where a row's probes are sent from."""
        if row in (HOST, BEYOND):
            return [(self.place(row), None)]
        access = row.strip("`").removeprefix("ovs.host=")
        if access in [each.value for each in HostAccess]:
            found = [h for h in self.homes if h.has_gateway and h.host == access]
        else:
            found = [h for h in self.homes if h.label == row][:1]
        assert found, row
        return [(home.container, home) for home in found]


@pytest.fixture(scope="module")
def lab(shared_bed: Bed) -> Iterator[Lab]:
    shared_bed.revive()
    lab, stage = Lab(shared_bed), Stage(shared_bed)
    service = Program(shared_bed, "service", *MIRROR, str(SERVICE))
    service.start()
    until(lambda: "listening" in service.said(), service.said)
    try:
        fill(lab, stage)
        yield lab
    finally:
        shared_bed.ip("route", "flush", "proto", "77", netns=shared_bed.outside)
        shared_bed.ip("-6", "route", "flush", "proto", "77", netns=shared_bed.outside)
        stage.clear()
        service.stop()
        service.log.unlink()


def fill(lab: Lab, stage: Stage) -> None:
    """Make the networks and containers, and give everybody a way to everywhere."""
    wanted = [(label, options, "all") for label, options in OPTIONS.items()]
    wanted += [
        (label, (*OPTIONS[label], "-o", f"ovs.host={access}"), access)
        for label in ("`nat`", "`routed`")
        for access in ("gateway", "none")
    ]
    second = (ISOLATE, "`flat`", "`isolated`", "`gwbridge`")
    wanted += [(label, OPTIONS[label], "all") for label in second]

    def dual(number: int, *options: str, **kinds: str) -> Network:
        six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
        subnet = f"10.77.{number}.0/24"
        return stage.network(f"net{number}", *six, *options, subnet=subnet, **kinds)

    made = [
        (label, dual(number, *options), host)
        for number, (label, options, host) in enumerate(wanted, start=1)
    ]
    made.append((OTHERS, dual(99, driver="bridge", ipam="default"), "all"))
    publishing = {"net1": OURS, "net99": DOCKERS}

    def run(home: tuple[str, Network, str]) -> Home:
        label, network, host = home
        port = publishing.get(network.name)
        publish = ("--publish", f"{port}:{WEB_PORT}") if port else ()
        container = stage.container(f"on-{network.name}", network, *publish)
        return Home(label, network, container, host)

    with ThreadPoolExecutor(3) as pool:
        lab.homes = list(pool.map(run, made))
    for home in lab.homes:
        for family in (4, 6):
            routes = home.container.sees(f"-{family}", "route", "show", "default")
            if not routes:
                way = ("dev", "eth0", "metric", "9999")
                bed, netns = lab.bed, home.container.netns
                bed.ip(f"-{family}", "route", "add", "default", *way, netns=netns)
            lab.bed.ip(
                *("route", "add", home.network.subnet(family), "via", WAN[family], "proto", "77"),
                netns=lab.bed.outside,
            )


def tried(place: Place, said: Mapping[Probe, bool]) -> None:
    """Assert that from ``place`` those probes are answered that should be, and no others."""
    wanted = {probe for probe, is_wanted in said.items() if is_wanted}
    missing: list[Probe] = []

    def as_said() -> bool:
        reached = answered(place, said)
        assert reached <= wanted, f"{place.name} reaches {sorted(reached - wanted)}"
        missing[:] = sorted(wanted - reached)
        return not missing

    until(as_said, lambda: f"{place.name} reaches {missing}", timeout_s=15)


def probes(
    cell: str, family: int, address: str, *ports: int, ping: bool = True
) -> dict[Probe, bool]:
    """Return what to try for a cell, and whether it is to be answered."""
    if cell == UNSAID:
        return {}
    families, kinds = WORDS[cell]
    wanted: dict[Probe, bool] = {
        ("tcp", address, port): family in families and "tcp" in kinds for port in ports
    }
    if ping:
        wanted["ping", address, 0] = family in families and "ping" in kinds
    return wanted


@pytest.mark.parametrize("row", CONTAINERS)
def test_a_row_of_containers_says_what_is_so(lab: Lab, row: str) -> None:
    place, near = lab.sources(row)[0]
    said: dict[Probe, bool] = {}
    for far in lab.homes:
        if far is near:
            continue
        for family in (4, 6):
            address = far.container.address(far.network, family)
            said |= probes(CONTAINERS[row][far.label], family, address, WEB_PORT)
    tried(place, said)


@pytest.mark.parametrize("row", REST)
def test_a_row_of_the_host_says_what_is_so(lab: Lab, row: str) -> None:
    cells = REST[row]
    (dockers,) = (home for home in lab.homes if home.label == OTHERS)
    for place, near in lab.sources(row):
        said: dict[Probe, bool] = {}
        for family in (4, 6):
            own, others, addresses, published, outside = cells.values()
            if near is not None and (near.has_gateway or near is dockers):
                gateway = near.network.gateway(family)
                said |= probes(own, family, gateway, SERVICE)
                said |= probes(published, family, gateway, OURS, ping=False)
            for far in lab.homes:
                if far.has_gateway and far is not near:
                    said |= probes(others, family, far.network.gateway(family), SERVICE, OURS)
            said |= probes(addresses, family, WAN[family], SERVICE)
            if near is not dockers and row != BEYOND:
                said |= probes(addresses, family, dockers.network.gateway(family), SERVICE)
            said |= probes(published, family, WAN[family], OURS, ping=False)
            if family == 4:
                said |= probes(published, family, WAN[family], DOCKERS, ping=False)
            said |= probes(outside, family, OUTSIDE[family], OUTSIDE_PORT)
        tried(place, said)
