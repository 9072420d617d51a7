"""The services over fakes, with a real store."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from netaddr import IPAddress, IPNetwork

from ipam.model import DEFAULT_SPACE, AddressRequest, DefaultPool, LeaseKind, PoolRequest
from ipam.service import Ipam
from ovsdriver.adapters.kernel.host.surroundings import HostSurroundings
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.admin.networks.desk import AdminServices
from ovsdriver.assembly import Product, assemble
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import NO_OPTIONS, EndpointId, NetworkId
from ovsdriver.domain.records.options.access import RuleSet
from ovsdriver.domain.records.requests import NewEndpoint, NewNetwork, OfferedSubnet
from ovsdriver.domain.wires.plumbing import Bridge, Port
from ovsdriver.service.aspects.container_ways import ContainerWays
from ovsdriver.service.aspects.publishing.published import Publisher
from ovsdriver.service.aspects.shaping import Shaper
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.attach.plugs import Plugs
from ovsdriver.service.attach.publications import Publications
from ovsdriver.service.attach.replugs import Replugs
from ovsdriver.service.change.changed_options import KeptOptions
from ovsdriver.service.change.timed import TimedChanges
from ovsdriver.service.forgotten.collector import Collector
from ovsdriver.service.forgotten.purge import Purge, Purged
from ovsdriver.service.forgotten.witnesses import Witness
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks.networks import Networks
from ovsdriver.service.networks.previewer import Previewer
from ovsdriver.service.repair.reconciler import Reconciler
from ovsdriver.service.repair.sandbox_watch import SandboxWatch
from ovsdriver.words import access_words
from ovsdriver.words import options as typed
from ovsdriver.world import World, open_store
from tests.builders import FIRST, RED, network_options
from tests.fakes.engine import FakeEngine
from tests.fakes.firewall import FakeFirewall
from tests.fakes.flows import FakeFlows
from tests.fakes.gateway_names import FakeGatewayNameServers
from tests.fakes.host_ports import FakeHostPorts
from tests.fakes.links import FakeLinks
from tests.fakes.name_servers import FakeNameServers
from tests.fakes.nics import FakeNics
from tests.fakes.northbound import FakeCentral, FakeNorthbound
from tests.fakes.receivers import FakeReceivers
from tests.fakes.shapes import FakeShapes
from tests.fakes.switch import FakeSwitch

OWNER = "ovsnet"

T = TypeVar("T")


class HostSwitch(FakeSwitch):
    """A switch whose internal ports have devices, as those of vswitchd have."""

    def __init__(self, links: FakeLinks) -> None:
        super().__init__(OWNER)
        self.links = links

    async def ensure_bridge(self, bridge: Bridge) -> None:
        await super().ensure_bridge(bridge)
        if bridge.name not in await self.links.links():
            self.links.add_tap(bridge.name, tso=False)

    async def remove_bridge(self, name: str) -> bool:
        removed = await super().remove_bridge(name)
        if removed:
            self.links.drop_link(name)
        return removed

    async def ensure_port(self, port: Port) -> None:
        known = self.port(port.name)
        await super().ensure_port(port)
        in_container = port.moves and known is not None
        if port.internal and not in_container and port.name not in await self.links.links():
            self.links.add_tap(port.name)

    async def remove_port(self, name: str) -> bool:
        port = self.port(name)
        removed = await super().remove_port(name)
        if removed and port is not None and port.internal:
            self.links.drop_tap(name)
        return removed


def _of_kind(kind: type[T], made: Product) -> T:
    """Return an aspect."""
    owners = (getattr(each, "__self__", None) for each in made.background)
    return next(each for each in owners if isinstance(each, kind))


async def _nothing() -> None:
    """Come to an end at once."""


@dataclass
class Clock:
    """Unix time, in seconds, as a test sets it."""

    now: float = 1.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Host:
    """One process's parts on one host; ``restart`` is a new process on the same host."""

    path: Path
    links: FakeLinks
    nics: FakeNics
    switch: HostSwitch
    firewall: FakeFirewall
    flows: FakeFlows
    shapes: FakeShapes
    ports: FakeHostPorts
    engine: FakeEngine
    admin: AdminServices
    state: SqliteState
    ipam: Ipam
    networks: Networks
    endpoints: Endpoints
    publications: Publications
    plugs: Plugs
    replugs: Replugs
    publisher: Publisher
    shaper: Shaper
    reconciler: Reconciler
    watch: SandboxWatch
    witness: Witness
    collector: Collector
    purge: Purge
    previewer: Previewer
    changes: TimedChanges
    kept: KeptOptions
    locks: Locks
    container_ways: ContainerWays
    world: World
    clock: Clock
    stopped: AsyncExitStack

    @classmethod
    async def start(
        cls,
        path: Path,
        earlier: "Host | None" = None,
        *,
        central: FakeCentral | None = None,
    ) -> "Host":
        """``central``: of the fleet that the host is in."""
        links = earlier.links if earlier else FakeLinks(owner=OWNER)
        nics = earlier.nics if earlier else FakeNics(links)
        switch = earlier.switch if earlier else HostSwitch(links)
        firewall = earlier.firewall if earlier else FakeFirewall()
        shapes = earlier.shapes if earlier else FakeShapes(links)
        flows = earlier.flows if earlier else FakeFlows()
        engine = earlier.engine if earlier else FakeEngine()
        # Sockets end with their process.
        ports = FakeHostPorts()
        ports.others = earlier.ports.others if earlier else ports.others
        # likewise
        names = FakeGatewayNameServers({}, links=links)
        clock = earlier.clock if earlier else Clock()
        if earlier and isinstance(earlier.world.name_servers, FakeNameServers):
            earlier.world.name_servers.end()
        world = World(
            switch=switch,
            flows=flows,
            links=links,
            shapes=shapes,
            nics=nics,
            sandboxes=links,
            host_ports=ports,
            surroundings=HostSurroundings(links, resolvers=()),
            engine=engine,
            receivers=FakeReceivers(),
            gateway_names=lambda: names,
            kernel_datapath=lambda: False,
            northbound=None if central is None else FakeNorthbound(central),
            name_servers=None if central is None else FakeNameServers(links),
            store=partial(open_store, path / "state.db"),
            firewall=lambda _: nullcontext(firewall),
            watch=_nothing,
            clock=clock,
        )
        settings = Settings(
            pools=(
                DefaultPool(base=IPNetwork("10.1.0.0/16"), size=24),
                DefaultPool(base=IPNetwork("fd00:1::/48"), size=64),
            ),
            rules=(
                RuleSet(name="agent", allow=access_words.parse("example.com tcp/443")),
                RuleSet(name="base", deny=access_words.parse("10.0.0.0/8")),
            ),
        )
        stopped = AsyncExitStack()
        made = await stopped.enter_async_context(assemble(world, settings, settle_s=0.0))
        admin = made.admin
        assert isinstance(admin.state, SqliteState)
        return cls(
            path=path,
            links=links,
            nics=nics,
            switch=switch,
            firewall=firewall,
            flows=flows,
            shapes=shapes,
            ports=ports,
            engine=engine,
            admin=admin,
            state=admin.state,
            ipam=admin.ipam,
            networks=admin.networks,
            endpoints=made.services.endpoints,
            publications=made.services.publications,
            plugs=made.plugs,
            replugs=made.replugs,
            publisher=admin.publisher,
            shaper=made.shaper,
            reconciler=admin.reconciler,
            watch=admin.watch,
            witness=made.witness,
            collector=admin.collector,
            purge=admin.purge,
            previewer=admin.previewer,
            changes=admin.changes,
            kept=admin.kept,
            locks=made.locks,
            container_ways=_of_kind(ContainerWays, made),
            world=world,
            clock=clock,
            stopped=stopped,
        )

    def another_collector(self, **parts: Any) -> Collector:
        """Return one of the same host, with parts or an interval of its own."""
        return Collector(
            witness=self.witness,
            state=self.state,
            ipam=self.ipam,
            links=self.links,
            networks=self.networks,
            endpoints=self.endpoints,
            **parts,
        )

    async def purge_unread(self, why: str) -> Purged:
        """Purge as with a store that cannot be read."""
        nothing = replace(self.world, store=partial(open_store, storefile.MEMORY))
        async with assemble(nothing, Settings()) as made:
            return await made.admin.purge.run(switch_wait_s=1.0, unread=why)

    async def stop(self) -> None:
        await self.stopped.aclose()

    async def restart(self) -> "Host":
        await self.stop()
        northbound = self.world.northbound
        central = northbound.central if isinstance(northbound, FakeNorthbound) else None
        return await Host.start(self.path, self, central=central)

    async def create_network(
        self,
        network_id: str = RED,
        *,
        family: int = 4,
        internal: bool = False,
        probe: bool = False,
        said: Mapping[str, str] = NO_OPTIONS,
        **options: Any,
    ) -> None:
        """Do what dockerd does for ``docker network create`` with our IPAM.

        The options are ``said``, as a user types them, or else given by field.
        """
        pool = await self.ipam.request_pool(
            PoolRequest(space=DEFAULT_SPACE, family=family, probe=probe)
        )
        gateway = await self.ipam.request_address(
            AddressRequest(pool=pool.id, kind=LeaseKind.GATEWAY)
        )
        await self.networks.create(
            NewNetwork(
                id=NetworkId(network_id),
                subnets=(
                    OfferedSubnet(space=DEFAULT_SPACE, cidr=pool.subnet, gateway=gateway.address),
                ),
                internal=internal,
                options=(
                    typed.network(said, internal=internal) if said else network_options(**options)
                ),
            )
        )

    async def create_endpoint(
        self,
        endpoint_id: str = FIRST,
        network_id: str = RED,
        said: Mapping[str, str] = NO_OPTIONS,
    ) -> IPAddress:
        """Do what dockerd does first for ``docker run``; returns the address."""
        network = self.state.network(NetworkId(network_id))
        assert network is not None
        pool = network.subnets[0].pool
        assert pool is not None
        lease = await self.ipam.request_address(AddressRequest(pool=pool))
        await self.endpoints.create(
            NewEndpoint(
                network=network.id,
                id=EndpointId(endpoint_id),
                addresses=(IPNetwork(f"{lease.address}/{network.subnets[0].cidr.prefixlen}"),),
                options=typed.endpoint(said),
            )
        )
        return lease.address

    async def run_container(
        self,
        endpoint_id: str = FIRST,
        network_id: str = RED,
        sandbox: str = "/netns/one",
        said: Mapping[str, str] = NO_OPTIONS,
    ) -> IPAddress:
        """Do what dockerd does for ``docker run``; returns the address."""
        address = await self.create_endpoint(endpoint_id, network_id, said)
        joined = await self.endpoints.join(NetworkId(network_id), EndpointId(endpoint_id), sandbox)
        self.links.move(joined.source, sandbox)
        return address


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    started = await Host.start(tmp_path)
    yield started
    await started.stop()


@pytest.fixture
def failing() -> Callable[[Any, str], None]:
    """Make a method of a fake fail once, as the world does."""

    def fail_once(target: Any, method: str) -> None:
        from ovsdriver.errors import UnavailableError

        working = getattr(target, method)

        async def failed(*args: Any, **kwargs: Any) -> Any:
            setattr(target, method, working)
            raise UnavailableError(f"{method} did not answer")

        setattr(target, method, failed)

    return fail_once
