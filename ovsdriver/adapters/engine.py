"""Docker's API, read only and in the background: names for ids, and what Docker still lists.

Never called while Docker waits for an answer of ours: dockerd holds locks then that these calls
would wait for.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from netaddr import AddrFormatError, IPAddress, IPNetwork

from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.tracing import name_servers
from ovsdriver.domain.tracing.name_servers import Servers
from ovsdriver.errors import ConfigurationError, UnavailableError
from ovsdriver.ports import EngineEndpoint, EngineSubnet, EngineView

TIMEOUT_S = 10.0
"""For one reading of everything."""

_AT_ONCE = 8
"""Requests in flight: a daemon with hundreds of networks has other clients."""

_BUILT_IN = frozenset({"bridge", "host", "null", "none", "overlay", "macvlan", "ipvlan"})
"""Docker's own drivers, whose endpoints are none of ours. Ours may have any name: a managed
plugin is called what its installer wished."""

_ENDED = frozenset({"created", "exited", "dead"})
"""States of containers without a process. A dockerd that was killed goes on naming the endpoints
in their settings that it has long removed (26.1); one that is being started is in the store."""

_BUILT_IN_IPAM = frozenset({"", "default", "null", "windows"})
"""Docker's own IPAM drivers, whose subnets are none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenContainer:
    """A container as Docker tells it."""

    name: str
    status: str
    """``running``, ``exited``, ``created``, …"""
    exit_code: int
    networks: Mapping[str, str]
    """Ids of its networks by their names; of one that has not started yet they may be empty."""
    resolv_conf: str
    """Path of its ``/etc/resolv.conf`` on this host; empty before its first start."""


