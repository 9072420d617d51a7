"""What to write, given what the copy shows: pure, and asked again after every refusal."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.adapters.ovn import apart_rows, router_rows, rows
from ovsdriver.adapters.ovn.apart_rows import Apart
from ovsdriver.adapters.ovsdb import Operation, Plan, Replica, Row
from ovsdriver.adapters.ovsdb.tables.writing import delete, mutate, to_map, where
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.segments import lease_port
from ovsdriver.errors import UnavailableError
from ovsdriver.ports.northbound import (
    SegmentPool,
    SharedGateway,
    SharedLease,
    SharedName,
    SharedPort,
)

Ports = Callable[[str], Iterable[Row]]
"""Gives the rows of a segment's addresses, as of now."""


def nothing(_: Replica) -> Sequence[Operation]:
    """Nothing is changed, and the server answers all the same."""
    return [{"op": "select", "table": "Logical_Switch", "where": [False], "columns": ["name"]}]


def hold(segment: str, subnet: IPNetwork, pool: SegmentPool) -> Plan:
    """A pool is added to a segment, which is made if need be."""
    pairs = rows.pool_pairs(subnet, pool)

    def plan(replica: Replica) -> Sequence[Operation]:
        row = _switch(replica, segment)
        if row is None:
            return rows.new_segment(segment, subnet, pool)
        if pairs.keys() <= row["external_ids"].keys():
            return []
        # of a key that is there, "insert" leaves the value as it is: who comes first says it
        return [_noting(row, pairs)]

    return plan


def describe(segment: str, pair: dict[str, str]) -> Plan:
    """The options of its first network are noted, unless there are some."""

    def plan(replica: Replica) -> Sequence[Operation]:
        row = _needed(replica, segment)
        return [] if pair.keys() <= row["external_ids"].keys() else [_noting(row, pair)]

    return plan


def let_go(segment: str, pool: PoolId, ports: Ports) -> Plan:
    """A pool is taken back with its leases, and the segment if it is the last one."""

    def plan(replica: Replica) -> Sequence[Operation]:
        row = _switch(replica, segment)
        if row is None or rows.pool_key(pool) not in row["external_ids"]:
            return []
        leases = [port for port in ports(segment) if rows.pool_of(port) == pool]
        return _without(replica, segment, row, {rows.pool_key(pool)}, leases)

    return plan


def sweep(segment: str, ports: Ports) -> Plan:
    """What nobody has goes: leases whose pool is gone, names of hosts without one, a bare segment.

    Of two hosts that let go at once each sees the other's pool, and leaves the segment to it. And
    a lease that was taken just before its pool went was not yet in the copy of who took that away.
    """

    def plan(replica: Replica) -> Sequence[Operation]:
        row = _switch(replica, segment)
        if row is None:
            return []
        if end := _end(replica, segment, row, set()):
            return end
        pools = rows.pools_of(row)
        known, hosts = {"", *(each.id for each in pools)}, {each.host for each in pools}
        leases = [port for port in ports(segment) if rows.pool_of(port) not in known]
        names = [name for name in _names(replica, segment) if rows.host_of(name) not in hosts]
        return _without(replica, segment, row, set(), leases, names)

    return plan


def take(lease: SharedLease) -> Plan:
    """An address is taken, unless it is held."""

    def plan(replica: Replica) -> Sequence[Operation]:
        if replica.named(rows.PORT, lease_port(lease.segment, lease.address)) is not None:
            return []
        row = _needed(replica, lease.segment)
        if lease.pool and row["external_ids"].get(rows.pool_key(lease.pool)) != lease.host:
            raise UnavailableError(
                f"segment {lease.segment}: this host has no pool of it any more, as after "
                "`ovsnet host forget`; try again in a minute"
            )
        # somebody may have removed the row of who had that MAC before
        stale = Apart.of(replica, lease.segment).without([lease.mac])
        return [*rows.new_lease(lease), *stale]

    return plan


def release(segment: str, address: IPAddress, serial: int) -> Plan:
    """An address is free again, if it is still that request's."""

    def plan(replica: Replica) -> Sequence[Operation]:
        port = replica.named(rows.PORT, lease_port(segment, address))
        row = _switch(replica, segment)
        if port is None or row is None or rows.serial_of(port) != serial:
            return []
        ended = mutate(row, rows.SWITCH, delete("ports", [port]), *rows.rates_of([port]))
        return [ended, *Apart.of(replica, segment).without([rows.mac_of(port)])]

    return plan


def set_port(port: SharedPort) -> Plan:
    """The row of a container's first address is made its port."""
    address = port.addresses[0]

    def plan(replica: Replica) -> Sequence[Operation]:
        row = replica.named(rows.PORT, lease_port(port.segment, address))
        if row is None or rows.host_of(row) != port.host:
            raise UnavailableError(
                f"address {address} of segment {port.segment} is not this host's any more; "
                "start the container again"
            )
        rate = replica.row(rows.RATE, rows.rate_uuid(port.endpoint))
        there = Apart.of(replica, port.segment)
        return [*rows.changed_port(row, port, rate), *there.put(row, port.mac, apart=port.apart)]

    return plan


def put_gateway(gateway: SharedGateway) -> Plan:
    """A segment is put on a router."""

    def plan(replica: Replica) -> Sequence[Operation]:
        _needed(replica, gateway.segment)
        changes = router_rows.put_gateway(
            gateway,
            router=replica.row(router_rows.ROUTER, router_rows.router_uuid(gateway.router)),
            place=replica.row(router_rows.PLACE, router_rows.place_uuid(gateway.segment)),
            port=replica.named(rows.PORT, router_rows.switch_port(gateway.segment)),
        )
        return [rows.there_is(gateway.segment), *changes] if changes else []

    return plan


def put_name(name: SharedName) -> Plan:
    """An endpoint is called so."""

    def plan(replica: Replica) -> Sequence[Operation]:
        _needed(replica, name.segment)
        return rows.put_name(name, replica.row(rows.NAME, rows.name_uuid(name.endpoint)))

    return plan


def forget_name(endpoint: EndpointId) -> Plan:
    """An endpoint is called nothing any more."""

    def plan(replica: Replica) -> Sequence[Operation]:
        row = replica.row(rows.NAME, rows.name_uuid(endpoint))
        return [] if row is None else [_deletion(rows.NAME, row)]

    return plan


def forget_host(segment: str, host: str, ports: Ports) -> Plan:
    """Pools, leases and names of a host on one segment are taken back."""

    def plan(replica: Replica) -> Sequence[Operation]:
        row = _switch(replica, segment)
        if row is None:
            return []
        shared = rows.read_segment(row)
        pools = (
            {rows.pool_key(each.id) for each in shared.pools if each.host == host}
            if shared
            else set()
        )
        leases = [port for port in ports(segment) if rows.host_of(port) == host]
        names = [name for name in _names(replica, segment) if rows.host_of(name) == host]
        if not (pools or leases or names):
            return []
        return _without(replica, segment, row, pools, leases, names)

    return plan


def call() -> Plan:
    """The number is raised that northd and the hosts' controllers pass on (ovn-nb(5), nb_cfg)."""
    raised = {"op": "mutate", "table": "NB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]}
    return lambda _: [raised]


def _without(
    replica: Replica,
    segment: str,
    row: Row,
    pools: set[str],
    leases: Sequence[Row],
    names: Sequence[Row] = (),
) -> Sequence[Operation]:
    """Return what takes pools, by their keys, leases and names from a segment."""
    if pools and (end := _end(replica, segment, row, pools)):
        return end
    mutations: list[Sequence[Any]] = []
    if pools:
        mutations.append(["external_ids", "delete", ["set", sorted(pools)]])
    if leases:
        mutations += [delete("ports", leases), *rows.rates_of(leases)]
    changes = [mutate(row, rows.SWITCH, *mutations)] if mutations else []
    changes += Apart.of(replica, segment).without(map(rows.mac_of, leases))
    return [*changes, *(_deletion(rows.NAME, each) for each in names)]


def _end(replica: Replica, segment: str, row: Row, pools: set[str]) -> list[Operation]:
    """Return what deletes a segment; nothing if it has other pools than ``pools``."""
    if {rows.pool_key(each.id) for each in rows.pools_of(row)} - pools:
        return []
    # exactly so: a pool that comes meanwhile keeps it
    unchanged = {
        "op": "wait",
        "table": rows.SWITCH,
        "where": where(row),
        "columns": ["external_ids"],
        "until": "==",
        "rows": [{"external_ids": to_map(row["external_ids"])}],
        "timeout": 0,
    }
    names = [_deletion(rows.NAME, each) for each in _names(replica, segment)]
    router = replica.holder(router_rows.ROUTER, "ports", router_rows.place_uuid(segment))
    left = router_rows.leave_router(router, segment) if router is not None else []
    return [unchanged, *names, *left, *apart_rows.deletions(segment), _deletion(rows.SWITCH, row)]


def _noting(row: Row, pairs: dict[str, str]) -> Operation:
    return mutate(row, rows.SWITCH, ["external_ids", "insert", to_map(pairs)])


def _deletion(table: str, row: Row) -> Operation:
    return {"op": "delete", "table": table, "where": where(row)}


def _switch(replica: Replica, segment: str) -> Row | None:
    return replica.row(rows.SWITCH, rows.switch_uuid(segment))


def _needed(replica: Replica, segment: str) -> Row:
    row = _switch(replica, segment)
    if row is None:
        raise UnavailableError(
            f"segment {segment} is gone: no host has a network on it; create the network again"
        )
    return row


def _names(replica: Replica, segment: str) -> Iterable[Row]:
    return (row for row in replica.rows(rows.NAME) if rows.segment_of_name(row) == segment)
