"""A fleet: hosts in namespaces of one machine, the wire between them, OVN's central servers."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Self, TypeVar

from tests.e2e.world import CommandError, Result, until
from tests.hosts.central import NORTH, SOUTH, Central, Centre, Database
from tests.hosts.certificates import Authority
from tests.hosts.host import Host
from tests.hosts.underlay import Underlay, underlay_address

T = TypeVar("T")

_SOON = "1500"
"""Milliseconds after which a server that is silent is probed: a dead host is noticed sooner."""

_NO_LEADER = "database connection failed"
"""What a client says that found no leader."""


def at_once(do: Callable[[Host], T], hosts: Iterable[Host]) -> list[T]:
    """Do something to several hosts at the same time."""
    chosen = list(hosts)
    with ThreadPoolExecutor(len(chosen) or 1) as pool:
        return list(pool.map(do, chosen))


class Fleet:
    """All of it, from power to running dockerds. Hosts are numbered from 1 on."""

    def __init__(
        self,
        *,
        hosts: int = 3,
        central: Sequence[int] = (1, 2, 3),
        secure: bool = False,
        settings: str = "",
        docker_settings: Mapping[str, object] | None = None,
        docker: bool = True,
        kinds: Mapping[int, type[Host]] | None = None,
    ) -> None:
        """Describe a fleet.

        Args:
            hosts: how many.
            central: numbers of those with central servers; the first founds the clusters.
            secure: with TLS between all of them, which need a certificate of the fleet's.
            settings: more of our configuration than where the databases are.
            docker_settings: content of dockerd's, for instance ``dns``.
            docker: without, only the test itself speaks to our processes.
            kinds: of single hosts, by number, what is not just a host.
        """
        self.underlay = Underlay()
        self._secure = secure
        authority = Authority(self.underlay.home / "certificates") if secure else None
        self.hosts = [
            (kinds or {}).get(number, Host)(
                number,
                self.underlay,
                identity=authority.issue(f"host{number}", underlay_address(number))
                if authority
                else None,
                settings=settings,
                docker_settings=docker_settings,
                docker=docker,
            )
            for number in range(1, hosts + 1)
        ]
        self._wanted = tuple(central)
        self._undo = ExitStack()

    def host(self, number: int) -> Host:
        """Return a host by its number."""
        return self.hosts[number - 1]

    @property
    def centre(self) -> Centre:
        """Where the central servers are."""
        return Centre([each.address for each in self.hosts if each.central], self._secure)

    def __enter__(self) -> Self:
        try:
            self._undo.enter_context(self.underlay)
            for host in self.hosts:
                self._undo.callback(host.close)
            at_once(Host.power_on, self.hosts)
            at_once(_start_network, self.hosts)
            with ThreadPoolExecutor(1) as pool:
                docker = pool.submit(at_once, _start_docker, self.hosts)
                for number in self._wanted:
                    self.add_central(number, told=False)
                self.tell_all()
                at_once(Host.start_plugin, self.hosts)
                at_once(Host.start_controller, self.hosts)
                self.nbctl("set", "NB_Global", ".", f"options:northd_probe_interval={_SOON}")
                docker.result()
            self.sync()
        except BaseException:
            print(self.logs())  # noqa: T201
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, and forget the files."""
        self._undo.close()

    def add_central(self, number: int, *, told: bool = True) -> None:
        """Start central servers on a host: of new clusters, or as members of those there are.

        Args:
            number: of the host.
            told: whether everybody hears of it, our processes by a restart.
        """
        host = self.host(number)
        others = [each.central for each in self.hosts if each.central]
        identity = host.identity
        host.central = Central(host, host.address, identity)
        if others:
            host.central.join(others[0])
        else:
            host.central.found()
        if told:
            self.tell_all()
            at_once(Host.restart_plugin, self.hosts)

    def tell_all(self) -> None:
        """Have every host know where the central servers are."""
        at_once(lambda host: host.look_to(self.centre), self.hosts)

    def cut(self, host: Host) -> None:
        """Cut a host off from all others."""
        self.underlay.cut(host.number)

    def heal(self) -> None:
        """Let all hosts reach each other again."""
        for host in self.hosts:
            self.underlay.heal(host.number)

    def leader(self, database: Database = NORTH) -> Host:
        """Wait until a server leads, and return its host."""
        found: list[Host] = []

        def led() -> bool:
            leads = at_once(lambda h: h.on and h.central and h.central.leads(database), self.hosts)
            found[:] = [host for host, led in zip(self.hosts, leads, strict=True) if led]
            return len(found) == 1

        until(led, f"{database.schema} has a leader")
        return found[0]

    def nbctl(self, *words: str) -> str:
        """Run ``ovn-nbctl`` on a central host that runs; CommandError if it fails."""
        return self._ask("ovn-nbctl", NORTH, *words)

    def sbctl(self, *words: str) -> str:
        """Run ``ovn-sbctl``."""
        return self._ask("ovn-sbctl", SOUTH, *words)

    def _ask(self, program: str, database: Database, *words: str) -> str:
        host = next(each for each in self.hosts if each.central and each.on)
        flags = host.identity.flags() if host.identity else ()
        server = f"--db={self.centre.remote(database)}"
        said = (program, server, "--timeout=30", *flags, *words)
        last: list[Result] = []

        def answered() -> bool:
            last[:] = [host.attempt(*said)]
            return _NO_LEADER not in last[0].err

        # it asks each server once, and none leads while they elect
        until(answered, lambda: last[0].err)
        if last[0].code:
            raise CommandError(said, last[0])
        return last[0].out

    def sync(self) -> None:
        """Wait until all hosts have done what the northbound database says."""
        self.nbctl("--wait=hv", "sync")

    def chassis(self) -> set[str]:
        """Return the names of the hosts that the southbound database has."""
        return set(self.sbctl("--bare", "--columns=name", "list", "Chassis").split())

    def revive(self) -> None:
        """Start again what a test that failed has left stopped, and undo its cuts."""
        for host in self.hosts:
            if not host.on:
                host.boot()
        self.heal()
        at_once(Host.revive, self.hosts)
        until(self._all_connected, "every host speaks to the leader of the northbound database")

    def _all_connected(self) -> bool:
        said = at_once(lambda host: host.try_ovsnet("status", "--json").out, self.hosts)
        return all(each and json.loads(each)["fleet"]["connected"] for each in said)

    def logs(self, lines: int = 40) -> str:
        """Return the last lines of every program's log on every host."""
        return "\n".join(f"===== {host.system_id}\n{host.logs(lines)}" for host in self.hosts)


def _start_network(host: Host) -> None:
    host.add_outside()
    host.start_switch()


def _start_docker(host: Host) -> None:
    if host.has_docker:
        host.start_docker()
        host.import_image()
