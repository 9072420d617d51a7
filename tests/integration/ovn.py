"""A private database of OVN: one server or a cluster, and nothing else of OVN.

The servers speak to each other over unix sockets in their folder, and to clients over unix
sockets or loopback. They die with the process that started them.

    with northbound(members=3) as cluster:
        cluster.leader().kill()
        cluster.nbctl("ls-list")
"""

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path

from ovsdriver.adapters.ovn import OvnNorthbound
from ovsdriver.adapters.ovsdb import Servers
from tests.hosts.certificates import Identity
from tests.integration.ovs import frozen, remove_leftovers

NORTHBOUND = "OVN_Northbound"
SOUTHBOUND = "OVN_Southbound"
_SCHEMAS = {
    NORTHBOUND: "/usr/share/ovn/ovn-nb.ovsschema",
    SOUTHBOUND: "/usr/share/ovn/ovn-sb.ovsschema",
}
_PREFIX = "nbt-"
_START_S = 30.0
_ELECTION_MS = "500"
_counter = itertools.count()


class Member:
    """One ovsdb-server."""

    def __init__(self, folder: Path, name: str, tls: Identity | None, of: str) -> None:
        self._of = of
        self.database = folder / f"{name}.db"
        self.raft = f"unix:{folder}/{name}.raft"
        self.address = f"unix:{folder}/{name}.sock"
        self._remote = f"p{self.address}"
        self._identity: Sequence[str] = ()
        if tls is not None:
            port = _free_port()
            self.address, self._remote = f"ssl:127.0.0.1:{port}", f"pssl:{port}:127.0.0.1"
            self._identity = tls.flags()
        self._folder = folder
        self._control = f"{folder}/{name}.ctl"
        self._log = folder / f"{name}.log"
        self._program: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._program is None
        # setpriv: a test run that is itself killed must leave no daemon behind
        command = ("setpriv", "--pdeathsig", "KILL", "--", "ovsdb-server", str(self.database))
        listening = (f"--remote={self._remote}", f"--unixctl={self._control}", *self._identity)
        with self._log.open("ab") as log:
            self._program = subprocess.Popen(
                [*command, *listening],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OVS_RUNDIR": str(self._folder)},
            )
        _until(lambda: self.ask("version"), "the server answers")

    def kill(self) -> None:
        """End it as a dying host does."""
        if self._program is not None:
            self._program.kill()
            self._program.wait(_START_S)
            self._program = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it (SIGSTOP): its sockets accept and nobody answers."""
        assert self._program is not None
        with frozen(self._program.pid):
            yield

    def cut_off(self) -> None:
        """Let it speak to clients and no more to the others of its cluster."""
        self.ask("cluster/failure-test", "stop-raft-rpc")

    def ask(self, *words: str) -> str:
        """Return what it answers on its control socket; nothing if it does not."""
        done = subprocess.run(
            ["ovs-appctl", "-t", self._control, "-T", "5", *words],
            capture_output=True,
            text=True,
            timeout=20,
        )
        return done.stdout

    @property
    def leads(self) -> bool:
        """Whether it takes itself for the leader."""
        return "Role: leader" in self.ask("cluster/status", self._of)

    @property
    def belongs(self) -> bool:
        """Whether it has become a member of the cluster."""
        return "Status: cluster member" in self.ask("cluster/status", self._of)


class Cluster:
    """The servers of one database."""

    def __init__(self, folder: Path, count: int, tls: Identity | None, of: str) -> None:
        self.members = [Member(folder, f"s{number}", tls, of) for number in range(1, count + 1)]
        self._of = of
        self._as = () if tls is None else tls.flags()

    @property
    def addresses(self) -> list[str]:
        """What clients are told."""
        return [member.address for member in self.members]

    def create(self) -> None:
        """Make the database and start all servers."""
        first, *others = self.members
        election = f"--election-timer={_ELECTION_MS}"
        run(
            "ovsdb-tool",
            election,
            "create-cluster",
            str(first.database),
            _SCHEMAS[self._of],
            first.raft,
        )
        first.start()
        _until(lambda: first.leads, "there is a leader")
        for member in others:
            places = (str(member.database), self._of, member.raft, first.raft)
            run("ovsdb-tool", "join-cluster", *places)
            member.start()
            _until(lambda: member.belongs, "the server has joined")  # noqa: B023 - called here

    def leader(self) -> Member:
        """Return who leads, when there is one."""
        _until(lambda: any(each.leads for each in self.members), "there is a leader")
        return next(each for each in self.members if each.leads)

    def nbctl(self, *args: str) -> str:
        """Run ovn-nbctl, on whichever server leads."""
        servers = f"--db={','.join(self.addresses)}"
        return run("ovn-nbctl", servers, "--timeout=20", *self._as, *args)

    def sbctl(self, *args: str) -> str:
        """Run ovn-sbctl, on whichever server leads."""
        servers = f"--db={','.join(self.addresses)}"
        return run("ovn-sbctl", servers, "--timeout=20", *self._as, *args)

    def close(self) -> None:
        for member in self.members:
            member.kill()


def northbound(*, members: int = 1, tls: Identity | None = None) -> AbstractContextManager[Cluster]:
    """Run the database for the time of the ``with`` block, with ``tls`` on ``ssl:`` addresses."""
    return _running(NORTHBOUND, members, tls)


def southbound(*, tls: Identity | None = None) -> AbstractContextManager[Cluster]:
    """Run the southbound one in the same way."""
    return _running(SOUTHBOUND, 1, tls)


@contextmanager
def _running(of: str, members: int, tls: Identity | None) -> Iterator[Cluster]:
    remove_leftovers(_PREFIX)
    with ExitStack() as stack:
        # short: the paths of unix sockets end at 107 bytes
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{next(_counter)}-"))
        stack.callback(shutil.rmtree, folder)
        cluster = Cluster(folder, members, tls, of)
        stack.callback(cluster.close)
        cluster.create()
        yield cluster


@asynccontextmanager
async def running_northbound(
    cluster: Cluster, *, addresses: Sequence[str] = (), timeout_s: float = 30.0
) -> AsyncIterator[OvnNorthbound]:
    """Run a host's adapter; ``addresses`` are for a way to the servers that is not theirs."""
    servers = Servers.parse(addresses or cluster.addresses, clustered=True)
    host = OvnNorthbound(servers, timeout_s=timeout_s)
    running = asyncio.create_task(host.run())
    try:
        await host.connected(_START_S)
        yield host
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def run(*command: str) -> str:
    """Run a program and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return int(some.getsockname()[1])


def _until(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > give_up:
            raise RuntimeError(f"not within {_START_S:g} s: {what}")
        time.sleep(0.02)