class DockerEngine:
    """The port ``Engine`` over Docker's socket."""

    def __init__(self, address: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Speak to ``address``, ``unix://PATH`` or ``tcp://HOST:PORT``.

        Raises:
            ConfigurationError: it is neither.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("unix", "tcp") or not (
            parts.path if parts.scheme == "unix" else parts.netloc
        ):
            raise ConfigurationError(
                f"docker = {address!r}: not an address of Docker; write unix:///run/docker.sock "
                "or tcp://HOST:PORT"
            )
        self._address = address
        self._path = parts.path if parts.scheme == "unix" else None
        # Over a unix socket the name of the host is of no matter, but HTTP wants one.
        self._base = "http://docker" if self._path else f"http://{parts.netloc}"
        self._timeout_s = timeout_s

    async def read(self) -> EngineView:
        """Read networks and endpoints; UnavailableError if dockerd does not answer.

        Endpoints are those of libnetwork's own store, which knows one before its container runs
        and after a crash, and those that running containers name. The store is asked about the
        networks of which the driver or the IPAM may be ours.
        """
        with self._translated():
            async with asyncio.timeout(self._timeout_s), self._session() as session:
                return await _view(session)

    async def list_networks(self) -> tuple[str, frozenset[NetworkId]]:
        with self._translated():
            async with asyncio.timeout(self._timeout_s), self._session() as session:
                info = await _get(session, "/info")
                networks = await _get(session, "/networks")
                return str(info["ID"]), frozenset(NetworkId(each["Id"]) for each in networks)

    async def called(
        self, network: NetworkId, endpoints: Collection[EndpointId]
    ) -> Mapping[EndpointId, Sequence[str]]:
        with self._translated():
            async with asyncio.timeout(self._timeout_s), self._session() as session:
                listed = _of_networks([await _found(session, f"/networks/{network}")])
                wanted = [each for each in listed if each.endpoint in endpoints]
                inspected = await asyncio.gather(
                    *(
                        _found(session, f"/containers/{each.container_id}/json")
                        for each in wanted
                        if each.container_id
                    )
                )
                return {
                    endpoint: names
                    for each in inspected
                    for endpoint, names in _called(each)
                    if endpoint in endpoints
                }

    async def look_at(self, container: str) -> SeenContainer | None:
        """Return what Docker has of a container, by name or id; None if there is none such.

        Raises:
            UnavailableError: dockerd does not answer.
        """
        with self._translated():
            async with asyncio.timeout(self._timeout_s), self._session() as session:
                found = await _found(session, f"/containers/{quote(container, safe='')}/json")
        if not found:
            return None
        with self._translated():
            networks = found["NetworkSettings"]["Networks"]
            return SeenContainer(
                name=str(found["Name"]).removeprefix("/"),
                status=str(found["State"]["Status"]),
                exit_code=int(found["State"]["ExitCode"]),
                networks={str(name): str(each["NetworkID"]) for name, each in networks.items()},
                resolv_conf=str(found["ResolvConfPath"]),
            )

    async def asks(self, container: str) -> Servers:
        seen = await self.look_at(container)
        path = Path(seen.resolv_conf if seen is not None else "")
        try:
            text = await asyncio.to_thread(path.read_text, encoding="utf-8", errors="replace")
            return name_servers.read(text)
        except OSError as error:
            raise UnavailableError(
                f"/etc/resolv.conf of {container} could not be read: {error}"
            ) from error

    async def until_gone(self, answered: Callable[[], None]) -> None:
        """Hold an idle connection to the daemon until that closes it.

        Idle, and not a stream of its events: for a request that is being answered a dockerd that
        ends waits 5 s (measured with 26.1), while an idle connection it closes at once.
        """
        with self._translated():
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connected()
            try:
                # A daemon that was killed resets the connection: gone as well, not a fault.
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    async with asyncio.timeout(self._timeout_s):
                        writer.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
                        await reader.readuntil(b"\r\n\r\n")
                    answered()
                    while await reader.read(4096):
                        pass
            finally:
                writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._path:
            return await asyncio.open_unix_connection(self._path)
        parts = urlsplit(self._address)
        return await asyncio.open_connection(parts.hostname, parts.port or 80)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise UnavailableError(
                f"Docker at {self._address} did not answer in {self._timeout_s:g} s"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            # aiohttp words it for programmers; the reason inside is what a person needs.
            why = getattr(error, "os_error", error)
            raise UnavailableError(
                f"Docker at {self._address} cannot be reached: "
                f"{getattr(why, 'strerror', None) or why}; is dockerd running?"
            ) from error
        except (KeyError, TypeError, ValueError, AttributeError, AddrFormatError) as error:
            # An address that cannot be read is no reason to go on: it would look free.
            raise UnavailableError(
                f"Docker at {self._address} gave an answer that cannot be read "
                f"({type(error).__name__}: {error}); is that dockerd?"
            ) from error

    def _session(self) -> aiohttp.ClientSession:
        connector = (
            aiohttp.UnixConnector(self._path, limit=_AT_ONCE)
            if self._path
            else aiohttp.TCPConnector(limit=_AT_ONCE)
        )
        return aiohttp.ClientSession(self._base, connector=connector, raise_for_status=True)


async def _view(session: aiohttp.ClientSession) -> EngineView:
    # Without a version in the path the daemon speaks its newest; what is read here is the same
    # in all of them, and 29 refuses the versions that older ones speak.
    info = await _get(session, "/info")
    networks = await _get(session, "/networks")
    details = await asyncio.gather(
        *(_found(session, f"/networks/{each['Id']}") for each in networks if _may_be_ours(each))
    )
    containers = await _get(session, "/containers/json?all=1")
    endpoints = {each.endpoint: each for each in _of_networks(details)}
    for each in _of_containers(containers):
        earlier = endpoints.get(each.endpoint, each)
        # The two were read at different moments: what either says is taken for true.
        addresses = dict.fromkeys((*earlier.addresses, *each.addresses))
        endpoints[each.endpoint] = replace(each, addresses=tuple(addresses))
    return EngineView(
        id=info["ID"],
        version=info["ServerVersion"],
        networks={NetworkId(each["Id"]): str(each["Name"]) for each in networks},
        endpoints=endpoints,
        subnets=tuple(subnet for each in details for subnet in _subnets(each)),
        containers=frozenset(each["Id"] for each in containers),
    )


def _may_be_ours(network: Mapping[str, Any]) -> bool:
    ipam = (network.get("IPAM") or {}).get("Driver") or ""
    return network["Driver"] not in _BUILT_IN or ipam not in _BUILT_IN_IPAM


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        return await response.json(content_type=None)


async def _found(session: aiohttp.ClientSession, path: str) -> Mapping[str, Any]:
    """Get an object; nothing of one that was removed since it was listed."""
    try:
        found: Mapping[str, Any] = await _get(session, path)
    except aiohttp.ClientResponseError as error:
        if error.status == 404:
            return {}
        raise
    return found


def _subnets(network: Mapping[str, Any]) -> Iterable[EngineSubnet]:
    ipam = network.get("IPAM") or {}
    # One that others are made after (--config-only) asked no IPAM for anything.
    if network.get("ConfigOnly") or (ipam.get("Driver") or "") in _BUILT_IN_IPAM:
        return
    for each in ipam.get("Config") or ():
        # A gateway that the user did not type is shown with its prefix length, or not at all
        # (moby, daemon/network.go, buildIPAMResources).
        named = (("", each.get("Gateway")), *(each.get("AuxiliaryAddresses") or {}).items())
        if each.get("Subnet"):
            yield EngineSubnet(
                network=NetworkId(network["Id"]),
                cidr=IPNetwork(each["Subnet"]).cidr,
                ipam=ipam["Driver"],
                options=ipam.get("Options") or {},
                local=network["Scope"] == "local",
                kept={found: name for name, text in named for found in _addresses(text)},
            )


def _addresses(*texts: str | None) -> tuple[IPAddress, ...]:
    """Read what Docker names, with or without prefix length; what it leaves empty is left out."""
    return tuple(IPNetwork(text).ip for text in texts if text)


def _of_networks(details: Iterable[Mapping[str, Any]]) -> Iterable[EngineEndpoint]:
    for network in details:
        for container, each in (network.get("Containers") or {}).items():
            # An endpoint without a container has ``ep-`` and its own id for one (moby,
            # daemon/network.go, buildContainerAttachments).
            named = not container.startswith("ep-")
            yield EngineEndpoint(
                endpoint=EndpointId(each["EndpointID"]),
                network=NetworkId(network["Id"]),
                container=each.get("Name", "") if named else "",
                container_id=container if named else "",
                addresses=_addresses(each.get("IPv4Address"), each.get("IPv6Address")),
            )


def _called(container: Mapping[str, Any]) -> Iterable[tuple[EndpointId, Sequence[str]]]:
    """Give what an inspected container is called on each of its networks.

    Engine 25 began to tell all names that Docker itself answers to; before it there are aliases.
    """
    own = str(container.get("Name", "")).removeprefix("/")
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    for each in networks.values():
        others = (*(each.get("Aliases") or ()), *(each.get("DNSNames") or ()))
        yield EndpointId(each["EndpointID"]), tuple(dict.fromkeys((own, *others)))


def _of_containers(containers: Iterable[Mapping[str, Any]]) -> Iterable[EngineEndpoint]:
    for container in containers:
        if container.get("State") in _ENDED:
            continue
        names = container.get("Names") or [""]
        settings = container.get("NetworkSettings") or {}
        for each in (settings.get("Networks") or {}).values():
            if each.get("EndpointID"):  # empty for a container that does not run
                yield EngineEndpoint(
                    endpoint=EndpointId(each["EndpointID"]),
                    network=NetworkId(each["NetworkID"]),
                    container=names[0].removeprefix("/"),
                    container_id=container["Id"],
                    addresses=_addresses(each.get("IPAddress"), each.get("GlobalIPv6Address")),
                )
