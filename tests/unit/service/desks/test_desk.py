"""What a person asks of the process, over services that run and a Docker that calls."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import pytest

from ipam.errors import StoreError
from ovsdriver.admin import asks
from ovsdriver.admin.desk import PURGING, Desk
from ovsdriver.admin.graph.views import Condition
from ovsdriver.docker import methods
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.errors import UnavailableError
from ovsdriver.metrics import Metrics
from ovsdriver.ports import EngineView
from ovsdriver.service.forgotten.purge import Purged
from ovsdriver.words.fields import Fields
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

REQUEST_POOL = {"Pool": "10.77.0.0/24"}


@dataclass
class Process:
    """A host's parts as one process has them."""

    host: Host
    backend: methods.Backend
    desk: Desk

    async def call(self, name: str, body: dict[str, object]) -> object:
        return await methods.both_kinds(self.backend)[name].answer(Fields(body))

    def ready(self) -> None:
        host = self.host
        self.desk.ready(host.admin)
        self.backend.ready(
            methods.Services(
                networks=host.networks,
                endpoints=host.endpoints,
                publications=host.publications,
                ipam=host.ipam,
            )
        )


@pytest.fixture
def process(host: Host) -> Process:
    backend = methods.Backend()

    async def purge_unread() -> Purged:
        return await host.purge_unread("the store /s/state.db is corrupt")

    desk = Desk(
        owner="ovsnet",
        switch=host.switch,
        engine=host.engine,
        metrics=Metrics(),
        degraded=lambda: backend.degraded,
        closed=backend.closed,
        purge_unread=purge_unread,
    )
    return Process(host=host, backend=backend, desk=desk)


