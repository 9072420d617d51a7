"""The only place that builds objects and joins them; start, drain, stop."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from ipam.errors import IpamError
from ipam.model import DEFAULT_SPACE, GLOBAL_SPACE
from ipam.service import Ipam
from ovsdriver import __version__, logs
from ovsdriver.adapters.datapath import kernel_has_openvswitch
from ovsdriver.adapters.engine import DockerEngine
from ovsdriver.adapters.firewall import HostFirewall
from ovsdriver.adapters.leases import SqliteLeases
from ovsdriver.adapters.links import KernelLinks
from ovsdriver.adapters.lock import StateLock
from ovsdriver.adapters.sqlite import Database
from ovsdriver.adapters.state import SqliteState
from ovsdriver.adapters.surroundings import HostSurroundings
from ovsdriver.adapters.switch import OvsSwitch
from ovsdriver.config import Settings
from ovsdriver.domain.planning import Defaults
from ovsdriver.errors import DriverError
from ovsdriver.logs import event
from ovsdriver.metrics import Metrics
from ovsdriver.ports import Firewall, HostNotes
from ovsdriver.protocol import admin, methods, sockets
from ovsdriver.protocol.server import Call, PluginServer
from ovsdriver.service.collector import Collector, Witness
from ovsdriver.service.console import Console, Works
from ovsdriver.service.endpoints import Endpoints
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks import SWITCH_WAIT_S, Networks
from ovsdriver.service.purge import Purge, Purged
from ovsdriver.service.reconciler import Reconciler

log = logging.getLogger(__name__)

DRAIN_S = 4.0
"""For open calls at the end: a restart within 5 s is hidden by Docker's own retries."""

STORE = "state.db"


def serve(settings: Settings) -> int:
    """Run the process until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConflictError: another process has the state directory or the sockets.
        ConfigurationError, UnavailableError: a directory or a socket cannot be made.
    """
    logs.configure(settings.log_level)
    return asyncio.run(_serve(settings))


def purge(settings: Settings) -> Purged:
    """Remove everything with our mark, while no process runs.

    Raises:
        ConflictError: a process runs after all.
        UnavailableError: the store cannot be read.
    """
    logs.configure("warning")
    return asyncio.run(_purge(settings))


@asynccontextmanager
async def firewall(settings: Settings) -> AsyncIterator[Firewall]:
    """Give the host's firewall, for looking at other people's rules."""
    async with _firewall(settings, _Unnoted()) as host:
        yield host


async def _serve(settings: Settings) -> int:
    began = time.monotonic()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        stack.callback(_hold(settings).release)
        metrics = Metrics()
        # Less than the deadline, so that a call which waits for our start is told so.
        backend = methods.Backend(wait_s=settings.deadline_s * 0.8)
        server = PluginServer(metrics=metrics, deadline_s=settings.deadline_s)
        await _listen(settings, server, backend, stack)
        world = await stack.enter_async_context(_World.of(settings))
        console = Console(
            owner=settings.instance,
            switch=world.switch,
            engine=world.engine,
            metrics=metrics,
            degraded=lambda: backend.degraded,
        )
        await _listen_admin(settings, console, stack)
        event(log, "process.listening", version=__version__, pid=os.getpid())
        product: _Product | None = None
        try:
            product = await stack.enter_async_context(_Product.of(settings, world))
        except (DriverError, IpamError) as error:
            # Served all the same: dockerd must get its answers, and must get them at once.
            backend.degrade(f"ovsnet cannot work: {error}")
            event(log, "process.degraded", level=logging.ERROR, why=str(error))
        # Ended before what they work on is closed.
        tasks = await stack.enter_async_context(_Tasks())
        tasks.start(world.switch.run())
        if product is not None:
            for run in product.background:
                tasks.start(run())
            console.ready(product.works)
            backend.ready(product.services)
            event(log, "process.ready", took_ms=(time.monotonic() - began) * 1000)
        ended = await tasks.until(stopping)
        event(log, "process.stopping", why="a part failed" if ended else "asked to")
        await server.drain(DRAIN_S)
        return 1 if ended else 0


async def _purge(settings: Settings) -> Purged:
    async with AsyncExitStack() as stack:
        stack.callback(_hold(settings).release)
        world = await stack.enter_async_context(_World.of(settings))
        product = await stack.enter_async_context(_Product.of(settings, world))
        tasks = await stack.enter_async_context(_Tasks())
        tasks.start(world.switch.run())
        return await product.works.purge.run(switch_wait_s=SWITCH_WAIT_S)


def _hold(settings: Settings) -> StateLock:
    """Take the state directory: two processes on one store would give addresses twice."""
    return StateLock.take(settings.state_dir)


async def _listen(
    settings: Settings, server: PluginServer, backend: methods.Backend, stack: AsyncExitStack
) -> None:
    """Answer on the plugin sockets, before anything slow is begun."""
    sockets.prepare(settings.plugin_dir, sockets.PLUGIN_DIR_MODE)
    passed = sockets.passed_by_systemd(os.environ)
    tables: dict[str, Mapping[str, Call]] = {
        "ovsnet": methods.both_kinds(backend),
        "ovsipam": methods.ipam_only(backend),
    }
    for space in settings.spaces:
        tables[f"ovsipam-{space}"] = methods.ipam_only(backend, methods.named_spaces(space))
    for name, calls in tables.items():
        listening = sockets.listen(settings.plugin_dir / f"{name}.sock", passed)
        stack.callback(listening.remove)
        await server.listen(listening.sock, calls)


