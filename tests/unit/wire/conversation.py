"""Recordings of tests/wire, the plain client that dockerd is, and services that remember."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netaddr import EUI, IPAddress, IPNetwork

from ipam import (
    AddressRequest,
    ExhaustedError,
    Lease,
    LeaseKind,
    Pool,
    PoolId,
    PoolRequest,
    UnknownPoolError,
)
from ovsdriver.docker import methods
from ovsdriver.domain.records.model import EndpointId, NetworkId, PortMapping
from ovsdriver.domain.records.requests import Joined, NetworkOptions, NewEndpoint, NewNetwork
from ovsdriver.errors import UnknownObjectError
from ovsdriver.http.server import Call, PluginServer
from ovsdriver.metrics import Metrics

WIRE = Path(__file__).parents[2] / "wire"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call of a recording, with the answer that it got."""

    number: int
    socket: str
    call: str
    body: object
    """None: the body was empty."""
    answer: object

    @property
    def raw(self) -> bytes:
        """The body as dockerd sends it: Go ends every JSON document with a newline."""
        return b"" if self.body is None else json.dumps(self.body).encode() + b"\n"


def recordings() -> Sequence[Path]:
    """Return every recording there is."""
    return sorted(WIRE.glob("*.jsonl"))


def calls(recording: Path) -> Sequence[Recorded]:
    """Return the calls of a recording in the order in which they came."""
    made: list[Recorded] = []
    unanswered: dict[int, int] = {}
    for line in map(json.loads, recording.read_text().splitlines()):
        if line["ev"] == "req":
            unanswered[line["n"]] = len(made)
            made.append(Recorded(line["n"], line["sock"], line["call"], line["body"], None))
        elif line["ev"] == "resp":  # numbers begin anew when the plugin is restarted
            index = unanswered.pop(line["n"])
            made[index] = replace(made[index], answer=line.get("body"))
    return made


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.raw)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> str:
        text = self.json["Err"]
        assert isinstance(text, str)
        assert text == self.json["Error"]
        return text


