"""A private Open vSwitch: its own network namespace, database, daemons and folder.

Nothing of the machine's own Open vSwitch is touched, and nothing is left behind: the programs
die with the process that started them, the links with their namespace. Several may run side by
side, since each has a namespace of its own (two ovs-vswitchd in one namespace clash).

    with private_ovs() as ovs:
        ovs.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")
        ovs.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        ovs.kill_db()
        ovs.start_db()
"""

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from ovsdriver.adapters.ovs.rows import OvsSwitch

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_START_S = 30.0
_counter = itertools.count()


class PrivateOvs:
    """One Open vSwitch with handles to stop, kill, freeze and replace its parts."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self.folder = folder
        self.socket = folder / "db.sock"
        self.database = folder / "conf.db"
        self.remotes = [f"punix:{self.socket}"]
        self.db: subprocess.Popen[bytes] | None = None
        self.vswitchd: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What ``--ovsdb`` takes."""
        return f"unix:{self.socket}"

    def create_database(self) -> None:
        """Write an empty conf.db in place of what was there; ovsdb-server must not run."""
        self.database.unlink(missing_ok=True)
        (self.folder / ".conf.db.~lock~").unlink(missing_ok=True)
        self._run("ovsdb-tool", "create", str(self.database), str(SCHEMA))

    def start_db(self) -> None:
        """Start ovsdb-server and wait until it answers."""
        assert self.db is None
        self.socket.unlink(missing_ok=True)
        self.db = self._start(
            "ovsdb-server",
            str(self.database),
            *(f"--remote={remote}" for remote in self.remotes),
            f"--unixctl={self.folder}/db.ctl",
            f"--pidfile={self.folder}/ovsdb-server.pid",
        )
        self._wait(lambda: self._answers("db.ctl", "ovsdb-server/list-dbs"), "ovsdb-server")

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd and wait until it has read its configuration."""
        assert self.vswitchd is None
        self.vsctl("--no-wait", "init")
        self.vswitchd = self._start(
            "ovs-vswitchd", f"unix:{self.socket}", f"--unixctl={self.folder}/vswitchd.ctl"
        )
        self._wait(lambda: self._answers("vswitchd.ctl", "version"), "ovs-vswitchd")
        self.vsctl("init")

    def kill_db(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End ovsdb-server."""
        _end(self.db, sig)
        self.db = None

    def kill_vswitchd(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End ovs-vswitchd; its taps stay behind, as after a crash."""
        _end(self.vswitchd, sig)
        self.vswitchd = None

    @contextmanager
    def frozen_db(self) -> Iterator[None]:
        """Stop ovsdb-server (SIGSTOP): its socket accepts and nobody answers."""
        assert self.db is not None
        with frozen(self.db.pid):
            yield

    @contextmanager
    def frozen_vswitchd(self) -> Iterator[None]:
        """Stop ovs-vswitchd (SIGSTOP): rows are committed and nobody acts on them."""
        assert self.vswitchd is not None
        with frozen(self.vswitchd.pid):
            yield

    def vsctl(self, *args: str) -> str:
        """Run ovs-vsctl; it waits for ovs-vswitchd unless told ``--no-wait``."""
        return self._run("ovs-vsctl", f"--db={self.address}", "--timeout=20", *args)

    def appctl(self, *args: str) -> str:
        """Run ovs-appctl on ovs-vswitchd."""
        return self._run("ovs-appctl", "-t", str(self.folder / "vswitchd.ctl"), "-T", "20", *args)

    def ip(self, *args: str) -> str:
        """Run ip in the namespace."""
        return self._run("ip", "-n", self.namespace, *args)

    def run(self, *args: str) -> str:
        """Run a program in the namespace."""
        return self._run("ip", "netns", "exec", self.namespace, *args)

    def links(self) -> dict[str, dict[str, Any]]:
        """Return the namespace's links by name, as ``ip -json`` describes them."""
        found = json.loads(self.ip("-json", "link", "show") or "[]")
        return {link["ifname"]: link for link in found}

    def link_index(self, name: str) -> int | None:
        """Return the index of a link of the namespace; None if it is not there."""
        link = self.links().get(name)
        return int(link["ifindex"]) if link else None

    def add_veth(self, host: str, peer: str) -> None:
        """Make a veth pair in the namespace, both ends up."""
        self.ip("link", "add", host, "up", "type", "veth", "peer", "name", peer)
        self.ip("link", "set", peer, "up")

    def reached(self, sender: str, control: str, *others: str) -> set[str]:
        """Send a frame into ``sender`` and return which of the other links it came out of.

        ``control`` is one that should get it: it is waited for, the others only a moment.
        """
        program = [sys.executable, str(Path(__file__).with_name("frames.py"))]
        return set(json.loads(self.run(*program, sender, control, *others)))

    def rows(self, table: str, *columns: str) -> list[dict[str, Any]]:
        """Return rows as ovs-vsctl prints them in JSON, ``["map", …]`` and ``["set", …]`` kept."""
        wanted = [f"--columns={','.join(columns)}"] if columns else []
        found = json.loads(self.vsctl("--no-wait", "--format=json", *wanted, "list", table))
        return [dict(zip(found["headings"], row, strict=True)) for row in found["data"]]

    def close(self) -> None:
        """End both programs."""
        self.kill_vswitchd()
        self.kill_db()

    def _start(self, program: str, *args: str) -> subprocess.Popen[bytes]:
        # setpriv: a test run that is itself killed must leave no daemon behind
        command = ("ip", "netns", "exec", self.namespace, "setpriv", "--pdeathsig", "KILL", "--")
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, program, *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
            )

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=self._environment()
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _answers(self, control: str, command: str) -> bool:
        path = str(self.folder / control)
        probe = ["ovs-appctl", "-t", path, "-T", "5", command]
        return subprocess.run(probe, capture_output=True, timeout=10).returncode == 0

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + _START_S
        while not condition():
            if time.monotonic() > give_up:
                log = (self.folder / f"{what}.log").read_text(errors="replace")
                raise RuntimeError(f"{what} did not start:\n{log[-2000:]}")
            time.sleep(0.02)

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {**os.environ, "OVS_RUNDIR": folder, "OVS_LOGDIR": folder, "OVS_DBDIR": folder}


