"""The only place that builds objects and joins them; start, drain, stop."""

import asyncio
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ipam.errors import IpamError
from ipam.model import DEFAULT_SPACE, GLOBAL_SPACE
from ipam.service import Ipam
from ovsdriver import __version__, logs
from ovsdriver.adapters.engine import DockerEngine
from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.adapters.host_ports.sockets import KernelHostPorts
from ovsdriver.adapters.kernel.host.datapath import kernel_has_openvswitch
from ovsdriver.adapters.kernel.host.nics import KernelNics
from ovsdriver.adapters.kernel.host.surroundings import HostSurroundings
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.adapters.kernel.qdisc_port import KernelShapes
from ovsdriver.adapters.kernel.sandbox.sandboxes import KernelSandboxes
from ovsdriver.adapters.ovs.openflow import OvsFlows
from ovsdriver.adapters.ovs.rows import OvsSwitch
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.lock import StateLock
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.adapters.systemd import Supervisor
from ovsdriver.admin import api, api_changes, api_ipam, api_plans, api_reservations
from ovsdriver.admin.desk import Console, Works
from ovsdriver.config import Settings
from ovsdriver.docker import methods
from ovsdriver.domain.plan.planning import Defaults
from ovsdriver.errors import ConfigurationError, ConflictError, DriverError, UnavailableError
from ovsdriver.http import sockets
from ovsdriver.http.server import Call, PluginServer
from ovsdriver.logs import event
from ovsdriver.metrics import Metrics
from ovsdriver.ports import Firewall, HostNotes
from ovsdriver.service.aspects.firewall import Rules
from ovsdriver.service.aspects.flows import FlowRules
from ovsdriver.service.aspects.mirrors import Mirrors
from ovsdriver.service.aspects.probing import SegmentProber
from ovsdriver.service.aspects.published import Publisher
from ovsdriver.service.aspects.shaping import Shaper
from ovsdriver.service.aspects.uplinks import Uplinks
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.attach.reattacher import Reattacher
from ovsdriver.service.change.changed_options import KeptOptions
from ovsdriver.service.change.changes import Changes
from ovsdriver.service.forgotten.collector import Collector, Witness
from ovsdriver.service.forgotten.container_names import Naming
from ovsdriver.service.forgotten.purge import MarkPurge, Purge, Purged
from ovsdriver.service.forgotten.vacancies import Vacancies
from ovsdriver.service.forgotten.witnesses import Origins
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks.networks import SWITCH_WAIT_S, Networks
from ovsdriver.service.networks.planner import Planner
from ovsdriver.service.networks.previewer import Previewer
from ovsdriver.service.networks.surroundings import Surroundings
from ovsdriver.service.repair.reconciler import Reconciler
from ovsdriver.service.repair.sandbox_watch import SandboxWatch

log = logging.getLogger(__name__)

DRAIN_S = 4.0
"""For open calls at the end: a restart within 5 s is hidden by Docker's own retries. Where systemd
keeps the sockets new calls wait in them, and open ones have their whole deadline."""

FILES = 65_536
"""Open at once, if the hard limit allows; what starts us may have left the soft one at 1,024."""

RETRY_S = 5.0
"""Between two tries to open a store: a full disk or another's lock ends without telling us."""


def serve(settings: Settings, fault: str = "") -> int:
    """Run the process until SIGTERM or SIGINT; returns the exit code.

    A store that cannot be opened does not end it, nor does ``fault``, a sentence about what is
    wrong with the settings: dockerd must get its answers, and must get them at once.

    Raises:
        ConflictError: another process has the state directory or the sockets.
        ConfigurationError, UnavailableError: none of Docker's sockets can be made.
    """
    logs.configure(settings.log_level)
    _raise_limit_of_files()
    return asyncio.run(_serve(settings, fault))


def purge(settings: Settings) -> Purged:
    """Remove everything with our mark, while no process runs; by the mark alone if need be.

    Raises:
        ConflictError: a process runs after all.
    """
    logs.configure("warning")
    return asyncio.run(_purge(settings))


