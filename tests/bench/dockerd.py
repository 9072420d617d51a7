"""Plays dockerd to a driver: the calls of a container's start and stop, and its part of the links.

One :class:`Docker` for each driver, one connection for each thread and socket. The order of calls
and what is in them are those of engine 26.
"""

import itertools
import json
import secrets
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netaddr import IPNetwork

from ovsdriver.adapters.kernel.codec.rtnetlink import NetlinkError, RouteSocket
from tests.bench import links
from tests.bench.http_client import body_of, request
from tests.integration.netns import Sandbox

PATIENCE_S = 120.0
_PORTS: dict[str, list[object]] = {
    "com.docker.network.endpoint.exposedports": [],
    "com.docker.network.portmap": [],
}

Samples = dict[str, list[float]]
"""Milliseconds by what was measured."""


class Docker:
    """Calls of one driver."""

    def __init__(self, network: Path, ipam: Path, *, options: dict[str, str] | None = None) -> None:
        self._sockets = {"NetworkDriver": network, "IpamDriver": ipam, "Plugin": ipam}
        self._options = options or {}
        self._local = threading.local()
        self._lock = threading.Lock()
        self.samples: Samples = defaultdict(list)

    def with_options(self, options: dict[str, str]) -> "Docker":
        """Return one more towards the same driver, whose networks have other options."""
        return Docker(self._sockets["NetworkDriver"], self._sockets["IpamDriver"], options=options)

    def note(self, what: str, seconds: float) -> None:
        with self._lock:
            self.samples[what].append(seconds * 1000)

    def call(self, name: str, **members: object) -> Any:
        """Make a call; its milliseconds are noted under the part behind the dot."""
        connection = self._connection(self._sockets[name.partition(".")[0]])
        began = time.perf_counter()
        connection.sendall(request(name, **members))
        heard = b""
        while (body := body_of(heard)) is None:
            more = connection.recv(65536)
            if not more:
                raise SystemExit(f"{name}: the driver closed the connection")
            heard += more
        self.note(name.rpartition(".")[2], time.perf_counter() - began)
        return json.loads(body)

    def network(self, subnet: str) -> "Network":
        """Make a network."""
        pool = self.call("IpamDriver.RequestPool", AddressSpace=self._space(), Pool=subnet)
        gateway = self.call(
            "IpamDriver.RequestAddress",
            PoolID=pool["PoolID"],
            Address="",
            Options={"RequestAddressType": "com.docker.network.gateway"},
        )
        network = Network(self, secrets.token_hex(32), pool["PoolID"], gateway["Address"])
        self.call(
            "NetworkDriver.CreateNetwork",
            NetworkID=network.id,
            Options={"com.docker.network.generic": self._options},
            IPv4Data=[
                {"AddressSpace": self._space(), "Gateway": network.gateway, "Pool": pool["Pool"]}
            ],
            IPv6Data=[],
        )
        return network

    def _space(self) -> str:
        space: str | None = getattr(self._local, "space", None)
        if space is None:
            answer = self.call("IpamDriver.GetDefaultAddressSpaces")
            space = self._local.space = answer.get("LocalDefaultAddressSpace", "yard")
        return space

    def _connection(self, path: Path) -> socket.socket:
        open_: dict[Path, socket.socket] | None = getattr(self._local, "open", None)
        if open_ is None:
            open_ = self._local.open = {}
        if path not in open_:
            open_[path] = socket.socket(socket.AF_UNIX)
            open_[path].settimeout(PATIENCE_S)
            open_[path].connect(str(path))
        return open_[path]


@dataclass
class Network:
    """A network and its pool."""

    docker: Docker
    id: str
    pool: str
    gateway: str

    def delete(self) -> None:
        """As engine 26: the addresses first."""
        address = self.gateway.partition("/")[0]
        self.docker.call("IpamDriver.ReleaseAddress", PoolID=self.pool, Address=address)
        self.docker.call("IpamDriver.ReleasePool", PoolID=self.pool)
        self.docker.call("NetworkDriver.DeleteNetwork", NetworkID=self.id)


@dataclass
class Place:
    """Where one container at a time is: a namespace, and netlink on both of its sides."""

    sandbox: Sandbox = field(default_factory=Sandbox)

    def __post_init__(self) -> None:
        self.inside = self.sandbox.call(RouteSocket)
        self.host = RouteSocket()
        self.host_netns = Path("/proc/thread-self/ns/net").open()  # noqa: SIM115 - kept open
        self.netns = Path(self.sandbox.path).open()  # noqa: SIM115

    def close(self) -> None:
        for each in (self.inside, self.host, self.host_netns, self.netns, self.sandbox):
            each.close()


