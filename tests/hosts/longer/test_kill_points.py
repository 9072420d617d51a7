"""Our process on one host of three is killed at points of every call on a segment.

What dockerd does next, and the next process, leave all as it was: on all hosts and in both of
OVN's databases. Everything is real but dockerd; see ``tests/faults/mortal.py`` for what a point is.
Another host's container stands beside, and keeps its address.

Of the points of Docker's calls each sixth is taken, from one on that the seed chooses, and with
``TESTS_FAULTS=all`` all of them. ``TESTS_SEED`` repeats a run.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import snapshot
from tests.e2e.snapshot import Snapshot
from tests.e2e.world import until
from tests.faults.haste import hurried
from tests.faults.lives import DUAL, PHASES, Life, Scene, play
from tests.faults.mortal_bed import Mortality
from tests.faults.played import E26, Container, Network, PlayedDocker, Subnet, api
from tests.faults.sandboxes import Sandboxes
from tests.faults.test_kill_points import played_line
from tests.hosts import left
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

pytestmark = [pytest.mark.docker, pytest.mark.ovn, pytest.mark.long]

ALL = os.environ.get("TESTS_FAULTS", "") == "all"
EVERY = 1 if ALL else 6
SEED = int(os.environ.get("TESTS_SEED", "") or secrets.randbelow(1_000_000))

SEGMENT = Scene(
    subnets=DUAL, options={"ovs.segment": "blue"}, ipam_options={"ipam.segment": "blue"}
)
SCENES = {
    "overlay": SEGMENT,
    "routed": Scene(
        subnets=DUAL,
        options={"ovs.segment": "blue", "ovs.router": "main", "ovs.rate": "50mbit"},
        ipam_options=SEGMENT.ipam_options,
    ),
}
PATIENCE_S = 120
_ANEW = re.compile(r'\["(ovsnet-ifindex|ovsnet:since|ovn-installed-ts)", "[\d.]+"\](, )?')


class MortalHost(Host, Mortality):
    """A host whose process is killed where the test says."""

    def __init__(self, *of: Any, **described: Any) -> None:
        super().__init__(*of, **described)
        self.be_mortal(self)


@dataclass
class Stand:
    """A fleet, and the dockerd that is played on the host where processes die."""

    fleet: Fleet
    host: MortalHost
    docker: PlayedDocker
    neighbour: Container


@contextmanager
def docker_on(host: Host, revive: Callable[[], None]) -> Iterator[PlayedDocker]:
    """Play dockerd on a host."""
    sandboxes = Sandboxes(host)
    docker = PlayedDocker(
        played_line(host), sandboxes, E26, revive, first_id=1 + 0x400 * host.number
    )
    with api(docker, host.outer_path("/run/docker.sock")):
        yield docker
    sandboxes.remove_all()


@pytest.fixture(scope="module")
def mortal_fleet() -> Iterator[Fleet]:
    print(f"TESTS_SEED={SEED}")  # noqa: T201 - repeats a run that failed
    with Fleet(secure=True, docker=False, kinds={2: MortalHost}) as fleet:
        yield fleet


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> Scene:
    return SCENES[request.param]


@pytest.fixture
def stand(mortal_fleet: Fleet, scene: Scene) -> Iterator[Stand]:
    one, host = mortal_fleet.host(1), mortal_fleet.host(2)
    assert isinstance(host, MortalHost)
    if not host.plugin.running:
        host.start_plugin()
    with ExitStack() as stack:
        there = stack.enter_context(docker_on(one, lambda: None))
        here = stack.enter_context(docker_on(host, host.come_back))
        network = Network(
            there.new_id(),
            [Subnet(each) for each in scene.subnets],
            scene.options,
            scene.ipam_options,
        )
        there.create_network(network)
        neighbour = Container("neighbour", network)
        there.start(neighbour)
        yield Stand(mortal_fleet, host, here, neighbour)
        if not host.plugin.running:
            host.start_plugin()
        for each in list(here.containers):
            here.stop(each)
        for left_over in list(here.networks):
            here.remove_network(left_over)
        there.stop(neighbour)
        there.remove_network(network)
        until(lambda: not mortal_fleet.nbctl("ls-list"), "the segment is gone", timeout_s=60)


@pytest.mark.parametrize("phase", PHASES)
def test_killed_at_points_of_calls_it_leaves_the_whole_fleet_as_it_was(
    stand: Stand, scene: Scene, phase: str
) -> None:
    kept: list[Snapshot] = []
    kills = play(
        Life(stand.docker, scene),
        stand.docker,
        stand.host,
        phase,
        dies=False,
        every=EVERY,
        shift=SEED,
        reference=lambda: kept.append(settled(stand)),
        as_it_was=lambda _, what: as_it_was(stand, kept[0], what),
    )
    assert kills > 0


def test_killed_while_it_releases_what_it_owes_it_releases_it_afterwards(
    stand: Stand, scene: Scene
) -> None:
    life = Life(stand.docker, scene)
    life.started()  # a network that was used once is another one
    life.stop()
    reference = settled(stand)
    number = 1
    while True:
        life.started()
        deaths = stand.host.deaths
        stand.host.doom("settle", number)
        life.stop()
        if not dies(stand, reference, deaths):
            break
        as_it_was(stand, reference, f"killed while it released, at point {number}")
        number += 1
    stand.host.doom("none", 1)
    life.removed()
    assert number > 1


def test_killed_while_it_mends_lost_rows_it_mends_them_the_next_time(
    stand: Stand, scene: Scene
) -> None:
    life = Life(stand.docker, scene)
    life.started()
    reference = settled(stand)
    number = 1
    while True:
        deaths = stand.host.deaths
        stand.host.doom("reconcile", number)
        for row in rows_of(stand, "host2"):
            stand.fleet.nbctl("--if-exists", "lsp-del", row)
        if not dies(stand, reference, deaths):
            break
        as_it_was(stand, reference, f"killed in a repair at point {number}")
        number += 1
    stand.host.doom("none", 1)
    life.removed()
    assert number > 1


def rows_of(stand: Stand, host: str) -> list[str]:
    """Return the names of a host's leases."""
    wanted = ("--bare", "--columns=name", "find", "Logical_Switch_Port")
    return stand.fleet.nbctl(*wanted, f"external_ids:ovsnet\\:host={host}").split()


def taken(stand: Stand) -> Snapshot:
    """Return all that is there, but what depends on whether Docker was read meanwhile.

    And the index of a name server's link, which each process makes anew; and since when a lease
    is held, which is lost with its row.
    """
    return {
        part: [
            _ANEW.sub("", line.replace('"engine":"PLAYED"', '"engine":""')).rstrip()
            for line in lines
            if not (part.endswith("records") and line.startswith("ipam_memory"))
        ]
        for part, lines in left.take(stand.fleet).items()
    }


def settled(stand: Stand) -> Snapshot:
    """Return the same when nothing goes on in the background any more."""
    last: list[Snapshot] = [{}]

    def calm() -> bool:
        before, last[0] = last[0], taken(stand)
        return bool(before) and not snapshot.difference(before, last[0])

    until(calm, "nothing changes any more", timeout_s=60)
    return last[0]


def dies(stand: Stand, reference: Snapshot, deaths: int) -> bool:
    """Wait until the process has died again, and started, or until all is so; whether it died."""
    _wait(stand, reference, "it dies, or all is as it was", or_dead=True)
    if not stand.host.plugin.running:  # else a call has found it dead
        stand.host.come_back()
    return stand.host.deaths > deaths


def as_it_was(stand: Stand, reference: Snapshot, what: str) -> None:
    """Wait until all is so."""
    _wait(stand, reference, f"all is as it was, {what}, before {stand.host.points()[-1]}")


def _wait(stand: Stand, reference: Snapshot, what: str, *, or_dead: bool = False) -> None:
    last: list[str] = []

    def so() -> bool:
        if or_dead and not stand.host.plugin.running:
            return True
        last[:] = [snapshot.difference(reference, taken(stand))]
        return not last[0]

    with hurried(stand.host):
        until(so, lambda: f"{what}:\n{last[0]}", timeout_s=PATIENCE_S)