@contextmanager
def private_ovs(
    prefix: str = "ovt-", *, vswitchd: bool = True, remotes: tuple[str, ...] = ()
) -> Iterator[PrivateOvs]:
    """Run a private Open vSwitch for the time of the ``with`` block.

    ``vswitchd=False`` starts the database alone; ``remotes`` are further listeners of
    ovsdb-server, such as ``ptcp:6640:127.0.0.1`` (in the private namespace, loopback is up).
    """
    remove_leftovers(prefix)
    namespace = f"{prefix}{os.getpid()}-{next(_counter)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{namespace}-"))
    ovs = PrivateOvs(namespace, folder)
    ovs.remotes.extend(remotes)
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        ovs.ip("link", "set", "lo", "up")
        ovs.create_database()
        ovs.start_db()
        if vswitchd:
            ovs.start_vswitchd()
        yield ovs
    finally:
        ovs.close()
        subprocess.run(["ip", "netns", "del", namespace], check=True)
        shutil.rmtree(folder)


@asynccontextmanager
async def private_ovs_async(
    prefix: str = "ovt-", *, vswitchd: bool = True, remotes: tuple[str, ...] = ()
) -> AsyncIterator[PrivateOvs]:
    """Do the same in ``async with``; starting blocks the loop, which is a test's own."""
    with private_ovs(prefix, vswitchd=vswitchd, remotes=remotes) as ovs:
        yield ovs


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process for the time of the ``with`` block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _end(program: subprocess.Popen[bytes] | None, sig: signal.Signals) -> None:
    if program is not None:
        program.send_signal(sig)
        program.send_signal(signal.SIGCONT)
        program.wait(_START_S)


def remove_leftovers(prefix: str) -> None:
    """Delete what killed test runs have left: the names hold the run's process id."""
    for path in Path("/run/netns").glob(f"{prefix}[0-9]*-[0-9]*"):
        if _is_abandoned(path, prefix):
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}[0-9]*-[0-9]*-*"):
        if _is_abandoned(path, prefix):
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path, prefix: str) -> bool:
    pid = path.name.removeprefix(prefix).split("-")[0]
    return not Path("/proc", pid).exists()


@asynccontextmanager
async def running_switch(
    ovs: PrivateOvs, *, owner: str = "ovsnet", connect: bool = True, **settings: Any
) -> AsyncIterator[OvsSwitch]:
    """Run an ``OvsSwitch`` on ``ovs``; further settings are those of its constructor.

    ``connect=False`` does not wait for the connection.
    """
    settings.setdefault("device_index", ovs.link_index)
    switch = OvsSwitch(settings.pop("address", ovs.address), owner=owner, **settings)
    running = asyncio.create_task(switch.run())
    try:
        if connect:
            await switch.connected(20)
        yield switch
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def eventually(condition: Callable[[], Any], what: str, within_s: float = 30.0) -> Any:
    """Wait until ``condition`` gives something true, and return that."""
    give_up = time.monotonic() + within_s
    while not (result := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(0.02)
    return result
