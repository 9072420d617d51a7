"""The process: answer at once, open the store until it opens, drain, stop."""

import asyncio
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial

from aiohttp import web

from ipam.errors import IpamError
from ovsdriver import __version__, logs
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.lock import StateLock
from ovsdriver.adapters.systemd import Supervisor
from ovsdriver.admin import api
from ovsdriver.admin.desk import Desk
from ovsdriver.assembly import assemble
from ovsdriver.config import Settings
from ovsdriver.docker import methods
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.errors import ConfigurationError, ConflictError, DriverError, UnavailableError
from ovsdriver.http import sockets
from ovsdriver.http.server import Call, PluginServer
from ovsdriver.logs import event
from ovsdriver.metrics import Metrics
from ovsdriver.ports import Journal
from ovsdriver.service.forgotten.purge import Purged
from ovsdriver.service.networks.networks import SWITCH_WAIT_S
from ovsdriver.world import World, open_firewall, open_store, open_world

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


async def findings(settings: Settings) -> Sequence[str]:
    """Look at other people's rules, which needs no process; errors as ``Firewall.findings``."""
    async with open_firewall(settings, None) as firewall:
        return await firewall.findings()


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
        world = await stack.enter_async_context(open_world(settings, metrics))
        store = await stack.enter_async_context(_Store(settings, world, backend, fault, metrics))
        desk = Desk(
            owner=settings.instance,
            switch=world.switch,
            engine=world.engine,
            metrics=metrics,
            by_container=settings.metrics == "containers",
            degraded=lambda: backend.degraded,
            closed=backend.closed,
            purge_unread=store.purge,
        )
        server = PluginServer(metrics=metrics, deadline_s=settings.deadline_s)
        kept = await _listen(settings, server, backend, desk, stack)
        await _listen_admin(settings, desk, stack)
        await _listen_view(settings, desk, stack)
        await _listen_metrics(settings, desk, stack)
        event(log, "process.listening", version=__version__, pid=os.getpid())
        # Ended before what they work on is closed.
        tasks = await stack.enter_async_context(Tasks())
        supervisor = Supervisor(os.environ)
        # Before the store is open: dockerd waits for this, and may as well wait for its answers.
        await supervisor.ready()
        tasks.start(supervisor.run(lambda: backend.degraded or "serving"))
        tasks.start(store.first(world.watch))
        if not fault:
            tasks.start(store.open(desk, tasks), lasting=False)
        ended = await tasks.until(stopping)
        store.stopping("a part failed" if ended else "asked to")
        await supervisor.stopping()
        await server.drain(settings.deadline_s if kept else DRAIN_S)
        return 1 if ended else 0


async def _purge(settings: Settings) -> Purged:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(open_world(settings))
        tasks = await stack.enter_async_context(Tasks())
        tasks.start(world.watch())
        try:
            stack.callback(StateLock.take(settings.state_dir).release)
            product = await stack.enter_async_context(assemble(world, settings))
        except ConflictError:
            raise
        except (DriverError, IpamError) as error:
            return await _purge_marked(settings, world, str(error))
        return await product.admin.purge.run(switch_wait_s=SWITCH_WAIT_S)


async def _purge_marked(settings: Settings, world: World, unread: str) -> Purged:
    """Remove what is marked, without records; the store is left alone."""
    nothing = partial(open_store, storefile.MEMORY)
    async with assemble(replace(world, store=nothing), settings) as product:
        return await product.admin.purge.run(switch_wait_s=SWITCH_WAIT_S, unread=unread)


