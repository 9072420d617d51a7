"""For the whole run: what may be skipped, what is counted, and an orderly end."""

import os
import shutil
import signal
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import settings

# For a look after every edit: tests/run quick.
settings.register_profile("quick", max_examples=10, deadline=None)

ALLOWED_SKIPS = Path(__file__).parent / "allowed-skips.txt"

NEEDED = {
    "ovs": ("ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-vswitchd"),
    "netns": ("ip", "nsenter", "unshare"),
    "ovn": ("ovn-controller", "ovn-nbctl", "ovn-northd", "ovn-sbctl", "openssl"),
    "docker": ("docker", "dockerd", "containerd", "ovs-vswitchd", "busybox", "nft", "ethtool"),
}
"""Programs by marker; each of them also needs root."""


class Skips:
    """Which skips are listed with their reason, and which happened without being so."""

    def __init__(self, listed: Path) -> None:
        lines = (line.strip() for line in listed.read_text().splitlines())
        pairs = (line.partition(": ") for line in lines if line and not line.startswith("#"))
        self._allowed = [(pattern, reason) for pattern, _, reason in pairs]
        self.unlisted: list[str] = []

    def note(self, nodeid: str, reason: str) -> None:
        """Note a skip; an entry allows it if both its pattern and its reason fit."""
        if not any(fnmatchcase(nodeid, p) and r and r in reason for p, r in self._allowed):
            self.unlisted.append(f"{nodeid}: {reason}")


SKIPS = pytest.StashKey[Skips]()
OUTCOMES = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tally", type=Path, metavar="FILE", help="append passed, failed, skipped to FILE"
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        # This worker is measured; what its tests start would only be slower for it.
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    config.stash[SKIPS] = Skips(ALLOWED_SKIPS)
    config.stash[OUTCOMES] = {}
    config.pluginmanager.register(_Watch(config), "ovsnet-watch")
    # SIGTERM ends a run as Ctrl-C does, so that fixtures put away what they started
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, programs in NEEDED.items():
        if item.get_closest_marker(marker) is None:
            continue
        if os.geteuid() != 0:
            pytest.skip(f"{marker}: needs root")
        if missing := [each for each in programs if shutil.which(each) is None]:
            pytest.skip(f"{marker}: needs {', '.join(missing)}; tests/run installs it")


class _Watch:
    """Notes outcomes, the worst of each test, and skips, those of whole modules included."""

    def __init__(self, config: pytest.Config) -> None:
        self._skips = config.stash[SKIPS]
        self._outcomes = config.stash[OUTCOMES]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
        elif report.skipped:
            self._skip(report)
        elif report.when == "call":
            self._outcomes[report.nodeid] = "passed"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
        elif report.skipped:
            self._skip(report)

    def _skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        self._outcomes[report.nodeid] = "skipped"
        # a skip is (path, line, "Skipped: why"); an expected failure has a traceback instead
        skip = (
            report.longrepr
            if isinstance(report.longrepr, tuple | list)  # a list if a worker sent it
            else (0, 0, "fails as expected")
        )
        self._skips.note(report.nodeid, skip[2].removeprefix("Skipped: "))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if hasattr(config, "workerinput"):  # one of several processes; the one that began them counts
        return
    if config.stash[SKIPS].unlisted and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    path: Path | None = config.getoption("--tally")
    if path is not None:
        tally = Counter(config.stash[OUTCOMES].values())
        with path.open("a") as file:
            file.write(f"{tally['passed']} {tally['failed']} {tally['skipped']}\n")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if unlisted := config.stash[SKIPS].unlisted:
        terminalreporter.section(f"skips that {ALLOWED_SKIPS.name} does not list: the run fails")
        for line in unlisted:
            terminalreporter.line(line)