@asynccontextmanager
async def firewall(settings: Settings) -> AsyncIterator[Firewall]:
    """Give the host's firewall, for looking at other people's rules."""
    async with _firewall(settings, _Unnoted()) as host:
        yield host


def _raise_limit_of_files() -> None:
    """Allow as many open files as the administrator does; a published port takes three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _serve(settings: Settings, fault: str) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        # Less than the deadline, so that a call which waits for our start is told so.
        backend = methods.Backend(wait_s=settings.deadline_s * 0.8)
        world = await stack.enter_async_context(_World.of(settings))
        store = await stack.enter_async_context(_Store(settings, world, backend, fault))
        console = Console(
            owner=settings.instance,
            switch=world.switch,
            engine=world.engine,
            metrics=metrics,
            degraded=lambda: backend.degraded,
            closed=backend.closed,
            purge_unread=store.purge,
        )
        server = PluginServer(metrics=metrics, deadline_s=settings.deadline_s)
        kept = await _listen(settings, server, backend, console, stack)
        await _listen_admin(settings, console, stack)
        event(log, "process.listening", version=__version__, pid=os.getpid())
        # Ended before what they work on is closed.
        tasks = await stack.enter_async_context(_Tasks())
        supervisor = Supervisor(os.environ)
        # Before the store is open: dockerd waits for this, and may as well wait for its answers.
        await supervisor.ready()
        tasks.start(supervisor.run(lambda: backend.degraded or "serving"))
        tasks.start(store.first(world.switch.run))
        if not fault:
            tasks.start(store.open(console, tasks), lasting=False)
        ended = await tasks.until(stopping)
        event(log, "process.stopping", why="a part failed" if ended else "asked to")
        await supervisor.stopping()
        await server.drain(settings.deadline_s if kept else DRAIN_S)
        return 1 if ended else 0


async def _purge(settings: Settings) -> Purged:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(_World.of(settings))
        tasks = await stack.enter_async_context(_Tasks())
        tasks.start(world.switch.run())
        try:
            stack.callback(StateLock.take(settings.state_dir).release)
            product = await stack.enter_async_context(_Product.of(settings, world))
        except ConflictError:
            raise
        except (DriverError, IpamError) as error:
            return await _purge_marked(settings, world, str(error))
        return await product.works.purge.run(switch_wait_s=SWITCH_WAIT_S)


async def _purge_marked(settings: Settings, world: "_World", unread: str) -> Purged:
    async with _firewall(settings, _Unnoted()) as host:
        return await MarkPurge(
            owner=settings.instance,
            switch=world.switch,
            links=world.links,
            nics=world.nics,
            firewall=host,
            flows=world.flows,
            unread=unread,
        ).run(switch_wait_s=SWITCH_WAIT_S)


class _Store:
    """The store and all that stands on it: tried until it opens, then kept to the end."""

    def __init__(
        self, settings: Settings, world: "_World", backend: methods.Backend, fault: str
    ) -> None:
        self._settings = settings
        self._world = world
        self._backend = backend
        self._fault = fault
        self._began = time.monotonic()
        self._lock: StateLock | None = None
        self._trying = asyncio.Lock()
        self._unread = ""
        self._product = AsyncExitStack()
        self._tried = asyncio.Event()

    async def __aenter__(self) -> "_Store":
        """Take the state directory: two processes on one store would give addresses twice.

        Raises:
            ConflictError: another process has it.
        """
        if self._fault:
            # Which directory is ours may be what could not be read.
            self._degrade(f"the configuration is wrong: {self._fault}")
            self._tried.set()
        else:
            with suppress(UnavailableError):  # said by ``open``, which tries again
                self._lock = StateLock.take(self._settings.state_dir)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._product.aclose()
        if self._lock is not None:
            self._lock.release()

    async def first(self, then: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do something once the store was tried: the first answers need it more than all else."""
        await self._tried.wait()
        await then()

    async def open(self, console: Console, tasks: "_Tasks") -> None:
        """Open the store, again and again until it opens, and begin to work."""
        while True:
            opened = await self._opened(console, tasks)
            self._tried.set()
            if opened:
                return
            await asyncio.sleep(RETRY_S)

    async def purge(self) -> Purged:
        """Remove what is marked, while there are no records.

        Raises:
            UnavailableError: there are some, or it is not yet known.
            ConfigurationError: the mark itself may be what is wrong with the settings.
        """
        if self._fault:
            raise ConfigurationError(
                f"nothing was removed: the configuration is wrong ({self._fault}), so it is not "
                "certain what is marked as ours; mend it and restart ovsnet"
            )
        async with self._trying:  # nothing that was removed is made again by a store that opens
            if not self._unread:
                raise UnavailableError("ovsnet is still starting; try again")
            return await _purge_marked(self._settings, self._world, self._unread)

    async def _opened(self, console: Console, tasks: "_Tasks") -> bool:
        async with self._trying:
            try:
                if self._lock is None:
                    self._lock = StateLock.take(self._settings.state_dir)
                product = await self._product.enter_async_context(
                    _Product.of(self._settings, self._world)
                )
            except (DriverError, IpamError) as error:
                if str(error) != self._unread:  # said once, not at every try
                    self._unread = str(error)
                    self._degrade(self._unread)
                return False
            self._unread = ""
            for run in product.background:
                tasks.start(run())
            console.ready(product.works)
            self._backend.ready(product.services)
            # What was loaded stays: with thousands of endpoints a collection of garbage that looks
            # at all of it holds up the loop.
            gc.freeze()
        event(log, "process.ready", took_ms=(time.monotonic() - self._began) * 1000)
        return True

    def _degrade(self, why: str) -> None:
        self._backend.degrade(f"ovsnet cannot work: {why}")
        event(log, "process.degraded", level=logging.ERROR, why=why)


