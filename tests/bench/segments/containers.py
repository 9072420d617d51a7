"""``docker run`` on a segment: what it takes, whether its first packet arrives, after faults."""

import time
from collections.abc import Sequence
from signal import SIGKILL
from statistics import median
from typing import Any

from tests.bench.measured import say
from tests.e2e import image
from tests.e2e.stage import Stage
from tests.hosts import segments
from tests.hosts.central import DATABASES
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

ARMS = {
    "none": ("none",),
    "bridge": ("bridged",),
    "two bridges": ("bridged", "second"),
    "segment": ("blue",),
    "internal segment": ("inner",),
}
"""Networks of a container. On a segment Docker puts it on its ``docker_gwbridge`` too, and what a
second bridge costs tells what that takes."""


def runs(_: Fleet, stages: list[Stage], quick: bool) -> dict[str, Any]:
    """Take the time of containers that end at once, in turns; milliseconds."""
    host = stages[0].bed
    host.docker("network", "create", "bridged")
    host.docker("network", "create", "second")
    segments.made(stages, "blue")
    segments.made(stages, "inner", "--internal", subnet4="10.51.0.0/24")
    took: dict[str, list[float]] = {name: [] for name in ARMS}
    rounds = 5 if quick else 30
    for number in range(rounds + 1):
        say(f"docker run: round {number} of {rounds}")
        for name, networks in ARMS.items():
            on = [word for network in networks for word in ("--network", network)]
            began = time.perf_counter()
            host.docker("run", "--rm", *on, image.NAME, "true")
            if number:  # the first ones warm up
                took[name].append((time.perf_counter() - began) * 1000)
    middle = {name: median(values) for name, values in took.items()}
    return {
        "p50_ms": middle,
        "of_two_bridges": _ratio(took["segment"], took["two bridges"]),
        "internal_of_bridge": _ratio(took["internal segment"], took["bridge"]),
    }


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the middle of the rounds' ratios: the two of a round were measured together."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def first_pings(_: Fleet, stages: list[Stage], quick: bool) -> dict[str, Any]:
    """Count containers whose only ping, to another host, is answered.

    The hosts have spoken to each other before: on the userspace datapath the first packet into a
    tunnel is lost, while Open vSwitch asks for the MAC of its other end.
    """
    networks = segments.made(stages, "blue")
    others = segments.peopled(stages[1:], networks[1:])
    tried = 10 if quick else 50
    unanswered: list[str] = []
    for other in others:
        target = other.address("blue")
        stages[0].bed.attempt(
            *("docker", "run", "--rm", "--network", "blue", image.NAME, "ping", "-c", "3", target)
        )
    for number in range(tried):
        target = others[number % len(others)].address("blue")
        said = ("--rm", "--network", "blue", image.NAME, "ping", "-c", "1", target)
        done = stages[0].bed.attempt("docker", "run", *said)
        if done.code:
            unanswered.append(f"{done.out} {done.err}")
    return {"tried": tried, "answered": tried - len(unanswered), "unanswered": unanswered}


def gaps(fleet: Fleet, stages: list[Stage], quick: bool) -> dict[str, Any]:
    """Start containers on a host whose leader, elsewhere, was just killed; seconds."""
    segments.made(stages, "blue")
    usual = [_started(stages[0].bed) for _ in range(3 if quick else 8)]
    found: dict[str, Any] = {"usual_s": median(usual)}
    for database in DATABASES:
        after: list[tuple[float, int]] = []
        for number in range(2 if quick else 5):
            say(f"death of the leader of {database.schema}: {number + 1}")
            leader = fleet.leader(database)
            bed = next(each for each in fleet.hosts if each is not leader)
            _started(bed)
            leader.daemons[f"ovn-{database.short}"].stop(SIGKILL)
            after.append(_again_and_again(bed))
            leader.daemons[f"ovn-{database.short}"].start()
            fleet.leader(database)
            fleet.sync()
        found[database.short] = {
            "first_s": [round(took, 2) for took, _ in after],
            "refused": [refused for _, refused in after],
        }
    return found


def _started(host: Host | Any) -> float:
    began = time.perf_counter()
    host.docker("run", "--rm", "--network", "blue", image.NAME, "true")
    return time.perf_counter() - began


def _again_and_again(host: Host) -> tuple[float, int]:
    """Return when the first container had run, and how many were refused before it."""
    began, refused = time.perf_counter(), 0
    while host.attempt("docker", "run", "--rm", "--network", "blue", image.NAME, "true").code:
        refused += 1
    return time.perf_counter() - began, refused