class Container:
    """One container's endpoint on a network."""

    def __init__(self, network: Network) -> None:
        self._network, self._docker = network, network.docker
        self._id = secrets.token_hex(32)
        self._address = self._link = ""

    def attach(self, sandbox: str, pause_s: float = 0.0) -> None:
        """Make the calls up to Join; ``attach`` is what they took, without the pause before it."""
        began = time.perf_counter() + pause_s
        self._address = self._docker.call(
            "IpamDriver.RequestAddress", PoolID=self._network.pool, Address="", Options=None
        )["Address"]
        interface = {"Address": self._address, "AddressIPv6": "", "MacAddress": ""}
        self._call("CreateEndpoint", Interface=interface, Options=_PORTS)
        resumed = time.perf_counter() + pause_s
        while (left := resumed - time.perf_counter()) > 0:
            time.sleep(left)
        began += time.perf_counter() - resumed
        joined = self._call("Join", SandboxKey=sandbox, Options=_PORTS)
        self._docker.note("attach", time.perf_counter() - began)
        self._link = joined["InterfaceName"]["SrcName"]

    def move_in(self, place: Place) -> None:
        """Put the link into the container, as dockerd does after Join."""
        links.move(place.host, self._link, place.netns.fileno(), "eth0")
        links.add_address(place.inside, "eth0", IPNetwork(self._address))
        links.set_up(place.inside, "eth0", up=True)
        self._call("EndpointOperInfo")

    def detach(self, place: Place | None = None) -> None:
        """Make the calls from Leave on; ``detach`` is what they took, without the link's way."""
        began = time.perf_counter()
        self._call("Leave")
        took = time.perf_counter() - began
        if place is not None:
            with suppress(NetlinkError, LookupError):  # some drivers have deleted it by now
                links.set_up(place.inside, "eth0", up=False)
                links.move(place.inside, "eth0", place.host_netns.fileno(), self._link)
        began = time.perf_counter()
        self._call("DeleteEndpoint")
        address = self._address.partition("/")[0]
        self._docker.call("IpamDriver.ReleaseAddress", PoolID=self._network.pool, Address=address)
        self._docker.note("detach", took + time.perf_counter() - began)

    def _call(self, name: str, **members: object) -> Any:
        ids = {"NetworkID": self._network.id, "EndpointID": self._id}
        return self._docker.call(f"NetworkDriver.{name}", **ids, **members)


@dataclass(frozen=True)
class Pace:
    """What dockerd does for itself in between."""

    before_join_s: float = 0.0
    """From the answer to CreateEndpoint on."""
    between_s: float = 0.0
    """From a container's start to its end, and from there to the next one."""


HASTY = Pace()


def cycles(network: Network, places: list[Place], count: int, pace: Pace = HASTY) -> float:
    """Start and stop ``count`` containers, one at a time in each place; returns the seconds."""

    def work(place: Place) -> None:
        while next(left, None) is not None:
            container = Container(network)
            container.attach(place.sandbox.path, pace.before_join_s)
            container.move_in(place)
            time.sleep(pace.between_s)
            container.detach(place)
            time.sleep(pace.between_s)

    left = _shared(iter(range(count)))
    began = time.perf_counter()
    in_threads([lambda place=place: work(place) for place in places])
    return time.perf_counter() - began


def fill(network: Network, sandboxes: Iterable[str], *, at_once: int = 16) -> list[Container]:
    """Plug in one endpoint for each; links stay on the host: moving thousands takes minutes."""
    made: list[Container] = []

    def work() -> None:
        while (sandbox := next(left, None)) is not None:
            container = Container(network)
            container.attach(sandbox)
            made.append(container)

    left = _shared(iter(sandboxes))
    in_threads([work] * at_once)
    return made


def empty(containers: list[Container], *, at_once: int = 16) -> None:
    """Unplug what :func:`fill` has plugged in."""

    def work() -> None:
        while (container := next(left, None)) is not None:
            container.detach()

    left = _shared(iter(containers))
    in_threads([work] * at_once)


class _shared(Iterator[Any]):  # noqa: N801 - used as a function
    """An iterator that threads share."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source, self._lock = source, threading.Lock()

    def __next__(self) -> Any:
        with self._lock:
            return next(self._source)


def in_threads(works: list[Any]) -> None:
    """Do all at once; SystemExit with the first that failed."""
    failed: list[BaseException] = []

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(
            f"{len(failed)} of {len(works)} workers failed: {failed[0]!r}"
        ) from failed[0]


NUMBERS = itertools.count(20)


def subnet() -> str:
    """Return a subnet that was not used before."""
    return f"10.{next(NUMBERS)}.0.0/16"
