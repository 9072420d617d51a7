"""Our process is killed at every point of every call; what Docker does next leaves all as it was.

And of a repair, which the next process does again. Here everything is real but dockerd; with fakes
for what is beyond the process, ``tests/unit/service/test_killed.py`` does the same at every await.
Compared are records, leases, Open vSwitch, flows, links, firewall, sockets, settings. A network
with a container stands beside, and nothing of it may change.

``TESTS_FAULTS=all`` plays every scene with every way to go on, and every change of what stands;
else one of each, and of the points every sixth, or of a change some. ``tests/run points`` plays
all.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from tests.e2e import snapshot
from tests.e2e.bed import PLUGIN_DIR, RUN_DIR, Bed
from tests.e2e.wire import answer
from tests.e2e.world import until
from tests.faults.changes import CHANGES, LAB, Person, play_change
from tests.faults.haste import hurried
from tests.faults.lives import PHASES, SCENES, WAYS, Life, play
from tests.faults.mortal_bed import MortalBed
from tests.faults.played import Container, Network, PlayedDocker, Subnet, api
from tests.faults.sandboxes import Sandboxes

pytestmark = pytest.mark.docker

_SINCE = re.compile(r'"since":[^,}]+')
"""When what is for a while began."""

_ROUTES = """
for each in /run/netns/*; do
    for family in -4 -6; do ip -n "${each##*/}" $family route 2>/dev/null | sed "s|^|$each |"; done
done
"""
_MADE = re.compile(r"(?<=^ipam_lease: \()\d+, |, [\d.]+(?=\)$)")
"""Number and time of a lease."""
_WHOSE = re.compile(r" (linkdown|proto \w+|metric \d+|pref \w+)")
"""What differs between Docker's routes and ours."""
_PLACE = re.compile(r"(cookie=0x[0-9a-f]{8}4)[0-9a-f]{7}(,.* in_port=|,.*,in_port=)\d+")
"""Of flows that say where a port is: one of the host's that is made anew has another number."""
_LATER = ("sandbox_link", "note: ('set:")
"""Records of what was seen in a container, and of changes for its next start: when Docker tells."""
_CALM_S = 3.0
"""With nothing new."""

ALL = os.environ.get("TESTS_FAULTS", "") == "all"
EVERY = 1 if ALL else 6


@dataclass
class Stand:
    """The bed, and who speaks to it."""

    bed: MortalBed
    docker: PlayedDocker
    person: Person
    dies: bool


@pytest.fixture(scope="module")
def mortal_bed() -> Iterator[MortalBed]:
    with MortalBed(docker=False) as bed:
        bed.ovs_vsctl("add-br", "br-phys", "--", "set", "Bridge", "br-phys", "datapath_type=netdev")
        bed.run("ip", "link", "add", "nic0", "type", "veth", "peer", "name", "wire0")
        bed.run("ip", "link", "set", "wire0", "up")
        yield bed


@pytest.fixture(params=WAYS if ALL else ["docker-goes-on"])
def stand(mortal_bed: MortalBed, request: pytest.FixtureRequest) -> Iterator[Stand]:
    bed = mortal_bed
    if not bed.plugin.running:
        bed.start_plugin()
    engine, dies = WAYS[request.param]
    docker = PlayedDocker(played_line(bed), Sandboxes(bed), engine, bed.come_back)
    person = Person(partial(_said, bed), bed.come_back)
    with api(docker, bed.outer_path("/run/docker.sock")):
        network = Network(docker.new_id(), [Subnet("10.78.9.0/24"), Subnet("fd00:78:9::/64")])
        docker.create_network(network)
        beside = Container("beside", network, ports=[(8079, 80)])
        docker.start(beside)
        person.ask(LAB)
        yield Stand(bed, docker, person, dies)
        docker.stop(beside)
        docker.remove_network(network)
        with hurried(bed):
            until(lambda: bed.ovs_vsctl("list-br") == "br-phys", "our bridge is gone")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("scene", SCENES if ALL else ["nat"])
def test_killed_at_any_point_of_any_call_it_leaves_all_as_it_was(
    stand: Stand, scene: str, phase: str
) -> None:
    bed = stand.bed
    kept: list[snapshot.Snapshot] = []
    life = Life(stand.docker, SCENES[scene])
    with life.surrounded():
        kills = play(
            life,
            stand.docker,
            bed,
            phase,
            dies=stand.dies,
            every=EVERY,
            reference=lambda: kept.append(settled(bed)),
            as_it_was=lambda _, what: as_it_was(bed, kept, what),
        )
    assert kills > 0


@pytest.mark.parametrize("name", CHANGES if ALL else ["ways out"])
def test_killed_at_any_point_of_a_change_it_has_made_it_or_not(stand: Stand, name: str) -> None:
    bed, change = stand.bed, CHANGES[name]
    kept: dict[str, snapshot.Snapshot] = {}
    life = Life(stand.docker, SCENES[change.scene])
    with life.surrounded():
        kills = play_change(
            life,
            stand.person,
            bed,
            change,
            every=1 if ALL else 24,
            reference=lambda name: kept.update({name: calm(bed)}),
            is_one_of=lambda names, what: as_it_was(
                bed, [kept[each] for each in names], what, take=lasting
            ),
        )
    assert kills > 0


DAMAGES: Mapping[str, Callable[[Bed], object]] = {
    "bridge": lambda bed: bed.ovs_vsctl("--no-wait", "del-br", "br-ovsnet"),
    "rules": lambda bed: bed.nft("delete", "table", "inet", "ovsnet"),
}


@pytest.mark.parametrize("damage", DAMAGES if ALL else ["bridge"])
def test_killed_at_any_point_of_a_repair_it_mends_all_the_next_time(
    stand: Stand, damage: str
) -> None:
    bed = stand.bed
    life = Life(stand.docker, SCENES["nat"])
    life.started()
    reference = settled(bed)

    def whole() -> bool:
        return not snapshot.difference(reference, taken(bed))

    number = 1
    while True:
        bed.doom("reconcile", number)
        DAMAGES[damage](bed)
        until(lambda: not bed.plugin.running or whole(), "it mends, or dies")
        if bed.plugin.running:
            break
        bed.come_back()
        as_it_was(bed, [reference], f"killed in a repair at point {number}")
        number += EVERY
    bed.doom("none", 1)
    life.removed()
    assert number > EVERY


def taken(bed: Bed) -> snapshot.Snapshot:
    """Return all that is there, but what depends on whether Docker was read meanwhile."""
    found = dict(snapshot.take(bed))
    found["records"] = [
        _SINCE.sub("", line.replace('"engine":"PLAYED"', '"engine":""'))
        for line in found["records"]
        if not line.startswith("ipam_memory")  # who had a free address by name
    ]
    found["inside"] = sorted(_inside(bed))
    return found


def _inside(bed: Bed) -> Iterator[str]:
    """Return the routes in sandboxes, whoever put them there, but not those of a link by itself."""
    for line in bed.run("sh", "-c", _ROUTES).splitlines():
        if " via " in line:
            yield _WHOSE.sub("", line).strip()


def settled(bed: Bed) -> snapshot.Snapshot:
    """Return the same when each container's interface is noted, a second after its start."""

    def noted() -> bool:
        records = taken(bed)["records"]
        links, endpoints = (
            sum(line.startswith(f"{table}: ") for line in records)
            for table in ("sandbox_link", "endpoint")
        )
        return links == endpoints

    until(noted, "all interfaces are noted")
    return taken(bed)


def lasting(bed: Bed) -> snapshot.Snapshot:
    """Return the same without what says when it was made, or is noted some time later."""
    found = dict(taken(bed))
    found["flows"] = sorted(_PLACE.sub(r"\1\2", line) for line in found["flows"])
    found["records"] = sorted(
        _MADE.sub("", line) for line in found["records"] if not line.startswith(_LATER)
    )
    return found


def calm(bed: Bed) -> snapshot.Snapshot:
    """Return that when it stays so: names are told later, and what nobody needs rests a moment."""
    seen, since = lasting(bed), time.monotonic()

    def stays() -> bool:
        nonlocal seen, since
        found = lasting(bed)
        if found != seen:
            seen, since = found, time.monotonic()
        return time.monotonic() - since > _CALM_S

    until(stays, "nothing changes any more")
    return seen


def as_it_was(
    bed: MortalBed,
    known: Sequence[snapshot.Snapshot],
    what: str,
    *,
    take: Callable[[Bed], snapshot.Snapshot] = taken,
) -> None:
    """Wait until all is as one of those; the bound is generous, so that only a fault meets it."""
    last: list[str] = []

    def so() -> bool:
        found = take(bed)
        last[:] = [snapshot.difference(each, found) for each in known]
        return not all(last)

    with hurried(bed):
        until(so, lambda: "\n".join([f"all is as it was, {what}, by {bed.points()[-1:]}:", *last]))


def _said(bed: Bed, word: str, body: bytes) -> object:
    return answer(bed.outer_path(f"{RUN_DIR}/admin.sock"), "POST", f"/ask/{word}", body)


def played_line(bed: Bed) -> Callable[[str, bytes], dict[str, object]]:
    """Return what calls the plugin of a bed; OSError or HTTPException if a call is cut off."""

    def ask(name: str, body: bytes) -> dict[str, object]:
        driver = "ovsnet" if name.startswith("NetworkDriver") else "ovsipam"
        found: dict[str, object] = answer(
            bed.outer_path(f"{PLUGIN_DIR}/{driver}.sock"), "POST", f"/{name}", body
        )
        return found

    return ask
