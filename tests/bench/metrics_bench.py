"""What a scrape costs: 1,000 containers' links in a namespace, the records and names beside them.

    python -m tests.bench.metrics_bench [ENDPOINTS]

As root. The switch, Docker and the records' makers are fakes; the links, the dump of their
counters and the text are the product's. Time is that of a whole scrape and of its processor; the
longest hold is how long a call of Docker's may have waited for the loop.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.admin.desk import Desk
from ovsdriver.admin.measures.reading import Counters
from ovsdriver.docker import methods
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.metrics import Metrics
from ovsdriver.service.forgotten.purge import Purged
from tests.integration.netns import Sandbox, own_namespace
from tests.unit.service.conftest import Host

NETWORKS = 5
SCRAPES = 40


def _ids(count: int) -> list[tuple[str, str]]:
    """Return each endpoint's network and id."""
    return [
        (f"{at % NETWORKS:02x}" * 32, f"{at:012x}".ljust(64, "e")) for at in range(1, count + 1)
    ]


def _make_links(ids: list[tuple[str, str]], inside: str) -> None:
    lines = []
    for _, endpoint in ids:
        host, inner = (
            make(EndpointId(endpoint)) for make in (names.host_link, names.container_link)
        )
        lines.append(f"link add {host} up type veth peer name {inner} netns {inside}")
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


@contextlib.contextmanager
def _timed_turns(loop: asyncio.AbstractEventLoop, turns: list[float]) -> Iterator[None]:
    """Note the processor's time between two looks of the loop at its sockets."""
    select = loop._selector.select  # type: ignore[attr-defined]
    last = time.thread_time()

    def noted(timeout: float | None = None) -> object:
        nonlocal last
        turns.append(time.thread_time() - last)
        found = select(timeout)
        last = time.thread_time()
        return found

    loop._selector.select = noted  # type: ignore[attr-defined]
    try:
        yield
    finally:
        loop._selector.select = select  # type: ignore[attr-defined]


async def _host(path: Path, ids: list[tuple[str, str]]) -> Host:
    host = await Host.start(path)
    for network in sorted({each for each, _ in ids}):
        await host.create_network(network)
        host.engine.add_network(NetworkId(network), f"lab-{network[:2]}")
    for at, (network, endpoint) in enumerate(ids):
        await host.run_container(endpoint, network, f"/netns/{at}")
        host.engine.add_endpoint(EndpointId(endpoint), NetworkId(network), f"web-{at}")
    await host.witness.read()
    return host


async def _measure(ids: list[tuple[str, str]], path: Path) -> None:
    host = await _host(path, ids)
    kernel = Kernel(owner="ovsnet")
    counters = Counters(owner="ovsnet", state=host.state, links=kernel.links, sandboxes=host.links)
    object.__setattr__(host.admin, "counters", counters)
    backend = methods.Backend()

    async def purge_unread() -> Purged:
        raise AssertionError

    desk = Desk(
        owner="ovsnet",
        switch=host.switch,
        engine=host.engine,
        metrics=Metrics(),
        degraded=lambda: backend.degraded,
        closed=backend.closed,
        purge_unread=purge_unread,
    )
    desk.ready(host.admin)
    loop = asyncio.get_running_loop()
    whole, used, holds, dumps = [], [], [], []
    text = b""
    for _ in range(SCRAPES):
        processor = time.process_time()
        await counters.read()
        dumps.append(time.process_time() - processor)
        turns: list[float] = []
        with _timed_turns(loop, turns):
            began, processor = time.perf_counter(), time.process_time()
            text = await desk.metrics()
            whole.append(time.perf_counter() - began)
            used.append(time.process_time() - processor)
        holds.append(max(turns))
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    print(f"{len(ids)} endpoints, {series} series, {len(text) / 1e6:.2f} MB of text")
    for what, times in (
        ("whole scrape", whole),
        ("its processor", used),
        ("of it the dump of counters", dumps),
        ("longest turn of the loop in a scrape, in its processor", holds),
    ):
        quantile = statistics.quantiles(times, n=20)
        print(f"{what}: p50 {quantile[9] * 1000:.1f} ms, p95 {quantile[18] * 1000:.1f} ms")
    await kernel.close()
    await host.stop()


def main() -> None:
    """Make the links, scrape, print."""
    ids = _ids(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    with own_namespace(), Sandbox() as containers, tempfile.TemporaryDirectory() as folder:
        _make_links(ids, Path(containers.path).name)
        asyncio.run(_measure(ids, Path(folder)))


if __name__ == "__main__":
    main()
