"""What a hundred containers at once cost: counted, since a count does not depend on the machine."""

import asyncio
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ovsdriver.adapters.kernel.codec.rtnetlink import NetlinkSocket
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.adapters.ovs.rows import OvsSwitch
from ovsdriver.adapters.store.database import Database
from ovsdriver.assembly import assemble
from ovsdriver.config import Settings
from ovsdriver.docker import methods
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.process import Tasks
from ovsdriver.words.fields import Fields
from ovsdriver.world import open_world
from tests.integration.netns import Sandbox, inside
from tests.integration.ovs import PrivateOvs

pytestmark = [pytest.mark.ovs, pytest.mark.netns]

AT_ONCE = 100

_PROCESSES = {
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
    "pty.spawn",
}
_started: list[str] = []
"""Processes that were started since the test began to listen; an audit hook cannot be removed."""


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _PROCESSES:
        _started.append(f"{event}{arguments!r}")


sys.addaudithook(_listen)


@dataclass
class Counts:
    """What was done since the last look."""

    links: KernelLinks
    switch: OvsSwitch
    database: Database
    messages: Counter[str]
    before: Counter[str]
    told_last: int = 0

    def _now(self) -> Counter[str]:
        return Counter(
            transactions=self.switch.transactions,
            commits=self.database.commits,
            changes=self.links.changes,
            batches=self.links.flushes,
            messages=self.messages["messages"],
            processes=len(_started),
        )

    async def told(self) -> list[str]:
        """Return what is kept of what happened since the last look, from the file."""
        question = "SELECT id, type || '.' || action FROM event WHERE id > ? ORDER BY id"
        last = self.told_last
        rows = await self.database.read(lambda c: c.execute(question, (last,)).fetchall())
        self.told_last = rows[-1][0] if rows else last
        return [text for _, text in rows]

    def since(self) -> Counter[str]:
        now = self._now()
        found = now - self.before
        self.before = now
        return found


class Process:
    """All parts of the process on a real Open vSwitch and kernel, without its sockets."""

    def __init__(self, calls: Any, counts: Counts, sandbox: str) -> None:
        self._calls, self.counts, self._sandbox = calls, counts, sandbox
        self._network: dict[str, str] = {}
        self._pool = ""

    async def call(self, name: str, **members: object) -> dict[str, Any]:
        answer: dict[str, Any] = dict(await self._calls[name].answer(Fields(members)))
        return answer

    async def make_network(self) -> None:
        pool = await self.call("IpamDriver.RequestPool", AddressSpace="ovsnet", Pool="10.9.0.0/16")
        self._pool = pool["PoolID"]
        gateway = {"RequestAddressType": "com.docker.network.gateway"}
        address = await self.call(
            "IpamDriver.RequestAddress", PoolID=self._pool, Address="", Options=gateway
        )
        self._network = {"NetworkID": secrets.token_hex(32)}
        await self.call(
            "NetworkDriver.CreateNetwork",
            **self._network,
            Options={"com.docker.network.generic": {"ovs.mode": "isolated"}},
            IPv4Data=[
                {"AddressSpace": "ovsnet", "Gateway": address["Address"], "Pool": pool["Pool"]}
            ],
            IPv6Data=[],
        )

    async def start(self) -> tuple[dict[str, str], str]:
        """Make the calls of a container's start; return its ids and its address."""
        lease = await self.call(
            "IpamDriver.RequestAddress", PoolID=self._pool, Address="", Options=None
        )
        ids = {**self._network, "EndpointID": secrets.token_hex(32)}
        interface = {"Address": lease["Address"], "AddressIPv6": "", "MacAddress": ""}
        await self.call("NetworkDriver.CreateEndpoint", **ids, Interface=interface, Options={})
        await self.call("NetworkDriver.Join", **ids, SandboxKey=self._sandbox, Options={})
        return ids, lease["Address"].partition("/")[0]

    async def stop(self, ids: dict[str, str], address: str) -> None:
        """Make the calls of a container's end."""
        await self.call("NetworkDriver.Leave", **ids)
        await self.call("NetworkDriver.DeleteEndpoint", **ids)
        await self.call("IpamDriver.ReleaseAddress", PoolID=self._pool, Address=address)


@pytest.fixture
async def process(
    ovs: PrivateOvs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Process]:
    databases: list[Database] = []
    opening = Database.open

    async def open_noted(path: Path, **named: Any) -> Database:
        databases.append(await opening(path, **named))
        return databases[-1]

    messages: Counter[str] = Counter()
    exchange = NetlinkSocket._exchange

    def counted(self: NetlinkSocket, *arguments: Any, **named: Any) -> list[bytes]:
        messages["messages"] += 1
        return exchange(self, *arguments, **named)

    monkeypatch.setattr(Database, "open", open_noted)
    monkeypatch.setattr(NetlinkSocket, "_exchange", counted)
    settings = replace(
        Settings(state_dir=tmp_path, run_dir=tmp_path, plugin_dir=tmp_path),
        ovsdb=ovs.address,
        docker=f"unix://{tmp_path}/none.sock",
        datapath=Datapath.NETDEV,
    )
    with inside(f"/run/netns/{ovs.namespace}"), Sandbox() as sandbox:
        async with (
            open_world(settings) as world,
            Tasks() as tasks,
            assemble(world, settings) as product,
        ):
            tasks.start(world.watch())
            backend = methods.Backend()
            backend.ready(product.services)
            assert isinstance(world.links, KernelLinks)
            assert isinstance(world.switch, OvsSwitch)
            counts = Counts(world.links, world.switch, databases[0], messages, Counter())
            made = Process(methods.both_kinds(backend), counts, sandbox.path)
            await made.make_network()
            counts.since()
            yield made


async def at_once(works: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    async with asyncio.timeout(120):
        return await asyncio.gather(*works)


async def test_a_hundred_containers_share_commits_transactions_and_deletions(
    process: Process,
) -> None:
    started = await at_once([process.start() for _ in range(AT_ONCE)])
    cost = process.counts.since()
    assert cost["changes"] == 4 * AT_ONCE  # the pair, its offload, its silence, its mark
    assert cost["messages"] <= 2 * AT_ONCE + 20  # of these by netlink; and the tap is asked
    assert cost["commits"] <= AT_ONCE  # of three writes for each
    assert cost["transactions"] <= AT_ONCE
    assert cost["processes"] == 0

    await at_once([process.stop(*each) for each in started])
    cost = process.counts.since()
    assert cost["messages"] <= 2 * AT_ONCE + cost["batches"] + 20  # each is found and marked
    assert cost["batches"] <= AT_ONCE // 2  # of what was marked during the one before
    assert cost["commits"] <= AT_ONCE  # of four writes for each
    assert cost["transactions"] <= AT_ONCE
    assert cost["processes"] == 0


async def test_one_container_costs_a_commit_for_each_answer_that_promises_something(
    process: Process,
) -> None:
    await process.stop(*await process.start())  # a network notes its first one
    process.counts.since()
    await process.counts.told()

    started = await process.start()
    cost = process.counts.since()
    assert cost["commits"] == 3
    # these commits have what is told of it
    assert await process.counts.told() == ["lease.given", "endpoint.attached"]
    assert cost["transactions"] == 1
    assert cost["changes"] == 4
    await process.stop(*started)
    cost = process.counts.since()
    assert cost["commits"] == 3  # what is forgotten goes with the last one
    assert await process.counts.told() == ["endpoint.detached", "lease.released"]
    assert cost["transactions"] == 1
    assert cost["processes"] == 0