async def _listen(
    settings: Settings,
    server: PluginServer,
    backend: methods.Backend,
    console: Console,
    stack: AsyncExitStack,
) -> bool:
    """Answer on the plugin sockets, before anything slow is begun.

    One that cannot be made does not keep the others from their work. True if all of them are
    systemd's, which keeps them when we end.
    """
    sockets.prepare(settings.plugin_dir, sockets.PLUGIN_DIR_MODE)
    passed = sockets.passed_by_systemd(os.environ)
    tables: dict[str, Mapping[str, Call]] = {
        "ovsnet": methods.both_kinds(backend),
        "ovsipam": methods.ipam_only(backend),
    }
    for space in settings.spaces:
        tables[f"ovsipam-{space}"] = methods.ipam_only(backend, methods.named_spaces(space))
    faults: list[DriverError] = []
    kept = True
    for name, calls in tables.items():
        try:
            listening = sockets.listen(settings.plugin_dir / f"{name}.sock", passed)
        except (ConfigurationError, UnavailableError) as error:
            faults.append(error)
            continue
        stack.callback(listening.remove)
        leave = None if listening.adopted else listening.remove
        await server.listen(listening.sock, calls, leave=leave)
        kept = kept and listening.adopted
    if len(faults) == len(tables):
        raise faults[0]
    for each in faults:
        _go_without(console, each)
    return kept


async def _listen_admin(settings: Settings, console: Console, stack: AsyncExitStack) -> None:
    """Answer the command line; Docker is served without that too.

    Raises:
        ConflictError: another process answers there.
    """
    try:
        sockets.prepare(settings.run_dir, sockets.RUN_DIR_MODE)
        listening = sockets.listen(settings.run_dir / "admin.sock")
    except (ConfigurationError, UnavailableError) as error:
        _go_without(console, error)
        return
    stack.callback(listening.remove)
    app = api.application(
        console,
        *api_ipam.routes(console.addresses),
        *api_reservations.routes(console.reservations),
        *api_changes.routes(console.changes),
        *api_plans.routes(console.plans),
    )
    runner = api.runner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening.sock).start()