class Connection:
    """One kept-alive connection, written by hand: no Content-Type, as dockerd."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def post(self, call: str, body: object = None) -> Answer:
        """Send a call; bytes are sent as they are, everything else as JSON, None as nothing."""
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        return await self.send(
            f"POST /{call} HTTP/1.1\r\nHost: plugin.moby.localhost\r\n"
            "User-Agent: Go-http-client/1.1\r\n"
            f"Content-Length: {len(raw)}\r\n"
            "Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n".encode()
            + raw
        )

    async def send(self, request: bytes) -> Answer:
        self.writer.write(request)
        async with asyncio.timeout(60):
            await self.writer.drain()
            return await self.receive()

    async def receive(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        raw = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split()[1]), headers, raw)

    async def ended(self) -> bool:
        """Whether the other side closes the connection."""
        async with asyncio.timeout(60):
            return await self.reader.read(1) == b""

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def connect(path: Path) -> Connection:
    return Connection(*await asyncio.open_unix_connection(path))


@dataclass
class RememberingNetworks:
    """Networks that exist because someone said so."""

    created: dict[NetworkId, NewNetwork] = field(default_factory=dict)
    checked: list[tuple[NetworkOptions, bool]] = field(default_factory=list)

    async def create(self, new: NewNetwork, /) -> None:
        self.created[new.id] = new

    async def delete(self, network_id: NetworkId, /) -> bool:
        return self.created.pop(network_id, None) is not None

    def gateway_skips(self, options: NetworkOptions, internal: bool, /) -> bool:
        self.checked.append((options, internal))
        return internal


@dataclass
class RememberingEndpoints:
    """Endpoints on networks that exist, none of which is plugged into anything."""

    networks: RememberingNetworks
    created: dict[EndpointId, NewEndpoint] = field(default_factory=dict)
    joined: dict[EndpointId, str] = field(default_factory=dict)
    asked: dict[EndpointId, Sequence[PortMapping]] = field(default_factory=dict)
    """The ``-p`` that Join brought."""
    published: dict[EndpointId, Sequence[PortMapping]] = field(default_factory=dict)
    released: list[tuple[PoolId, IPAddress]] = field(default_factory=list)

    async def create(self, new: NewEndpoint, /) -> EUI | None:
        if new.network not in self.networks.created:
            raise UnknownObjectError(f"network {new.network[:12]} is not known")
        self.created[new.id] = new
        return EUI("0a:0f:0a:00:00:05") if new.mac is None else None

    async def join(
        self,
        network: NetworkId,
        endpoint: EndpointId,
        sandbox: str,
        ports: Sequence[PortMapping],
        /,
    ) -> Joined:
        new = self._endpoint(endpoint)
        self.joined[endpoint] = sandbox
        self.asked[endpoint] = ports
        return Joined(
            source=f"ovc{endpoint[:12]}",
            prefix="eth",
            gateway4=next((each.ip for each in new.addresses if each.version == 4), None),
            gateway6=next((each.ip for each in new.addresses if each.version == 6), None),
        )

    async def leave(self, network: NetworkId, endpoint: EndpointId, /) -> None:
        self.joined.pop(endpoint, None)

    async def delete(self, network: NetworkId, endpoint: EndpointId, /) -> None:
        self.created.pop(endpoint, None)

    async def publish(
        self,
        network: NetworkId,
        endpoint: EndpointId,
        ports: Sequence[PortMapping],
        /,
        *,
        other_gateway6: bool = False,
    ) -> None:
        self._endpoint(endpoint)
        self.published[endpoint] = ports

    async def revoke(self, network: NetworkId, endpoint: EndpointId, /) -> None:
        self.published.pop(endpoint, None)

    async def release(self, pool: PoolId, address: IPAddress, /) -> None:
        self.released.append((pool, address))

    def _endpoint(self, endpoint: EndpointId) -> NewEndpoint:
        if endpoint not in self.created:
            raise UnknownObjectError(f"endpoint {endpoint[:12]} is not known")
        return self.created[endpoint]


@dataclass
class RememberingIpam:
    """An IPAM that counts up and lets anything overlap."""

    pools: dict[PoolId, Pool] = field(default_factory=dict)
    leases: dict[tuple[PoolId, IPAddress], Lease] = field(default_factory=dict)
    requests: list[PoolRequest] = field(default_factory=list)
    numbers: int = 0

    async def request_pool(self, request: PoolRequest, /) -> Pool:
        self.requests.append(request)
        self.numbers += 1
        automatic = f"10.{self.numbers % 256}.0.0/24" if request.family == 4 else "fd00::/64"
        pool = Pool(
            id=PoolId(f"pool-{self.numbers}"),
            space=request.space,
            subnet=request.subnet or IPNetwork(automatic),
            window=request.window,
        )
        self.pools[pool.id] = pool
        return pool

    async def release_pool(self, pool_id: PoolId, /) -> bool:
        return self.pools.pop(pool_id, None) is not None

    async def request_address(self, request: AddressRequest, /) -> Lease:
        pool = self.pools.get(request.pool)
        if pool is None:
            raise UnknownPoolError(f"pool {request.pool} is not known")
        address = request.address or self._free(pool)
        lease = Lease(pool=pool.id, address=address, kind=request.kind, name=request.name)
        self.leases[pool.id, address] = lease
        return lease

    def _free(self, pool: Pool) -> IPAddress:
        for address in pool.subnet.iter_hosts():
            if (pool.id, address) not in self.leases:
                return address
        raise ExhaustedError(f"{pool.subnet} is full")

    async def release_address(self, pool_id: PoolId, address: IPAddress, /) -> bool:
        return self.leases.pop((pool_id, address), None) is not None

    def pool(self, pool_id: PoolId, /) -> Pool | None:
        return self.pools.get(pool_id)

    def gateways(self) -> Sequence[Lease]:
        return [lease for lease in self.leases.values() if lease.kind is LeaseKind.GATEWAY]


@dataclass
class Plugin:
    """The real server with the real tables on real sockets, above services that remember."""

    folder: Path
    server: PluginServer
    backend: methods.Backend
    metrics: Metrics
    networks: RememberingNetworks = field(default_factory=RememberingNetworks)
    ipam: RememberingIpam = field(default_factory=RememberingIpam)

    def __post_init__(self) -> None:
        self.endpoints = RememberingEndpoints(self.networks)

    def services(self) -> methods.Services:
        return methods.Services(
            networks=self.networks,
            endpoints=self.endpoints,
            publications=self.endpoints,
            ipam=self.ipam,
        )

    async def listen(self, name: str, calls: Mapping[str, Call]) -> Path:
        path = self.folder / f"{name}.sock"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        await self.server.listen(sock, calls)
        return path

    @asynccontextmanager
    async def connection(self, name: str = "ovsnet") -> AsyncIterator[Connection]:
        made = await connect(self.folder / f"{name}.sock")
        try:
            yield made
        finally:
            await made.close()

    async def post(self, call: str, body: object = None, *, name: str = "ovsnet") -> Answer:
        async with self.connection(name) as connection:
            return await connection.post(call, body)


@asynccontextmanager
async def plugin(
    folder: Path, *, ready: bool = True, wait_s: float = 30.0, **limits: Any
) -> AsyncIterator[Plugin]:
    """Serve ``ovsnet.sock``, ``ovsipam.sock`` and ``ovsipam-blue.sock`` in ``folder``."""
    metrics = Metrics()
    server = PluginServer(metrics=metrics, **limits)
    backend = methods.Backend(wait_s=wait_s)
    made = Plugin(folder, server, backend, metrics)
    if ready:
        backend.ready(made.services())
    await made.listen("ovsnet", methods.both_kinds(backend))
    await made.listen("ovsipam", methods.ipam_only(backend))
    await made.listen("ovsipam-blue", methods.ipam_only(backend, methods.named_spaces("blue")))
    await made.listen("ovsipam-red", methods.ipam_only(backend, methods.segment_spaces("red")))
    try:
        yield made
    finally:
        await server.drain(30)


def with_pool(call: Recorded, pools: Mapping[str, str]) -> Recorded:
    """Return ``call`` with our id in the place of the recorded plugin's."""
    if not isinstance(call.body, dict) or call.body.get("PoolID") not in pools:
        return call
    return replace(call, body={**call.body, "PoolID": pools[call.body["PoolID"]]})
