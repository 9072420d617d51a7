"""dockerd, played: the calls of Engine 26.1 or 29 in their order, and what it does when one fails.

What is played is what tests/wire shows, file by file (``fail-*``, ``plugin-killed-during-calls``,
``daemon-killed-during-calls``, and those of 29): one call after the other; a call that is cut off
is repeated *with an empty body* and then taken for failed; what a failure makes dockerd undo, and
what it forgets. Its API, which our collector reads, tells what dockerd would know.
"""

import http.server
import itertools
import json
import socketserver
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from tests.e2e.wire import GATEWAY, NAME


class FailedError(Exception):
    """A call was refused, or cut off."""


class DiedError(BaseException):
    """It was killed itself when a call was cut off: nothing of what it would do follows."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What differs between versions of it (docker-plugin facts of tests/wire)."""

    version: str
    names: bool = False
    """RequestAddress tells the container's name."""
    leaves_after_failed_join: bool = False
    leaves_twice: bool = False
    """After what fails behind Join."""
    spaces_again: bool = False
    """It asks for the address spaces again before each RequestPool."""
    revoke_after_restart: bool = True
    """Of endpoints that were joined before a restart with live-restore."""


E26 = Engine("26.1.5")
E29 = Engine(
    "29.7.2",
    names=True,
    leaves_after_failed_join=True,
    leaves_twice=True,
    spaces_again=True,
    revoke_after_restart=False,
)


@dataclass(slots=True)
class Subnet:
    """A subnet of a network; pool and gateway once the IPAM gave them."""

    asked: str
    gateway_asked: str = ""
    pool: str = ""
    cidr: str = ""
    gateway: str = ""


@dataclass(slots=True)
class Network:
    """A network that dockerd has, or is about to have."""

    id: str
    subnets: Sequence[Subnet]
    options: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False

    def of_family(self, family: int) -> list[Subnet]:
        """Return the subnets of IPv4 or IPv6."""
        return [each for each in self.subnets if (":" in each.asked) == (family == 6)]


@dataclass(slots=True)
class Container:
    """A container, with its place on one network while it runs."""

    name: str
    network: Network
    ports: Sequence[tuple[int, int]] = ()
    """Port of the host and of the container, TCP."""
    options: Mapping[str, str] = field(default_factory=dict)
    endpoint: str = ""
    sandbox: str = ""
    addresses: dict[int, str] = field(default_factory=dict)
    mac: str = ""
    source: str = ""
    """Name of its link in the host's namespace."""

    def port_options(self) -> dict[str, Any]:
        """Return what ``-p`` puts into the options of the calls."""
        return {
            "com.docker.network.endpoint.exposedports": [
                {"Proto": 6, "Port": port} for _, port in self.ports
            ],
            "com.docker.network.portmap": [
                {"Proto": 6, "IP": "", "Port": port, "HostIP": ""}
                | {"HostPort": host, "HostPortEnd": host}
                for host, port in self.ports
            ],
        }


class Rooms(Protocol):
    """Where containers live: namespaces, each by a key."""

    def make(self, key: str) -> str:
        """Make one and return what Join calls it."""
        ...

    def move_in(self, key: str, source: str, prefix: str, mac: str, cidrs: Sequence[str]) -> None:
        """Move the host's link ``source`` in, with the next name of that prefix, up."""
        ...

    def add_route(self, key: str, to: str, via: str) -> None:
        """Let there be a route by a router, as Join has told it."""
        ...

    def move_out(self, key: str, mac: str, source: str) -> None:
        """Move a link out again, if it is still there, down and with its name of before."""
        ...

    def remove(self, key: str) -> None:
        """Remove one with all that is left in it."""
        ...


