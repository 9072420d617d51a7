"""Segments over several hosts, and who has their addresses, for people and for scripts. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netaddr import IPAddress

from ipam.model import Lease, PoolId
from ovsdriver.admin.views import FleetReport, LeaseUse, SegmentLease, SegmentUse
from ovsdriver.domain.records.model import Network
from ovsdriver.ports import (
    EngineView,
    NorthboundStatus,
    SharedLease,
    SharedName,
    SharedSegment,
)
from ovsdriver.service.fleet.debts import Debt, FreedLease


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """Whose the addresses of segments are, by what their hosts say."""

    endpoints: Mapping[tuple[str, IPAddress], str]
    """By segment and address."""
    names: Mapping[str, str]
    """Of containers, by endpoint."""

    @classmethod
    def of(
        cls, leases: Iterable[SharedLease], names: Iterable[SharedName], view: EngineView | None
    ) -> "Called":
        """Put together what is said; Docker, asked last, knows this host's containers best."""
        endpoints: dict[tuple[str, IPAddress], str] = {}
        called: dict[str, str] = {}
        for name in names:
            endpoints |= {(name.segment, each): name.endpoint for each in name.addresses}
            called |= {name.endpoint: name.names[0]} if name.names else {}
        for lease in leases:
            if lease.port is not None:
                port = lease.port
                endpoints |= {(lease.segment, each): port.endpoint for each in port.addresses}
        if view is not None:
            called |= {key: each.container for key, each in view.endpoints.items()}
        return cls(endpoints=endpoints, names=called)

    def container(self, lease: SharedLease) -> str:
        """Return the name of a lease's container; empty if it is not known."""
        return self.names.get(self.endpoint(lease) or "", "") or lease.name

    def endpoint(self, lease: SharedLease) -> str | None:
        """Return the id of the endpoint of a lease's container, once it has one."""
        return self.endpoints.get((lease.segment, lease.address))


def segment_use(
    segment: SharedSegment,
    held: int,
    network: Network | None,
    view: EngineView | None,
) -> SegmentUse:
    """Return how a segment stands; ``network`` is this host's on it, ``held`` is of all hosts."""
    return SegmentUse(
        name=segment.name,
        subnets=segment.subnets,
        options={
            "--gateway" if key == "gateway" else f"ovs.{key}": text
            for key, text in sorted(segment.options.items())
        },
        hosts=tuple(sorted({each.host for each in segment.pools})),
        network=None if network is None else network.id,
        network_name="" if network is None or view is None else view.networks.get(network.id, ""),
        held=held,
        capacity=sum(int(each.size) - (2 if each.version == 4 else 1) for each in segment.subnets),
    )


def network_on(segment: str, networks: Iterable[Network]) -> Network | None:
    """Return this host's network on a segment, by OVN's tunnels or on a VLAN of the wire."""
    return next((each for each in networks if each.over_hosts == segment and not each.ended), None)


def segment_lease(lease: SharedLease, called: Called) -> SegmentLease:
    """Return who has an address."""
    return SegmentLease(
        segment=lease.segment,
        address=lease.address,
        kind=lease.kind,
        host=lease.host,
        container=called.container(lease),
        endpoint=called.endpoint(lease),
        mac=lease.mac,
        created=lease.created,
        apart=lease.port is not None and lease.port.apart,
    )


def lease_use(lease: SharedLease, called: Called) -> LeaseUse:
    """Return the same as it is shown beside the leases of this host alone."""
    return LeaseUse(
        lease=Lease(
            pool=lease.pool or PoolId(""),
            address=lease.address,
            kind=lease.kind,
            wanted=lease.wanted,
            name=lease.name,
            serial=lease.serial,
            created=lease.created,
            host=lease.host,
        ),
        endpoint=called.endpoint(lease),
        container=called.container(lease),
        auxiliary=False,
    )


def fleet(
    status: NorthboundStatus,
    *,
    host: str,
    nameless: str,
    southbound: tuple[str, ...],
    waiting: Iterable[Debt],
    segments: int,
    networks: Iterable[Network],
    pools: int,
) -> FleetReport:
    """Return what ``status`` says of the fleet; the last three are counted."""
    return FleetReport(
        host=host,
        nameless=nameless,
        northbound=status.servers,
        connected=status.connected,
        server=status.server,
        since=status.since,
        why=status.why,
        southbound=southbound,
        waiting=tuple(map(_waits, waiting)),
        segments=segments,
        networks=sum(each.over_hosts is not None for each in networks),
        pools=pools,
    )


def _waits(debt: Debt) -> str:
    if isinstance(debt, FreedLease):
        return f"address {debt.address} of segment {debt.segment}"
    return f"pool {debt.pool} of segment {debt.segment}"
