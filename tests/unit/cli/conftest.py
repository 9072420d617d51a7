"""A running process as the command line sees it: the real admin application, our own answers."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from ovsdriver.admin import api, asks
from ovsdriver.admin.asks import Answers, Ask
from ovsdriver.admin.views import RepairReport, Report, Status
from ovsdriver.cli import Programs, command
from ovsdriver.config import Settings
from ovsdriver.errors import DriverError
from ovsdriver.metrics import Metrics
from ovsdriver.service.forgotten.purge import Purged

WELL = Status(version="0.1.0", pid=4711, started=1000.0, uptime_s=3725.0)


class Desk:
    """A desk whose answers the test lays out."""

    def __init__(self) -> None:
        self.now = WELL
        self.there = Report()
        self.purged = Purged()
        self.refusals: dict[str, Exception] = {}
        self.removed: list[tuple[str, bool]] = []
        self.purges = 0
        self.repairs = RepairReport(at=1000.0)
        self.looks: list[bool] = []
        """One for each look; whether it was to mend nothing."""
        self.answers: Answers = {
            asks.ShowStatus: self.status,
            asks.ShowState: self.state,
            asks.RemoveNetwork: self.remove_network,
            asks.Reconcile: self.reconcile,
            asks.Purge: self.purge,
        }

    def also(self, answers: Answers) -> "Desk":
        """Answer these too."""
        self.answers = {**self.answers, **answers}
        return self

    async def answer(self, ask: Ask[object]) -> object:
        return await self.answers[type(ask)](ask)

    def degraded(self) -> str:
        return self.now.degraded

    async def status(self, _: asks.ShowStatus) -> Status:
        return self.now

    async def state(self, _: asks.ShowState) -> Report:
        return self.there

    async def remove_network(self, ask: asks.RemoveNetwork) -> str:
        if ask.name in self.refusals and not ask.force:
            raise self.refusals[ask.name]
        self.removed.append((ask.name, ask.force))
        return ask.name * 16

    async def reconcile(self, ask: asks.Reconcile) -> RepairReport:
        self.looks.append(ask.dry_run)
        return self.repairs

    async def purge(self, _: asks.Purge) -> Purged:
        self.purges += 1
        return self.purged

    async def metrics(self) -> bytes:
        return Metrics().render()


class Process:
    """Serves an application on the admin socket, on a thread of its own."""

    def __init__(self, app: web.Application, path: Path) -> None:
        self._app = app
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Process":
        self._thread.start()
        assert self._listening.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(self._app)
        await runner.setup()
        await web.UnixSite(runner, self._path).start()
        self._listening.set()
        await self._stopping.wait()
        await runner.cleanup()


class Shell:
    """Types commands."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.served: list[Settings] = []
        self.faults: list[str] = []
        self.purged_offline: list[Settings] = []
        self.serve_result: int | DriverError = 0
        self.purge_result: Purged | DriverError = Purged()
        self.findings: Sequence[str] = ()

    def __call__(self, *args: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
        programs = Programs(
            serve=self._serve,
            purge=self._purge,
            findings=self._findings,
        )
        # None takes a variable away: those of the machine that runs the tests are not ours.
        clean = {"OVSNET_CONFIG": None, "OVSNET_RUN_DIR": str(self.run_dir), **(env or {})}
        return CliRunner().invoke(command, args, obj=programs, input=stdin, env=clean)

    def json(self, *args: str):
        result = self(*args, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def _serve(self, settings: Settings, fault: str) -> int:
        self.served.append(settings)
        self.faults.append(fault)
        if isinstance(self.serve_result, DriverError):
            raise self.serve_result
        return self.serve_result

    def _purge(self, settings: Settings) -> Purged:
        self.purged_offline.append(settings)
        if isinstance(self.purge_result, DriverError):
            raise self.purge_result
        return self.purge_result

    async def _findings(self, settings: Settings) -> Sequence[str]:
        return self.findings


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[web.Application], Process]:
    """Serve any application in place of ours."""
    return lambda app: Process(app, tmp_path / "admin.sock")


@pytest.fixture
def desk(serve: Callable[[web.Application], Process]) -> Iterator[Desk]:
    """The process runs, and this is its desk."""
    made = Desk()
    with serve(api.application(made)):
        yield made