class PlayedDocker:
    """It."""

    def __init__(
        self,
        ask: Callable[[str, bytes], dict[str, Any]],
        rooms: Rooms,
        engine: Engine,
        revive: Callable[[], None],
        *,
        first_id: int = 1,
    ) -> None:
        """Play it.

        Args:
            ask: makes a call with that body; OSError or HTTPException if it is cut off.
            rooms: where its containers live.
            engine: the version that is played.
            revive: brings a plugin back that a call has found dead.
            first_id: another one for each host of a fleet, as ids are unique.
        """
        self._ask = ask
        self._sandboxes = rooms
        self.engine = engine
        self._revive = revive
        self._ids = itertools.count(first_id)
        self.networks: list[Network] = []
        self.containers: list[Container] = []
        self.before: Callable[[str], None] = lambda _: None
        """Called with the name of each call before it is made."""
        self.mortal = False
        """It dies with the plugin."""

    # --- what a user types ---

    def create_network(self, network: Network) -> None:
        """Do ``docker network create``; FailedError leaves what dockerd leaves."""
        held: list[Subnet] = []
        try:
            self._spaces()
            for subnet in network.subnets:
                self._request_pool(network, subnet)
                held.append(subnet)
                try:
                    self._request_gateway(subnet)
                except FailedError:
                    # no ReleaseAddress of this one's gateway (fail-request-gateway)
                    subnet.gateway = ""
                    raise
            self._network("CreateNetwork", self._network_body(network))
        except FailedError:
            self._release_subnets(held)
            raise
        self.networks.append(network)

    def remove_network(self, network: Network) -> None:
        """Do ``docker network rm``, which always succeeds."""
        self._release_subnets(network.subnets)
        self._tolerant("NetworkDriver.DeleteNetwork", {"NetworkID": network.id})
        self.networks.remove(network)

    def start(self, container: Container) -> None:
        """Do ``docker start``; FailedError leaves what dockerd leaves."""
        container.endpoint = self.new_id()
        network = container.network
        addresses: dict[int, tuple[str, str]] = {}
        for subnet in network.subnets:
            # if the second family's fails, nobody releases the first's (fail-request-address-v6)
            options = {NAME: container.name} if self.engine.names else None
            body = {"PoolID": subnet.pool, "Address": "", "Options": options}
            found = self._ipam("RequestAddress", body)["Address"]
            addresses[6 if ":" in found else 4] = (subnet.pool, found)
        container.addresses = {family: each for family, (_, each) in addresses.items()}
        try:
            self._create_endpoint(container)
        except FailedError:
            self._release(addresses)
            raise
        self.containers.append(container)
        try:
            self._join(container)
        except FailedError:
            self._end(container, addresses, leaves=self.engine.leaves_after_failed_join)
            raise
        try:
            if not network.internal:
                self._network(
                    "ProgramExternalConnectivity",
                    self._place(container) | {"Options": container.port_options()},
                )
        except FailedError:
            self._end(container, addresses, leaves=1 + self.engine.leaves_twice)
            raise
        for _ in range(2):
            self._tolerant("NetworkDriver.EndpointOperInfo", self._place(container))

    def stop(self, container: Container, *, revoke: bool = True) -> None:
        """Do ``docker stop``, which always succeeds."""
        if revoke and not container.network.internal:
            self._tolerant("NetworkDriver.RevokeExternalConnectivity", self._place(container))
        self._end(container, self._held(container), leaves=1)

    def lose(self, container: Container) -> None:
        """End a container as a dockerd does that was killed, with two driver names: by its lease.

        One whose endpoint it had not written down is forgotten (daemon-killed-during-calls).
        """
        self._remove_sandbox(container)
        if container in self.containers:
            self.containers.remove(container)
            self._release(self._held(container))

    def new_id(self) -> str:
        """Return an id like Docker's, distinct in its first digits."""
        return f"{next(self._ids):03x}{'5eed' * 16}"[:64]

    # --- calls ---

    def _spaces(self) -> None:
        found = self._ipam("GetDefaultAddressSpaces", None)
        assert found["LocalDefaultAddressSpace"] == "ovsnet"

    def _request_pool(self, network: Network, subnet: Subnet) -> None:
        if self.engine.spaces_again:
            self._spaces()
        body = {
            "AddressSpace": "ovsnet",
            "Pool": subnet.asked,
            "SubPool": "",
            "Options": dict(network.ipam_options),
            "V6": ":" in subnet.asked,
        }
        found = self._ipam("RequestPool", body)
        subnet.pool, subnet.cidr = found["PoolID"], found["Pool"]

    def _request_gateway(self, subnet: Subnet) -> None:
        body = {"PoolID": subnet.pool, "Address": subnet.gateway_asked, "Options": GATEWAY}
        subnet.gateway = self._ipam("RequestAddress", body)["Address"]

    def _network_body(self, network: Network) -> dict[str, Any]:
        six = bool(network.of_family(6))
        options: dict[str, Any] = {
            "com.docker.network.enable_ipv6": six,
            "com.docker.network.generic": dict(network.options),
        }
        if network.internal:
            options["com.docker.network.internal"] = True

        def data(family: int) -> list[dict[str, Any]]:
            return [
                {"AddressSpace": "ovsnet", "Pool": each.cidr, "Gateway": each.gateway}
                for each in network.of_family(family)
            ]

        return {
            "NetworkID": network.id,
            "Options": options,
            "IPv4Data": data(4),
            "IPv6Data": data(6),
        }

    def _create_endpoint(self, container: Container) -> None:
        interface = {
            "Address": container.addresses.get(4, ""),
            "AddressIPv6": container.addresses.get(6, ""),
            "MacAddress": "",
        }
        options = {**container.options, **container.port_options()}
        body = self._place(container) | {"Interface": interface, "Options": options}
        container.mac = self._network("CreateEndpoint", body)["Interface"]["MacAddress"]

    def _join(self, container: Container) -> None:
        """Make a namespace, join, and move the link into it as dockerd's hook does."""
        key = container.endpoint[:12]
        container.sandbox = self._sandboxes.make(key)
        body = self._place(container) | {
            "SandboxKey": container.sandbox,
            "Options": container.port_options(),
        }
        joined = self._network("Join", body)
        container.source = joined["InterfaceName"]["SrcName"]
        prefix = joined["InterfaceName"]["DstPrefix"]
        cidrs = [each for _, each in sorted(container.addresses.items())]
        self._sandboxes.move_in(key, container.source, prefix, container.mac, cidrs)
        for to, via in _routes(joined):
            self._sandboxes.add_route(key, to, via)

    def _end(
        self, container: Container, held: Mapping[int, tuple[str, str]], *, leaves: int
    ) -> None:
        for _ in range(leaves):
            self._tolerant("NetworkDriver.Leave", self._place(container))
        if container.source:
            key = container.endpoint[:12]
            self._sandboxes.move_out(key, container.mac, container.source)
        self._tolerant("NetworkDriver.DeleteEndpoint", self._place(container))
        self.containers.remove(container)
        self._release(held)
        self._remove_sandbox(container)

    def _remove_sandbox(self, container: Container) -> None:
        self._sandboxes.remove(container.endpoint[:12])
        container.sandbox = container.source = ""

    def _held(self, container: Container) -> Mapping[int, tuple[str, str]]:
        pools = {6 if ":" in each.cidr else 4: each.pool for each in container.network.subnets}
        return {f: (pools[f], address) for f, address in container.addresses.items()}

    def _release(self, held: Mapping[int, tuple[str, str]]) -> None:
        for _, (pool, address) in sorted(held.items()):
            body = {"PoolID": pool, "Address": address.partition("/")[0]}
            self._tolerant("IpamDriver.ReleaseAddress", body)

    def _release_subnets(self, subnets: Sequence[Subnet]) -> None:
        for each in subnets:
            if each.gateway:
                body = {"PoolID": each.pool, "Address": each.gateway.partition("/")[0]}
                self._tolerant("IpamDriver.ReleaseAddress", body)
            self._tolerant("IpamDriver.ReleasePool", {"PoolID": each.pool})

    def _place(self, container: Container) -> dict[str, Any]:
        return {"NetworkID": container.network.id, "EndpointID": container.endpoint}

    def _tolerant(self, name: str, body: Any) -> None:
        """Make a call whose failure dockerd only logs."""
        with suppress(FailedError):
            self.call(name, body)

    def _ipam(self, name: str, body: Any) -> dict[str, Any]:
        return self.call(f"IpamDriver.{name}", body)

    def _network(self, name: str, body: Any) -> dict[str, Any]:
        return self.call(f"NetworkDriver.{name}", body)

    def call(self, name: str, body: Any) -> dict[str, Any]:
        """Make a call; cut off, it comes again without its body, which must be refused.

        Raises:
            FailedError: refused, or cut off.
        """
        self.before(name)
        try:
            found = self._ask(name, b"" if body is None else json.dumps(body).encode() + b"\n")
        except (OSError, HTTPException) as error:
            self._revive()
            if self.mortal:
                raise DiedError from error
            again = self._ask(name, b"")
            if body is None:
                return again
            assert "the request is empty" in again["Err"], again
            raise FailedError(f"{name}: cut off") from error
        if found.get("Err") or found.get("Error"):
            raise FailedError(f"{name}: {found}")
        return found

    # --- what its API tells ---

    def told(self, path: str) -> Any:
        """Return what a GET of its API answers; None if there is no such thing."""
        if path == "/info":
            return {"ID": "PLAYED", "ServerVersion": self.engine.version}
        if path == "/networks":
            return [self._told_network(each) for each in list(self.networks)]
        if path.startswith("/networks/"):
            found = [each for each in list(self.networks) if each.id == path.split("/")[2]]
            return self._told_network(found[0]) if found else None
        if path.startswith("/containers/json"):
            return []
        return {} if path == "/_ping" else None

    def _told_network(self, network: Network) -> dict[str, Any]:
        containers = {
            f"{each.endpoint[:32]}{'c' * 32}": {
                "Name": each.name,
                "EndpointID": each.endpoint,
                "MacAddress": each.mac,
                "IPv4Address": each.addresses.get(4, ""),
                "IPv6Address": each.addresses.get(6, ""),
            }
            for each in list(self.containers)
            if each.network is network
        }
        config = [
            {"Subnet": each.cidr, "Gateway": each.gateway.partition("/")[0]}
            for each in network.subnets
        ]
        ipam = {"Driver": "ovsipam", "Options": dict(network.ipam_options), "Config": config}
        return {
            "Id": network.id,
            "Name": f"n{network.id[:3]}",
            "Scope": "local",
            "Driver": "ovsnet",
            "IPAM": ipam,
            "Containers": containers,
        }


def _routes(joined: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the routes by routers that an answer to Join has, by prefix."""
    for each in joined.get("StaticRoutes") or ():
        if each["NextHop"]:
            yield each["Destination"], each["NextHop"]
    for to, via in (("0.0.0.0/0", joined.get("Gateway")), ("::/0", joined.get("GatewayIPv6"))):
        if via:
            yield to, via


@contextmanager
def api(docker: PlayedDocker, path: Path) -> Iterator[None]:
    """Answer as its API on a socket."""
    path.unlink(missing_ok=True)
    with _Api(path, docker) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Api(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, docker: PlayedDocker) -> None:
        self.docker = docker
        super().__init__(str(path), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Api

    def do_GET(self) -> None:
        found = self.server.docker.told(self.path)
        text = json.dumps(found).encode()
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self) -> str:
        return "a unix socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass
