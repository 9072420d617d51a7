"""TCP between containers of two hosts, beside TCP between the hosts themselves."""

from statistics import median
from typing import Any

from tests.bench.measured import say
from tests.bench.with_docker import stream
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place
from tests.hosts import segments
from tests.hosts.fleet import Fleet


def between_hosts(fleet: Fleet, stages: list[Stage], quick: bool) -> dict[str, Any]:
    """Return bits a second and retransmits; each pair has one stream at a time, in turns."""
    networks = segments.made(stages, "blue")
    one, two, _ = segments.peopled(stages, networks, command="exec sleep 3600")
    near, far = fleet.hosts[:2]
    pairs = {
        "segment": (one, two, two.address("blue")),
        "underlay": (Place(near, "near"), Place(far, "far"), far.address),
    }
    rates: dict[str, list[float]] = {name: [] for name in pairs}
    repeated: dict[str, list[int]] = {name: [] for name in pairs}
    rounds = 2 if quick else 8
    for number in range(rounds):
        say(f"TCP between hosts: round {number + 1} of {rounds}")
        for name, (source, target, address) in pairs.items():
            rate, retransmits = stream(source, target, address)
            rates[name].append(rate)
            repeated[name].append(retransmits)
    each = zip(rates["segment"], rates["underlay"], strict=True)
    return {
        "bits_per_s": {name: median(values) for name, values in rates.items()},
        "retransmits": {name: median(values) for name, values in repeated.items()},
        "of_underlay": median(ours / theirs for ours, theirs in each),
    }