class _Store:
    """The store and all that stands on it: tried until it opens, then kept to the end."""

    def __init__(
        self,
        settings: Settings,
        world: World,
        backend: methods.Backend,
        fault: str,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._world = world
        self._backend = backend
        self._fault = fault
        self._metrics = metrics
        self._began = time.monotonic()
        self._lock: StateLock | None = None
        self._trying = asyncio.Lock()
        self._unread = ""
        self._product = AsyncExitStack()
        self._tried = asyncio.Event()
        self._journal: Journal | None = None

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

    async def open(self, desk: Desk, tasks: "Tasks") -> None:
        """Open the store, again and again until it opens, and begin to work."""
        while True:
            opened = await self._opened(desk, tasks)
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
                f"nothing was removed: the configuration is wrong ({self._fault}), so ovsnet may "
                "not know its own marks; correct it and restart ovsnet"
            )
        async with self._trying:  # nothing that was removed is made again by a store that opens
            if not self._unread:
                raise UnavailableError("ovsnet is still starting; try again")
            return await _purge_marked(self._settings, self._world, self._unread)

    async def _opened(self, desk: Desk, tasks: "Tasks") -> bool:
        async with self._trying:
            try:
                if self._lock is None:
                    self._lock = StateLock.take(self._settings.state_dir)
                product = await self._product.enter_async_context(
                    assemble(self._world, self._settings, metrics=self._metrics)
                )
            except (DriverError, IpamError) as error:
                if str(error) != self._unread:  # said once, not at every try
                    self._unread = str(error)
                    self._degrade(self._unread)
                return False
            self._unread = ""
            for run in product.background:
                tasks.start(run())
            desk.ready(product.admin)
            self._backend.ready(product.services)
            self._journal = product.journal
            # What was loaded stays: with thousands of endpoints a collection of garbage that looks
            # at all of it holds up the loop.
            gc.freeze()
        took_ms = f"{(time.monotonic() - self._began) * 1000:.0f}"
        self._tell("ready", version=__version__, pid=str(os.getpid()), took_ms=took_ms)
        return True

    def stopping(self, why: str) -> None:
        """Tell that the process ends."""
        self._tell("stopping", why=why)

    def _tell(self, action: str, **attributes: str) -> None:
        if self._journal is not None:
            self._journal.tell(Happening(EventType.PROCESS, action, attributes=attributes))
        else:
            event(log, f"process.{action}", level=logging.INFO, fault=None, **attributes)

    def _degrade(self, why: str) -> None:
        self._backend.degrade(f"ovsnet cannot work: {why}")
        event(log, "process.degraded", level=logging.ERROR, why=why)


async def _listen(
    settings: Settings,
    server: PluginServer,
    backend: methods.Backend,
    desk: Desk,
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
    for segment in settings.segments:
        spaces = methods.segment_spaces(segment)
        tables[f"ovsipam-{segment}"] = methods.ipam_only(backend, spaces)
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
        _go_without(desk, each)
    return kept


async def _listen_admin(settings: Settings, desk: Desk, stack: AsyncExitStack) -> None:
    """Answer the command line; Docker is served without that too.

    Raises:
        ConflictError: another process answers there.
    """
    try:
        sockets.prepare(settings.run_dir, sockets.RUN_DIR_MODE)
        listening = sockets.listen(settings.run_dir / "admin.sock")
    except (ConfigurationError, UnavailableError) as error:
        _go_without(desk, error)
        return
    await _answer_people(listening, api.application(desk), stack)


async def _listen_view(settings: Settings, desk: Desk, stack: AsyncExitStack) -> None:
    """Answer who may only look: root, and the group that the settings name if there is one.

    Raises:
        ConflictError: another process answers there.
    """
    group = None
    if settings.view_group:
        try:
            # Groups may be known to another host only.
            group = await asyncio.to_thread(sockets.admit, settings.run_dir, settings.view_group)
        except ConfigurationError as error:
            _go_without(desk, error)
    try:
        listening = sockets.listen(settings.run_dir / "view.sock", group=group)
    except (ConfigurationError, UnavailableError) as error:
        _go_without(desk, error)
        return
    await _answer_people(listening, api.view(desk), stack)


async def _listen_metrics(settings: Settings, desk: Desk, stack: AsyncExitStack) -> None:
    """Answer Prometheus over TCP, where the settings say so; else, or if it fails, by sockets."""
    if settings.metrics_listen is None:
        return
    address, port = settings.metrics_listen
    runner = api.runner(api.metrics_alone(desk))
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        text = f"metrics_listen: no answers on {address} port {port}: {why}; name another one"
        _go_without(desk, ConfigurationError(text))


async def _answer_people(
    listening: sockets.ListeningSocket, app: web.Application, stack: AsyncExitStack
) -> None:
    stack.callback(listening.remove)
    runner = api.runner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening.sock).start()


def _go_without(desk: Desk, fault: DriverError) -> None:
    desk.warn(str(fault))
    event(log, "process.socket-failed", level=logging.ERROR, why=str(fault))


class Tasks:
    """The process's tasks. A lasting one that ends ends the process: its work is needed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[asyncio.Task[None]] = []
        self._first = asyncio.Event()

    async def __aenter__(self) -> "Tasks":
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
