"""Where the time of one attach goes."""

import json
import os
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.arms import docker_of, ours
from tests.bench.dockerd import Container, Place, cycles, subnet
from tests.integration.ovs import PrivateOvs

CALL, STORE, NETLINK, WAITING = "call", "store", "netlink", "waiting"
OVSDB, VSWITCHD = "ovsdb", "vswitchd"

HTTP, HANDS, CODE = "http", "hand-overs", "code"

LABELS: Mapping[str, str] = {
    VSWITCHD: "vswitchd takes the port",
    OVSDB: "ovsdb-server commits it",
    NETLINK: "netlink and the kernel make the pair, on their thread",
    STORE: "SQLite and the disk commit, on their thread (what the pair's making does not cover)",
    HANDS: "hand-overs to those threads and back",
    CODE: "our code on the loop: parse, check, decide, log, encode",
    HTTP: "HTTP: the kernel's sockets, waking up, and who calls",
}
"""In the order in which a moment is counted when several things happen at once."""

Span = tuple[str, float, float]


def where(ovs: PrivateOvs, *, quick: bool) -> dict[str, Any]:
    """Attach one at a time, and add up what each moment was used for; milliseconds."""
    count = 40 if quick else 300
    windows: list[tuple[float, float]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        os.environ["BENCH_SPANS"] = str(folder / "spans")
        process = stack.enter_context(ours(ovs, module="tests.bench.traced"))
        place = Place()
        stack.callback(place.close)
        network = docker_of(process, {"ovs.mode": "isolated"}).network(subnet())
        cycles(network, [place], 20)
        for _ in range(count):
            container = Container(network)
            begin = time.perf_counter()
            container.attach(place.sandbox.path)
            windows.append((begin, time.perf_counter()))
            container.move_in(place)
            container.detach(place)
        network.delete()
        process.stop()
        spans: list[Span] = [tuple(each) for each in json.loads((folder / "spans").read_text())]
    # Without the tails, which are those of other programs: what is left adds up.
    windows.sort(key=lambda window: window[1] - window[0])
    kept = windows[count // 10 : -count // 10]
    spans.sort(key=lambda span: span[1])
    parts: dict[str, float] = dict.fromkeys(LABELS, 0.0)
    for window in kept:
        for what, seconds in _divided(window, _within(spans, window)).items():
            parts[what] += seconds * 1000 / len(kept)
    return {"attach_ms": sum(parts.values()), "parts_ms": parts}


def _within(spans: Sequence[Span], window: tuple[float, float]) -> list[Span]:
    first = bisect_left(spans, window[0], key=lambda span: span[1])
    last = bisect_left(spans, window[1], key=lambda span: span[1])
    return list(spans[first:last])


def _divided(window: tuple[float, float], spans: Iterable[Span]) -> Mapping[str, float]:
    """Return the seconds of each part: between two edges the same things happen."""
    spans = list(spans)
    edges = sorted({*window, *(min(edge, window[1]) for span in spans for edge in span[1:])})
    parts: dict[str, float] = defaultdict(float)
    for begin, end in pairwise(edges):
        now = {what for what, since, until in spans if since <= begin and end <= until}
        parts[_counted(now)] += end - begin
    return parts


def _counted(now: set[str]) -> str:
    if CALL not in now:
        return HTTP
    for what in (VSWITCHD, OVSDB, NETLINK, STORE):
        if what in now:
            return what
    return HANDS if WAITING in now else CODE
