"""What the hosts share, as the copy of the database has it, by segment."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from netaddr import IPAddress

from ipam import PoolId
from ipam.choice.bitmap import Bitmap
from ovsdriver.adapters.ovn import apart_rows, router_rows, rows
from ovsdriver.adapters.ovn.apart_rows import Apart
from ovsdriver.adapters.ovsdb import Replica, Row, RowChange
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.ports.northbound import (
    SharedGateway,
    SharedLease,
    SharedName,
    SharedSegment,
)

WATCHED: Mapping[str, Sequence[str]] = {
    **rows.WATCHED,
    **router_rows.WATCHED,
    **apart_rows.WATCHED,
}

_READ_THERE = {rows.RATE, *apart_rows.WATCHED}
"""Tables that are read in the copy itself."""

Leases = dict[str, Row]
"""Ports by the address in their name."""


class View:
    """Segments, leases and names; a lease is read only when somebody asks for it.

    A change costs the same however much there is.
    """

    def __init__(self, replica: Replica | None = None) -> None:
        """Take what the copy has, none if there is no copy; costs O(rows)."""
        self.replica = replica
        self.segments: dict[str, SharedSegment] = {}
        self._names: dict[str, Row] = {}
        self._called: dict[tuple[str, str], list[Row]] = {}
        """Rows of names by segment and name; more than one only where hosts were equally fast."""
        self._leases: dict[str, Leases] = {}
        self._of_pools: dict[str, Leases] = {}
        self._held: dict[tuple[str, int], Bitmap] = {}
        """Numbers of the addresses that are held, by segment and family."""
        self._places: dict[str, SharedGateway] = {}
        """Of segments on routers: the router's end, and below the segment's, by its row's uuid."""
        self._led: dict[str, str] = {}
        if replica is not None:
            for table in WATCHED.keys() - _READ_THERE:
                for row in replica.rows(table):
                    self._put(table, row)

    def leases(self, segment: str) -> "LeaseMapping":
        """Return a segment's leases."""
        return self._mapping(self._leases.get(segment, {}), segment)

    def leases_of(self, pool: PoolId) -> "LeaseMapping":
        """Return a pool's leases."""
        return self._mapping(self._of_pools.get(pool, {}), segment_of(pool) or "")

    def _mapping(self, ports: Leases, segment: str) -> "LeaseMapping":
        return LeaseMapping(ports, Apart.of(self.replica, segment), self.replica)

    def held(self, segment: str, family: int) -> Bitmap:
        """Return the numbers of a segment's addresses that are held."""
        return self._held.get((segment, family)) or Bitmap()

    def ports(self, segment: str) -> Iterable[Row]:
        """Return the rows of a segment's addresses."""
        return self._leases.get(segment, {}).values()

    def of_host(self, host: str) -> tuple[set[str], Sequence[SharedLease]]:
        """Return the segments on which a host has anything, and its leases."""
        segments = {
            each.name
            for each in self.segments.values()
            if any(pool.host == host for pool in each.pools)
        }
        segments |= {
            rows.segment_of_name(row) for row in self._names.values() if rows.host_of(row) == host
        }
        leases = [
            rows.read_lease(row)
            for ports in self._leases.values()
            for row in ports.values()
            if rows.host_of(row) == host
        ]
        return segments | {lease.segment for lease in leases}, leases

    def gateway(self, segment: str) -> SharedGateway | None:
        """Return a segment's place on a router that has both its ends."""
        return self._places.get(segment) if segment in self._led else None

    def names(self, host: str | None = None) -> Sequence[SharedName]:
        """Return every name of ours, or those of one host."""
        return [
            name
            for row in self._names.values()
            if (host is None or rows.host_of(row) == host) and (name := rows.read_name(row))
        ]

    def name(self, endpoint: EndpointId) -> SharedName | None:
        """Return what an endpoint is called."""
        row = self._names.get(rows.name_uuid(endpoint))
        return None if row is None else rows.read_name(row)

    def called(self, segment: str, name: str) -> Sequence[SharedName]:
        """Return who is called so on a segment."""
        found = self._called.get((segment, name), ())
        return [shared for row in found if (shared := rows.read_name(row))]

    def take(self, changes: Sequence[RowChange]) -> Collection[str]:
        """Take changes of rows; return the names of segments that are different."""
        different: set[str] = set()
        for change in changes:
            if change.table == rows.RATE:
                continue
            if change.table in _READ_THERE:
                both = [each for each in (change.old, change.new) if each is not None]
                different.update(map(apart_rows.segment_of, both))
                continue
            if change.old is not None:
                different.add(self._drop(change.table, change.old))
            if change.new is not None:
                different.add(self._put(change.table, change.new))
        different.discard("")
        return different

    def _put(self, table: str, row: Row) -> str:
        """Note a row; return its segment, or nothing for what is none of ours."""
        if table == rows.SWITCH:
            shared = rows.read_segment(row)
            if shared is None:
                return ""
            self.segments[shared.name] = shared
            return shared.name
        if table == rows.NAME:
            self._names[row["_uuid"]] = row
            for place in rows.places_of_name(row):
                self._called.setdefault(place, []).append(row)
            return rows.segment_of_name(row)
        if table in router_rows.WATCHED:
            gateway = router_rows.read_gateway(row) if table == router_rows.PLACE else None
            if gateway is not None:
                self._places[gateway.segment] = gateway
            return gateway.segment if gateway is not None else ""
        segment, address = rows.place_of(row)
        if address == router_rows.PORT_NAME:
            self._led[segment] = row["_uuid"]
        if number := rows.number_of(address):
            self._leases.setdefault(segment, {})[address] = row
            self._held.setdefault((segment, number[0]), Bitmap()).add(number[1])
            if pool := rows.pool_of(row):
                self._of_pools.setdefault(pool, {})[address] = row
        return segment

    def _drop(self, table: str, row: Row) -> str:
        if table == rows.SWITCH:
            shared = rows.read_segment(row)
            return self.segments.pop(shared.name).name if shared else ""
        if table == rows.NAME:
            del self._names[row["_uuid"]]
            for place in rows.places_of_name(row):
                there = [each for each in self._called[place] if each["_uuid"] != row["_uuid"]]
                if there:
                    self._called[place] = there
                else:
                    del self._called[place]
            return rows.segment_of_name(row)
        if table in router_rows.WATCHED:
            gateway = router_rows.read_gateway(row) if table == router_rows.PLACE else None
            return self._places.pop(gateway.segment).segment if gateway is not None else ""
        segment, address = rows.place_of(row)
        if self._led.get(segment) == row["_uuid"]:
            del self._led[segment]
        number = rows.number_of(address)
        # one of the same name may have come before it went
        if number and _take_out(self._leases, segment, address, row):
            held = self._held[segment, number[0]]
            held.discard(number[1])
            if not held:
                del self._held[segment, number[0]]
        _take_out(self._of_pools, rows.pool_of(row), address, row)
        return segment


def _take_out(leases: dict[str, Leases], of: str, address: str, row: Row) -> bool:
    """Take a row out of those of a segment or a pool; False if another one is there."""
    there = leases.get(of, {})
    if address not in there or there[address]["_uuid"] != row["_uuid"]:
        return False
    del there[address]
    if not there:
        del leases[of]
    return True


class LeaseMapping(Mapping[IPAddress, SharedLease]):
    """Leases by address."""

    def __init__(self, ports: Leases, apart: Apart, replica: Replica | None) -> None:
        """``apart``: what tells of ports that they are kept apart; the copy: of their rates."""
        self._ports = ports
        self._apart = apart
        self._replica = replica

    def __getitem__(self, address: IPAddress) -> SharedLease:
        row = self._ports[str(address)]
        limited = rows.is_limited(row, self._replica)
        return rows.read_lease(row, apart=self._apart.has(row), limited=limited)

    def __contains__(self, address: object) -> bool:
        return str(address) in self._ports

    def __iter__(self) -> Iterator[IPAddress]:
        return map(IPAddress, self._ports)

    def __len__(self) -> int:
        return len(self._ports)