class Gate:
    """Stands in a method and lets one call through when told to."""

    def __init__(self, target: Any, method: str) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._working = getattr(target, method)
        setattr(target, method, self._pass)

    async def _pass(self, *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        await self.open.wait()
        return await self._working(*args, **kwargs)


async def test_docker_is_refused_and_nobody_repairs_while_everything_is_removed(
    host: Host, process: Process
) -> None:
    process.ready()
    await host.create_network()
    await host.run_container()
    gate = Gate(host.firewall, "remove")
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        purging = tasks.create_task(process.desk.answer(asks.Purge()))
        await gate.reached.wait()
        with pytest.raises(UnavailableError, match="ovsnet purge") as refusal:
            await process.call("IpamDriver.RequestPool", REQUEST_POOL)
        assert str(refusal.value) == PURGING
        assert await process.call("NetworkDriver.GetCapabilities", {})
        looking = tasks.create_task(host.reconciler.reconcile())
        for _ in range(20):
            await asyncio.sleep(0)
        assert host.switch.bridges() == {}
        assert not looking.done()
        gate.open.set()
    purged = purging.result()
    assert (purged.failed, purged.left) == ((), ())
    assert host.switch.bridges() == {}
    assert host.state.networks() == ()
    assert await process.call("IpamDriver.RequestPool", REQUEST_POOL)


async def test_a_purge_waits_for_the_calls_that_are_being_served(
    host: Host, process: Process
) -> None:
    process.ready()
    gate = Gate(host.ipam, "request_pool")
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(process.call("IpamDriver.RequestPool", REQUEST_POOL))
        await gate.reached.wait()
        purging = tasks.create_task(process.desk.answer(asks.Purge()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not purging.done()
        gate.open.set()
    assert serving.result()
    assert purging.result().pools == ("10.77.0.0/24",)
    assert host.ipam.pools() == ()


async def test_a_purge_that_is_given_up_lets_docker_in_again(host: Host, process: Process) -> None:
    process.ready()
    gate = Gate(host.firewall, "remove")
    task = asyncio.create_task(process.desk.answer(asks.Purge()))
    async with asyncio.timeout(30):
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await process.call("IpamDriver.RequestPool", REQUEST_POOL)


async def test_what_the_ipam_cannot_forget_is_said_and_the_rest_is_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.create_network()

    async def full(_: object) -> bool:
        raise StoreError("the disk is full")

    monkeypatch.setattr(host.ipam, "release_pool", full)
    purged = await host.purge.run(switch_wait_s=1.0)
    assert purged.failed == ("the disk is full",)
    assert purged.bridges == ("br-ovsnet",)


async def test_without_records_what_is_marked_goes_and_the_records_are_left(
    host: Host, process: Process
) -> None:
    await host.create_network()
    await host.run_container()
    process.backend.degrade("the store /s/state.db is corrupt")
    purged = await process.desk.answer(asks.Purge())
    assert purged.failed == ()
    assert "/s/state.db" in purged.left[0]
    assert host.switch.bridges() == {}
    assert not any(link.startswith("ovh") for link in await host.links.links())
    assert host.firewall.plan.gateways == ()
    assert host.state.networks()


async def test_a_firewall_that_does_not_answer_is_a_warning(
    process: Process, host: Host, failing: Callable[[Any, str], None]
) -> None:
    process.ready()
    failing(host.firewall, "findings")
    status = await process.desk.answer(asks.ShowStatus())
    (warning,) = [each for each in status.warnings if "findings did not answer" in each]
    assert "could not be looked at" in warning
    assert status.counts is not None


async def test_a_fault_of_the_process_is_among_the_warnings(process: Process) -> None:
    process.desk.warn("/run/x.sock cannot be made")
    assert "/run/x.sock cannot be made" in (await process.desk.answer(asks.ShowStatus())).warnings


@pytest.mark.parametrize("word", sorted(asks.BY_WORD.keys() - {"show-status", "purge"}))
async def test_before_the_store_is_open_what_needs_it_is_refused_with_the_reason(
    process: Process, word: str
) -> None:
    any_ask = object.__new__(asks.BY_WORD[word])
    with pytest.raises(UnavailableError, match="still starting; try again"):
        await process.desk.answer(any_ask)
    process.backend.degrade("the disk is full")
    with pytest.raises(UnavailableError, match="the disk is full"):
        await process.desk.answer(any_ask)


def test_every_request_has_a_method_that_takes_it_and_gives_its_answer(
    host: Host, process: Process
) -> None:
    process.ready()
    answers = process.desk.answers()
    assert answers.keys() == set(asks.BY_WORD.values())
    for kind, method in answers.items():
        hints = get_type_hints(method)
        assert hints.pop("return") == asks.answer(kind)
        assert list(hints.values()) == [kind]


async def test_who_waits_for_another_picture_has_it_when_open_vswitch_changed(
    host: Host, process: Process
) -> None:
    process.ready()
    await host.create_network()
    await host.run_container()
    seen = await process.desk.answer(asks.ShowGraph())
    waiting = asyncio.create_task(
        process.desk.answer(asks.ShowGraph(seen=seen.version, wait_s=600))
    )
    await asyncio.sleep(0.05)
    assert not waiting.done()
    host.switch.drop_port(names.gateway_link(RED))
    found = await waiting
    assert found.version != seen.version
    assert Condition.BROKEN in {each.condition for each in found.edges}


async def test_who_looks_on_does_not_make_docker_say_the_same_again(
    host: Host, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.ready()
    await host.create_network()
    host.engine.add_network(RED, "red")
    asked: list[bool] = []
    read = host.engine.read

    async def counted() -> EngineView:
        asked.append(True)
        return await read()

    monkeypatch.setattr(host.engine, "read", counted)
    for _ in range(3):
        await process.desk.answer(asks.ShowGraph())
    assert len(asked) == 1
    await host.run_container()
    await process.desk.answer(asks.ShowGraph())
    assert len(asked) == 2


async def test_a_dry_look_mends_nothing_and_a_real_one_all_of_the_same(
    host: Host, process: Process
) -> None:
    process.ready()
    await host.create_network()
    await host.run_container()
    await host.reconciler.reconcile()
    assert (await process.desk.answer(asks.Reconcile(dry_run=True))).found == ()
    assert host.state.sandbox_link(EndpointId(FIRST)) is not None
    (endpoint,) = (await process.desk.answer(asks.ShowState())).endpoints
    assert endpoint.interface == "eth0"

    host.firewall.lose()
    host.links.drop_link(names.host_link(FIRST))
    host.switch.drop_port(names.gateway_link(RED))
    host.links.drop_link("br-ovsnet")
    host.links.add_tap("br-ovsnet", tso=True)
    calls = list(host.switch.calls)
    dry = await process.desk.answer(asks.Reconcile(dry_run=True))
    assert len(dry.found) == 4
    assert (dry.mended, dry.failed) == ((), ())
    assert host.switch.calls == calls
    assert host.firewall.plan.gateways == ()

    real = await process.desk.answer(asks.Reconcile(dry_run=False))
    assert sorted(real.mended) == sorted(real.found) == sorted(dry.found)
    assert (await process.desk.answer(asks.Reconcile(dry_run=True))).found == ()
    status = await process.desk.answer(asks.ShowStatus())
    assert sorted(each.what for each in status.repairs.lately) == sorted(dry.found)


async def test_a_dry_look_without_open_vswitch_says_what_it_could_not_see(
    host: Host, process: Process
) -> None:
    process.ready()
    await host.create_network()
    host.switch.available = False
    dry = await process.desk.answer(asks.Reconcile(dry_run=True))
    assert "bridges and ports wait" in dry.failed[0]
