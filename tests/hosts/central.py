"""The central servers of OVN on one host: both databases, each one of a cluster, and northd."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.bed import Daemon
from tests.e2e.world import Program, World, until
from tests.hosts.certificates import Identity

_RUN = "/run/ovn"


@dataclass(frozen=True, slots=True)
class Database:
    """What tells the northbound database from the southbound one."""

    short: str
    schema: str
    port: int
    """For clients."""
    raft: int
    """For the other servers."""

    @property
    def socket(self) -> str:
        """Where a client on the same host finds it."""
        return f"unix:{_RUN}/ovn{self.short}_db.sock"

    @property
    def control(self) -> str:
        """Where ``ovs-appctl`` finds it."""
        return f"{_RUN}/ovn{self.short}_db.ctl"


NORTH = Database("nb", "OVN_Northbound", 6641, 6643)
SOUTH = Database("sb", "OVN_Southbound", 6642, 6644)
DATABASES = (NORTH, SOUTH)
NORTHD_CONTROL = f"{_RUN}/ovn-northd.ctl"


@dataclass(frozen=True, slots=True)
class Centre:
    """Where a fleet's central servers are: all that a client needs to know."""

    addresses: Sequence[str]
    secure: bool

    @property
    def scheme(self) -> str:
        """How addresses of servers begin."""
        return "ssl" if self.secure else "tcp"

    def servers(self, database: Database) -> list[str]:
        """Return the addresses of all servers of a database."""
        return [f"{self.scheme}:{each}:{database.port}" for each in self.addresses]

    def remote(self, database: Database) -> str:
        """Return the same as the programs of OVN take it."""
        return ",".join(self.servers(database))


class Central:
    """Those of one host. Every program is told the addresses of all when it starts."""

    def __init__(self, host: World, address: str, identity: Identity | None) -> None:
        self._host = host
        self._address = address
        self._identity = identity
        self._scheme = "ssl" if identity else "tcp"
        self._centre = Centre((address,), secure=identity is not None)
        self.servers: Mapping[Database, Program] = {
            each: Program(host, f"ovn-{each.short}", *self._server(each)) for each in DATABASES
        }
        self.northd = Program(host, "ovn-northd")

    @property
    def daemons(self) -> dict[str, Daemon]:
        """The daemons by name, in the order of their start."""
        return {
            "ovn-nb": Daemon(self.servers[NORTH], lambda: self._start(NORTH)),
            "ovn-sb": Daemon(self.servers[SOUTH], lambda: self._start(SOUTH)),
            "ovn-northd": Daemon(self.northd, self._start_northd),
        }

    def found(self) -> None:
        """Make clusters of one, and start their servers."""
        for each in DATABASES:
            schema = f"/usr/share/ovn/ovn-{each.short}.ovsschema"
            self._tool("create-cluster", each, schema, self._raft(each))
            self._start(each)

    def join(self, other: "Central") -> None:
        """Make the databases members of another's clusters, and start their servers."""
        for each in DATABASES:
            self._tool("join-cluster", each, each.schema, self._raft(each), other._raft(each))
            self._start(each)

    def start(self) -> None:
        """Start all of them."""
        for daemon in self.daemons.values():
            daemon.start()

    def look_to(self, centre: Centre) -> None:
        """Have northd know all servers, for which it is started anew."""
        self._centre = centre
        self.daemons["ovn-northd"].restart()

    def leads(self, database: Database) -> bool:
        """Whether the server of this host leads the cluster."""
        ask = ("ovs-appctl", "--timeout=5", "-t", database.control)
        said = self._host.attempt(*ask, "cluster/status", database.schema)
        return "\nRole: leader" in said.out

    def _start(self, database: Database) -> None:
        self._host.run("mkdir", "-p", _RUN)
        self._host.run("rm", "-f", database.socket.removeprefix("unix:"), database.control)
        self.servers[database].start()
        wait = ("ovsdb-client", "--timeout=5", "wait", database.socket, database.schema)
        until(
            lambda: self._host.attempt(*wait, "connected").code == 0,
            lambda: f"{database.schema} is connected\n{self.servers[database].said()[-2000:]}",
        )

    def _start_northd(self) -> None:
        self._host.run("rm", "-f", NORTHD_CONTROL)
        self.northd.command = (
            "ovn-northd",
            f"--ovnnb-db={self._centre.remote(NORTH)}",
            f"--ovnsb-db={self._centre.remote(SOUTH)}",
            *("-vconsole:info", "-vsyslog:off", f"--unixctl={NORTHD_CONTROL}"),
            *(self._identity.flags() if self._identity else ()),
        )
        self.northd.start()

    def _server(self, database: Database) -> tuple[str, ...]:
        listen = "pssl" if self._identity else "ptcp"
        return (
            *("ovsdb-server", str(self._file(database))),
            f"--remote={listen}:{database.port}:{self._address}",
            f"--remote=p{database.socket}",
            *(f"--unixctl={database.control}", "-vconsole:info", "-vsyslog:off"),
            *(self._identity.flags() if self._identity else ()),
        )

    def _tool(self, what: str, database: Database, *words: str) -> None:
        self._host.run("ovsdb-tool", what, str(self._file(database)), *words)

    def _raft(self, database: Database) -> str:
        return f"{self._scheme}:{self._address}:{database.raft}"

    def _file(self, database: Database) -> Path:
        return self._host.home / f"ovn{database.short}.db"