async def _listen_admin(settings: Settings, console: Console, stack: AsyncExitStack) -> None:
    sockets.prepare(settings.run_dir, sockets.RUN_DIR_MODE)
    listening = sockets.listen(settings.run_dir / "admin.sock")
    stack.callback(listening.remove)
    runner = web.AppRunner(admin.application(console), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening.sock).start()


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """The adapters that need no store."""

    settings: Settings
    switch: OvsSwitch
    links: KernelLinks
    engine: DockerEngine

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings) -> AsyncIterator["_World"]:
        links = KernelLinks(owner=settings.instance)
        try:
            yield cls(
                settings=settings,
                switch=OvsSwitch(settings.ovsdb, owner=settings.instance),
                links=links,
                engine=DockerEngine(settings.docker),
            )
        finally:
            await links.close()


@asynccontextmanager
async def _firewall(settings: Settings, notes: HostNotes) -> AsyncIterator[HostFirewall]:
    firewall = HostFirewall(instance=settings.instance, notes=notes)
    try:
        yield firewall
    finally:
        await firewall.close()


class _Unnoted:
    """For who only looks: nothing was changed, so nothing is to be put back."""

    def notes(self) -> Mapping[str, str]:
        return {}

    async def put_note(self, key: str, value: str) -> None:
        raise NotImplementedError(f"{key}={value}: this firewall is for looking only")

    async def forget_note(self, key: str) -> bool:
        raise NotImplementedError(f"{key}: this firewall is for looking only")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """Everything behind the calls, once the store is open."""

    works: Works
    services: methods.Services
    background: tuple[Callable[[], Coroutine[None, None, None]], ...]
    """What runs until the end of the process."""

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings, world: _World) -> AsyncIterator["_Product"]:
        async with AsyncExitStack() as stack:
            database = await Database.open(settings.state_dir / STORE)
            stack.push_async_callback(database.close)
            state = await SqliteState.load(database)
            ipam = await Ipam.load(
                SqliteLeases(database),
                defaults=settings.pools,
                exclude=settings.exclude,
                surroundings=HostSurroundings(world.links),
                clock=time.time,
            )
            stack.push_async_callback(ipam.close)
            firewall = await stack.enter_async_context(_firewall(settings, state))
            locks = Locks()
            witness = Witness(world.engine)
            networks = Networks(
                owner=settings.instance,
                defaults=Defaults(
                    bridge=settings.bridge,
                    datapath=settings.datapath,
                    vlans=settings.vlans,
                    mtu=settings.mtu,
                    spaces=frozenset(
                        each
                        for name in settings.spaces
                        for each in (name, methods.named_spaces(name).shared)
                    )
                    | {DEFAULT_SPACE, GLOBAL_SPACE},
                ),
                outside_bridges=settings.outside_bridges,
                kernel_datapath=kernel_has_openvswitch,
                state=state,
                ipam=ipam,
                switch=world.switch,
                links=world.links,
                firewall=firewall,
                locks=locks,
            )
            endpoints = Endpoints(
                owner=settings.instance,
                state=state,
                ipam=ipam,
                switch=world.switch,
                links=world.links,
                locks=locks,
                listed=witness.lists,
            )
            reconciler = Reconciler(
                owner=settings.instance,
                state=state,
                notes=state,
                networks=networks,
                endpoints=endpoints,
                switch=world.switch,
                links=world.links,
            )
            world.switch.on_change(reconciler.poke)
            firewall.on_loss(reconciler.poke)
            yield cls(
                works=Works(
                    state=state,
                    ipam=ipam,
                    networks=networks,
                    purge=Purge(
                        owner=settings.instance,
                        state=state,
                        notes=state,
                        ipam=ipam,
                        switch=world.switch,
                        links=world.links,
                        firewall=firewall,
                    ),
                    reconciler=reconciler,
                    firewall=firewall,
                ),
                services=methods.Services(networks=networks, endpoints=endpoints, ipam=ipam),
                background=(
                    firewall.run,
                    reconciler.run,
                    witness.run,
                    Collector(
                        witness=witness,
                        state=state,
                        ipam=ipam,
                        links=world.links,
                        networks=networks,
                        endpoints=endpoints,
                    ).run,
                ),
            )


class _Tasks:
    """The process's long tasks. One that ends by itself ends the process: its work is needed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "_Tasks":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` until the end of the process."""
        self._tasks.add(asyncio.create_task(work))

    async def until(self, stopping: asyncio.Event) -> bool:
        """Wait for ``stopping``; True if a task ended before it."""
        waiter = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({waiter, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        failed = [task for task in self._tasks if task.done()]
        for task in failed:
            event(
                log,
                "process.part-failed",
                level=logging.ERROR,
                fault=task.exception() if not task.cancelled() else None,
            )
        return bool(failed)