def _go_without(console: Console, fault: DriverError) -> None:
    console.warn(str(fault))
    event(log, "process.socket-failed", level=logging.ERROR, why=str(fault))


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """The adapters that need no store."""

    settings: Settings
    switch: OvsSwitch
    links: KernelLinks
    nics: KernelNics
    engine: DockerEngine
    flows: OvsFlows
    shapes: KernelShapes

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings) -> AsyncIterator["_World"]:
        # What one call of Docker's asks for has half of that call's time.
        timeout_s = settings.deadline_s / 2
        owner = settings.instance
        links = KernelLinks(owner=owner, timeout_s=timeout_s)
        nics = KernelNics(timeout_s=timeout_s)
        shapes = KernelShapes(timeout_s=timeout_s)
        folder = _management_folder(settings.ovsdb)
        try:
            yield cls(
                settings=settings,
                switch=OvsSwitch(settings.ovsdb, owner=owner, timeout_s=timeout_s),
                links=links,
                nics=nics,
                engine=DockerEngine(settings.docker),
                shapes=shapes,
                flows=OvsFlows(folder, owner=owner, timeout_s=timeout_s),
            )
        finally:
            await shapes.close()
            await nics.close()
            await links.close()


def _management_folder(ovsdb: str) -> Path:
    """Return where vswitchd makes its bridges' management sockets: beside the database's."""
    kind, _, place = ovsdb.partition(":")
    return Path(place).parent if kind == "unix" else Path("/var/run/openvswitch")


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
            database = await Database.open(settings.state_dir / storefile.NAME)
            stack.push_async_callback(database.close)
            state = await SqliteState.load(database)
            witness = Witness(world.engine)
            ipam = await Ipam.load(
                SqliteLeases(database),
                defaults=settings.pools,
                exclude=settings.exclude,
                limits=settings.limits,
                surroundings=Surroundings(HostSurroundings(world.links), state=state),
                clock=time.time,
                prober=SegmentProber(owner=settings.instance, state=state, links=world.links),
                naming=Naming(state=state, witness=witness),
                keeps_first=True,
            )
            stack.push_async_callback(ipam.close)
            firewall = await stack.enter_async_context(_firewall(settings, state))
            locks = Locks()
            uplinks = Uplinks(
                owner=settings.instance,
                state=state,
                notes=state,
                switch=world.switch,
                links=world.links,
                nics=world.nics,
            )
            rules = Rules(state=state, firewall=firewall, outside_bridges=settings.outside_bridges)
            ports = KernelHostPorts()
            stack.push_async_callback(ports.close)
            publisher = Publisher(
                state=state, rules=rules, ports=ports, links=world.links, locks=locks
            )
            witness.on_end(publisher.daemon_ended)
            shaper = Shaper(state=state, notes=state, shapes=world.shapes)
            mirrors = Mirrors(
                owner=settings.instance,
                state=state,
                notes=state,
                switch=world.switch,
                links=world.links,
                nics=world.nics,
            )
            planner = Planner(
                owner=settings.instance,
                defaults=Defaults(
                    bridge=settings.bridge,
                    datapath=settings.datapath,
                    vlans=settings.vlans,
                    mtu=settings.mtu,
                    ranges={each.name: each.vlans for each in settings.bridges},
                    spaces=frozenset(
                        each
                        for name in settings.spaces
                        for each in (name, methods.named_spaces(name).shared)
                    )
                    | {DEFAULT_SPACE, GLOBAL_SPACE},
                ),
                kernel_datapath=kernel_has_openvswitch,
                state=state,
                ipam=ipam,
                switch=world.switch,
                links=world.links,
                shaper=shaper,
                mirrors=mirrors,
            )
            previewer = Previewer(
                owner=settings.instance,
                state=state,
                ipam=ipam,
                switch=world.switch,
                firewall=firewall,
                planner=planner,
                outside_bridges=settings.outside_bridges,
            )
            flows = FlowRules(state=state, switch=world.switch, flows=world.flows)
            networks = Networks(
                owner=settings.instance,
                planner=planner,
                previewer=previewer,
                state=state,
                ipam=ipam,
                switch=world.switch,
                links=world.links,
                uplinks=uplinks,
                rules=rules,
                publisher=publisher,
                flows=flows,
                mirrors=mirrors,
                locks=locks,
            )
            endpoints = Endpoints(
                owner=settings.instance,
                state=state,
                ipam=ipam,
                switch=world.switch,
                links=world.links,
                networks=networks,
                uplinks=uplinks,
                locks=locks,
                publisher=publisher,
                flows=flows,
                shaper=shaper,
                mirrors=mirrors,
                reattacher=Reattacher(memory=state, sandboxes=KernelSandboxes()),
                listed=witness.lists,
                docker_version=witness.version,
            )
            witness.on_read(endpoints.tell_unnamed)
            stack.push_async_callback(endpoints.close)
            watch = SandboxWatch(state=state, endpoints=endpoints)
            reconciler = Reconciler(
                owner=settings.instance,
                state=state,
                notes=state,
                networks=networks,
                endpoints=endpoints,
                publisher=publisher,
                flows=flows,
                shaper=shaper,
                mirrors=mirrors,
                switch=world.switch,
                links=world.links,
                watch=watch,
            )
            collector = Collector(
                witness=witness,
                state=state,
                ipam=ipam,
                links=world.links,
                networks=networks,
                endpoints=endpoints,
            )
            origins = Origins(engine=world.engine, witness=witness, state=state, networks=networks)
            endpoints.on_change(origins.poke)
            vacancies = Vacancies(
                engine=world.engine, witness=witness, state=state, ipam=ipam, networks=networks
            )
            # Before a call is served: a container that is started meanwhile must not get a port
            # that one which runs has.
            await publisher.retake()
            world.switch.on_change(reconciler.poke)
            changes = Changes(
                owner=settings.instance, state=state, networks=networks, endpoints=endpoints
            )
            kept_options = KeptOptions(
                state=state,
                notes=state,
                engine=world.engine,
                changes=changes,
            )
            endpoints.on_change(kept_options.poke)
            world.switch.on_change(lambda plugged: None if plugged else kept_options.poke())
            firewall.on_loss(reconciler.poke)
            flows.on_loss(reconciler.poke)
            firewall.on_gateway(reconciler.doubt)
            watch.on_missing(reconciler.poke)
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
                        nics=world.nics,
                        firewall=firewall,
                        flows=world.flows,
                        uplinks=uplinks,
                        mirrors=mirrors,
                        publisher=publisher,
                    ),
                    publisher=publisher,
                    reconciler=reconciler,
                    watch=watch,
                    collector=collector,
                    firewall=firewall,
                    previewer=previewer,
                    changes=changes,
                    kept=kept_options,
                ),
                services=methods.Services(
                    networks=networks,
                    endpoints=endpoints,
                    ipam=vacancies,
                    daemon_answers=witness.answers,
                ),
                background=(
                    kept_options.run,
                    firewall.run,
                    flows.run,
                    reconciler.run,
                    shaper.run,
                    watch.run,
                    witness.run,
                    collector.run,
                    origins.run,
                    vacancies.run,
                ),
            )


class _Tasks:
    """The process's tasks. A lasting one that ends ends the process: its work is needed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[asyncio.Task[None]] = []
        self._first = asyncio.Event()

    async def __aenter__(self) -> "_Tasks":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, work: Coroutine[None, None, None], *, lasting: bool = True) -> None:
        """Run ``work``, until the end of the process or, if not ``lasting``, to its own."""

        def done(task: asyncio.Task[None]) -> None:
            if lasting or task.cancelled() or task.exception() is not None:
                self._failed.append(task)
                self._first.set()

        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(done)

    async def until(self, stopping: asyncio.Event) -> bool:
        """Wait for ``stopping``; True if a task failed before it."""
        waiters = [asyncio.create_task(each.wait()) for each in (stopping, self._first)]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        for task in self._failed:
            event(
                log,
                "process.part-failed",
                level=logging.ERROR,
                fault=task.exception() if not task.cancelled() else None,
            )
        return bool(self._failed)
