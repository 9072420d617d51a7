"""Addresses of a segment, given by our process, beside a client that only writes rows."""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import http_client
from tests.bench.measured import say
from tests.e2e.bed import PLUGIN_DIR
from tests.e2e.stage import Stage
from tests.e2e.wire import Wire
from tests.e2e.world import until
from tests.hosts.central import NORTH
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

SUBNET = "10.60.0.0/21"
EACH = 120
"""Addresses that a client takes in a round."""


@dataclass(frozen=True)
class Arm:
    """A way to take addresses on one host."""

    host: Host
    command: tuple[str, ...]
    segment: str

    def measure(self, total: int) -> dict[str, Any]:
        """Take so many, one after the other, and release them."""
        said = self.host.run(*self.command, stdin=f"1 {total}\n", timeout_s=300)
        found: dict[str, Any] = json.loads(said)
        return found


class Pools:
    """A pool of a segment on each host, for as long as it is measured."""

    def __init__(self, hosts: Sequence[Host], segment: str, subnet: str = SUBNET) -> None:
        self.segment = segment
        self._wires = [Wire(host) for host in hosts]
        first, *others = self._wires
        self.ids = [first.pool(subnet, segment=segment)]
        self.ids += [each.pool("", segment=segment) for each in others]

    def release(self) -> None:
        """Take them back."""
        for wire, pool in zip(self._wires, self.ids, strict=True):
            wire.release_pool(pool)


def ours(host: Host, pool: str, segment: str) -> Arm:
    """Return calls to our process as dockerd does them."""
    socket = f"{PLUGIN_DIR}/ovsipam.sock"
    return Arm(host, (sys.executable, str(Path(http_client.__file__)), socket, pool), segment)


def raw(fleet: Fleet, host: Host, pool: str, segment: str, *, among: str = SUBNET) -> Arm:
    """Return the client that writes rows to the server that leads; ``among``: a free subnet."""
    leader, identity = fleet.leader(NORTH), host.identity
    assert identity is not None
    address = f"ssl:{leader.address}:{NORTH.port}"
    files = (str(each) for each in (identity.key, identity.certificate, identity.authority))
    module = (sys.executable, "-m", "tests.bench.segments.raw")
    return Arm(host, (*module, address, *files, segment, host.system_id, pool, among), segment)


def rates(fleet: Fleet, _: list[Stage], quick: bool) -> dict[str, Any]:
    """Return leases a second: one client alone, and one on each host; and their ratios."""
    pools = {name: Pools(fleet.hosts, name) for name in ("blue", "raw")}
    numbered = list(enumerate(fleet.hosts))
    arms = {
        "ours": [ours(host, pools["blue"].ids[at], "blue") for at, host in numbered],
        "raw": [raw(fleet, host, pools["raw"].ids[at], "raw") for at, host in numbered],
    }
    found: dict[str, Any] = {}
    for clients in (1, len(fleet.hosts)):
        measured: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in arms}
        rounds = 2 if quick else 6
        for number in range(rounds):
            say(f"leases: round {number + 1} of {rounds} with {clients}")
            for name, each in arms.items():
                measured[name].append(at_once(fleet, each[:clients], EACH))
        found[str(clients)] = _summary(measured)
    for held in pools.values():
        held.release()
    return found


def at_once(fleet: Fleet, arms: Sequence[Arm], total: int, before: int = 1) -> list[dict[str, Any]]:
    """Have clients take addresses at the same time, and wait until all are released.

    ``before``: ports that the segment has anyway; its name server's is one.
    """
    with ThreadPoolExecutor(len(arms)) as pool:
        found = list(pool.map(lambda arm: arm.measure(total), arms))
    segment = arms[0].segment
    until(
        lambda: len(fleet.nbctl("lsp-list", segment).splitlines()) <= before,
        "all are released",
        timeout_s=120,
    )
    return found


def _summary(measured: dict[str, list[list[dict[str, Any]]]]) -> dict[str, Any]:
    rates = {
        name: [sum(len(each["latencies_ms"]) / each["took_s"] for each in at) for at in rounds]
        for name, rounds in measured.items()
    }
    latencies = {
        name: median(ms for at in rounds for each in at for ms in each["latencies_ms"])
        for name, rounds in measured.items()
    }
    pairs = zip(rates["ours"], rates["raw"], strict=True)
    return {
        "per_s": {name: median(values) for name, values in rates.items()},
        "p50_ms": latencies,
        "of_raw": median(one / other for one, other in pairs),
    }
