"""The world as the services see it: an adapter behind each of their ports, made here for real."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ipam import PoolId
from ipam.service import Surroundings
from ipam.store import LeaseStore
from ovsdriver.adapters.engine import DockerEngine
from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.adapters.host_ports.sockets import KernelHostPorts
from ovsdriver.adapters.kernel.host.datapath import kernel_has_openvswitch
from ovsdriver.adapters.kernel.host.surroundings import HostSurroundings
from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.ovs.openflow import OvsFlows
from ovsdriver.adapters.ovs.rows import OvsSwitch
from ovsdriver.adapters.ovsdb import Certificates, Servers
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.events import SqliteEvents
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.adapters.webhooks import HttpReceivers
from ovsdriver.config import Settings
from ovsdriver.metrics import Metrics
from ovsdriver.ports import (
    Engine,
    Firewall,
    Flows,
    GatewayNameServers,
    HostNotes,
    HostPorts,
    Links,
    NameServers,
    Nics,
    Northbound,
    Receivers,
    Sandboxes,
    SandboxMemory,
    Shapes,
    Southbound,
    State,
    StoredEvents,
    Switch,
)

if TYPE_CHECKING:
    from ovsdriver.adapters.ovn import OvnNorthbound, OvnSouthbound


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """What is kept over a restart."""

    state: State
    notes: HostNotes
    memory: SandboxMemory
    leases: LeaseStore
    events: StoredEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that is not ours to decide."""

    switch: Switch
    flows: Flows
    links: Links
    shapes: Shapes
    nics: Nics
    sandboxes: Sandboxes
    host_ports: HostPorts
    surroundings: Surroundings
    engine: Engine
    receivers: Receivers
    """Of webhooks."""
    gateway_names: Callable[[], GatewayNameServers]
    """Gives those that answer for access rules, the same ones each time; not called without."""
    kernel_datapath: Callable[[], bool]
    """Whether the kernel has Open vSwitch's."""
    northbound: Northbound | None = None
    """What the hosts of a fleet have in common; None: this one is in no fleet."""
    southbound: Southbound | None = None
    """The hosts of the fleet, where there is one."""
    name_servers: NameServers | None = None
    """What this host is to its containers on segments; None likewise."""
    store: Callable[[], AbstractAsyncContextManager[Store]]
    """Opens it; the errors are sentences: see ``Database.open``."""
    firewall: Callable[[HostNotes | None], AbstractAsyncContextManager[Firewall]]
    """With where the host's settings are noted before it changes them; None: it changes none."""
    watch: Callable[[], Coroutine[None, None, None]]
    """Keeps the connection to Open vSwitch, until cancelled."""
    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""


@asynccontextmanager
async def open_world(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[World]:
    """Give this host's; nothing in it is waited for yet. ``metrics`` counts how long it takes."""
    counted = metrics or Metrics()
    # What one call of Docker's asks for has half of that call's time.
    timeout_s = settings.deadline_s / 2
    owner = settings.instance
    switch = OvsSwitch(
        settings.ovsdb, owner=owner, timeout_s=timeout_s, timed=counted.transactions.observe
    )
    async with AsyncExitStack() as stack:
        kernel = Kernel(owner=owner, timeout_s=timeout_s)
        stack.push_async_callback(kernel.close)
        host_ports = KernelHostPorts()
        stack.push_async_callback(host_ports.close)
        northbound = southbound = name_servers = None
        if settings.ovn_northbound:
            northbound, southbound = _fleet(settings, lambda: switch.status().southbound)
            # as for the databases: only who is in a fleet pays
            from ovsdriver.adapters.names import SegmentNameServers

            name_servers = SegmentNameServers(links=kernel.links, sandboxes=kernel.sandboxes)
            stack.push_async_callback(name_servers.close)

        @cache
        def gateway_names() -> GatewayNameServers:
            # likewise: only who has DNS names in rules
            from ovsdriver.adapters.names.at_gateways import KernelGatewayNameServers

            servers = KernelGatewayNameServers()
            stack.push_async_callback(servers.close)
            return servers

        yield World(
            switch=switch,
            flows=OvsFlows(_management_folder(settings.ovsdb), owner=owner, timeout_s=timeout_s),
            links=kernel.links,
            shapes=kernel.shapes,
            nics=kernel.nics,
            sandboxes=kernel.sandboxes,
            host_ports=host_ports,
            surroundings=HostSurroundings(kernel.links),
            engine=DockerEngine(settings.docker),
            receivers=HttpReceivers(),
            gateway_names=gateway_names,
            kernel_datapath=kernel_has_openvswitch,
            store=partial(
                open_store, settings.state_dir / storefile.NAME, timed=counted.commits.observe
            ),
            firewall=partial(open_firewall, settings),
            northbound=northbound,
            southbound=southbound,
            name_servers=name_servers,
            watch=switch.run if northbound is None else partial(_both, switch.run, northbound.run),
        )


def _fleet(settings: Settings, remote: Callable[[], str]) -> "tuple[OvnNorthbound, OvnSouthbound]":
    """Return the fleet's databases; ConfigurationError if there is no reaching them as configured.

    ``remote`` says where the southbound one is.
    """
    # Only who is in a fleet pays for reading it.
    from ovsdriver.adapters.ovn import OvnNorthbound, OvnSouthbound

    files = (settings.ovn_private_key, settings.ovn_certificate, settings.ovn_ca)
    key, certificate, authority = files
    certificates = (
        Certificates(private_key=key, certificate=certificate, ca=authority)
        if key and certificate and authority
        else None
    )
    servers = Servers.parse(settings.ovn_northbound, clustered=True, certificates=certificates)
    return OvnNorthbound(servers), OvnSouthbound(remote, certificates=certificates)


async def _both(*watches: Callable[[], Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for watch in watches:
            tasks.create_task(watch())


@asynccontextmanager
async def open_store(
    path: Path, *, timed: Callable[[float], object] = lambda _: None
) -> AsyncIterator[Store]:
    """Open the store's file; ``timed`` and errors as of ``Database.open``."""
    database = await Database.open(path, timed=timed)
    try:
        events = await SqliteEvents.load(database)
        state = await SqliteState.load(database, events)

        def network_of(pool: PoolId) -> str:
            network = state.network_of_pool(pool)
            return "" if network is None else network.id

        leases = SqliteLeases(database, events, network_of=network_of)
        yield Store(state=state, notes=state, memory=state, leases=leases, events=events)
    finally:
        await database.close()


@asynccontextmanager
async def open_firewall(settings: Settings, notes: HostNotes | None) -> AsyncIterator[Firewall]:
    """Give the host's firewall; without notes for who looks at it, or removes it, only."""
    firewall = HostFirewall(instance=settings.instance, notes=notes or _Unnoted())
    try:
        yield firewall
    finally:
        await firewall.close()


class _Unnoted:
    """For who only looks: nothing was changed, so nothing is to be put back."""

    def notes(self) -> Mapping[str, str]:
        return {}

    async def put_note(self, key: str, value: str) -> None:
        raise NotImplementedError(f"{key}={value}: this firewall is for looking only")

    async def forget_note(self, key: str) -> bool:
        raise NotImplementedError(f"{key}: this firewall is for looking only")


def _management_folder(ovsdb: str) -> Path:
    """Return where vswitchd makes its bridges' management sockets: beside the database's."""
    kind, _, place = ovsdb.partition(":")
    return Path(place).parent if kind == "unix" else Path("/var/run/openvswitch")
