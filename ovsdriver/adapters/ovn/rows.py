"""Rows of OVN's northbound database: what is watched, and how what the hosts share is written.

A row of ours has keys in ``external_ids`` that begin with ``ovsnet:``. Uuids follow from names
where the database has no unique index: two hosts that make the same thing make it once, and a
server that hung, and then passes on what it was sent, makes nothing twice.
"""

import json
import socket
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

from netaddr import EUI, AddrFormatError, IPAddress, IPNetwork

from ipam import LeaseKind, PoolId
from ovsdriver.adapters.ovsdb import Operation, Replica, Row, RowChange
from ovsdriver.adapters.ovsdb.tables.writing import to_map
from ovsdriver.domain.records.model import NO_OPTIONS, EndpointId
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.options.shaping import Metered
from ovsdriver.domain.records.segments import (
    NAME_SERVER,
    NAME_SERVER_MAC,
    lease_port,
    server_port,
)
from ovsdriver.ports.northbound import (
    SegmentPool,
    SharedLease,
    SharedName,
    SharedPort,
    SharedSegment,
)

SWITCH, PORT, NAME, RATE = "Logical_Switch", "Logical_Switch_Port", "DNS", "QoS"

WATCHED: Mapping[str, Sequence[str]] = {
    SWITCH: ("name", "external_ids"),
    PORT: ("name", "addresses", "external_ids"),
    NAME: ("external_ids",),
    RATE: ("priority",),
}
"""Each column costs memory on every host for every container of the fleet. A port's name says
which switch it is on, so that nobody needs the switches' ``ports``. Of a rate it counts that its
row is there: it outlasts the row of its port, if somebody removes that."""

SPACE = UUID("9ded9d86-8485-43ad-8d52-3f7b6d3b5b30")
"""Of uuids that follow from names."""

SEGMENT = "ovsnet:segment"
"""Key of whose a row is."""
_OPTIONS = "ovsnet:options"
_POOL_PREFIX = "ovsnet:pool:"
_HOST = "ovsnet:host"
_SERIAL = "ovsnet:rid"
_KIND = "ovsnet:kind"
_POOL = "ovsnet:pool"
_WANTED = "ovsnet:wanted"
_CALLED = "ovsnet:name"
_CREATED = "ovsnet:since"
_ENDPOINT = "ovsnet:endpoint"
_UNGUARDED = "ovsnet:unguarded"
_SENT = "ovsnet:rate"
"""What its container may send: kbit/s, a slash, kbit at once. A row of QoS does it."""
_NAMES = "ovsnet:names"
_ADDRESSES = "ovsnet:addresses"

_SERVER_ADDRESS = f"{mac_text(NAME_SERVER_MAC)} {NAME_SERVER}"


@lru_cache(1024)
def switch_uuid(segment: str) -> str:
    """Return the uuid of a segment's row."""
    return str(uuid5(SPACE, f"segment/{segment}"))


def name_uuid(endpoint: EndpointId) -> str:
    """Return the uuid of the row of an endpoint's name."""
    return str(uuid5(SPACE, f"name/{endpoint}"))


def at(uuid: str) -> Sequence[Any]:
    """Return the condition that picks a row by its uuid."""
    return [["_uuid", "==", ["uuid", uuid]]]


def read_segment(row: Row) -> SharedSegment | None:
    """Return the segment that a switch is; None: it is none of ours."""
    ids: Mapping[str, str] = row["external_ids"]
    name = ids.get(SEGMENT, "")
    if row["_uuid"] != switch_uuid(name):
        return None
    try:
        subnets = tuple(IPNetwork(ids[key]) for key in map(_subnet_key, (4, 6)) if key in ids)
        options = json.loads(ids[_OPTIONS]) if _OPTIONS in ids else NO_OPTIONS
    except (ValueError, AddrFormatError):
        return None
    return SharedSegment(
        name=name,
        subnets=subnets,
        options=options,
        described=_OPTIONS in ids,
        pools=tuple(pools_of(row)),
    )


def pools_of(segment: Row) -> Sequence[SegmentPool]:
    """Return a segment's pools, in order."""
    return [
        SegmentPool(id=PoolId(key.removeprefix(_POOL_PREFIX)), host=host)
        for key, host in sorted(segment["external_ids"].items())
        if key.startswith(_POOL_PREFIX)
    ]


def new_segment(name: str, subnet: IPNetwork, pool: SegmentPool) -> list[Operation]:
    """Return the insertions of a segment, with its name server's port."""
    server = str(uuid5(SPACE, f"server/{name}"))
    return [
        {
            "op": "insert",
            "table": SWITCH,
            "uuid": switch_uuid(name),
            "row": {
                "name": name,
                "external_ids": to_map({SEGMENT: name, **pool_pairs(subnet, pool)}),
                "ports": ["uuid", server],
            },
        },
        {
            "op": "insert",
            "table": PORT,
            "uuid": server,
            "row": {
                "name": server_port(name),
                "type": "localport",
                "addresses": _SERVER_ADDRESS,
            },
        },
    ]


def pool_pairs(subnet: IPNetwork, pool: SegmentPool) -> dict[str, str]:
    """Return what a segment says of a pool; of what it says already, nothing is changed."""
    return {_subnet_key(subnet.version): str(subnet.cidr), pool_key(pool.id): pool.host}


def pool_key(pool: PoolId) -> str:
    """Return the key by which a segment has a pool."""
    return f"{_POOL_PREFIX}{pool}"


def options_pair(options: Mapping[str, str]) -> dict[str, str]:
    """Return what a segment says of its first network; one pair, for all come from one host."""
    return {_OPTIONS: json.dumps(dict(sorted(options.items())), separators=(",", ":"))}


def _subnet_key(version: int) -> str:
    return f"ovsnet:subnet{version}"


def place_of(port: Row) -> tuple[str, str]:
    """Return a port's segment and address by its name, or what else stands there."""
    segment, _, address = port["name"].partition("/")
    return segment, address


def serial_of(port: Row) -> int | None:
    """Return which request a lease is of; None: it is none of ours."""
    serial = port["external_ids"].get(_SERIAL, "")
    return int(serial) if serial.isdecimal() else None


def host_of(row: Row) -> str:
    """Return whose lease or name a row is; empty: every host's, or none of ours."""
    return str(row["external_ids"].get(_HOST, ""))


def pool_of(port: Row) -> str:
    """Return the pool that a lease was asked for by; empty: it is every host's, or none of ours."""
    return str(port["external_ids"].get(_POOL, ""))


def number_of(text: str) -> tuple[int, int] | None:
    """Return an address' family and number; None unless it is written as one only can be."""
    version, family = (6, socket.AF_INET6) if ":" in text else (4, socket.AF_INET)
    try:
        packed = socket.inet_pton(family, text)
    except OSError:
        return None
    same = socket.inet_ntop(family, packed) == text
    return (version, int.from_bytes(packed)) if same else None


def read_lease(row: Row, *, apart: bool = False, limited: bool = True) -> SharedLease:
    """Return the lease that a port is whose name says an address.

    One that somebody else made under such a name keeps the address from everybody. ``apart``:
    other rows say that it is kept apart. ``limited``: the row of its rate is there, if it has one.
    """
    segment, text = place_of(row)
    address, ids = IPAddress(text), row["external_ids"]
    try:
        kind, created = LeaseKind(ids.get(_KIND, LeaseKind.ENDPOINT)), float(ids[_CREATED])
    except (LookupError, ValueError):
        return SharedLease(segment=segment, address=address, kind=LeaseKind.AUX, host="")
    mac, *addresses = _first_address(row) or (None,)
    endpoint, host = ids.get(_ENDPOINT), ids.get(_HOST, "")
    return SharedLease(
        segment=segment,
        address=address,
        kind=kind,
        host=host,
        pool=PoolId(ids[_POOL]) if _POOL in ids else None,
        serial=serial_of(row) or 0,
        wanted=_WANTED in ids,
        name=ids.get(_CALLED, ""),
        created=created,
        mac=mac,
        port=SharedPort(
            segment=segment,
            addresses=tuple(map(IPAddress, addresses)),
            mac=mac,
            endpoint=EndpointId(endpoint),
            host=host,
            guard=_UNGUARDED not in ids,
            sent=_read_rate(ids.get(_SENT, "")) if limited else None,
            apart=apart,
        )
        if mac is not None and endpoint is not None
        else None,
    )


def leases_that_end(changes: Sequence[RowChange]) -> Collection[SharedLease]:
    """Return the leases whose rows changes take away."""
    return [
        read_lease(change.old)
        for change in changes
        if change.table == PORT
        and change.new is None
        and change.old is not None
        and number_of(place_of(change.old)[1])
    ]


def mac_of(port: Row) -> EUI | None:
    """Return the MAC of a lease's port; None for an IPv6 address beside an IPv4 one."""
    mac, *_ = _first_address(port) or (None,)
    return mac


def _first_address(row: Row) -> tuple[EUI, *tuple[str, ...]] | None:
    for text in row["addresses"]:
        first, *others = text.split()
        with_colons = first.count(":") == 5
        if with_colons:
            return EUI(int(first.replace(":", ""), 16), version=48), *others
    return None


def new_lease(lease: SharedLease) -> list[Operation]:
    """Return a lease's insertion, and that its segment has it."""
    pairs = {
        _KIND: "" if lease.kind is LeaseKind.ENDPOINT else str(lease.kind),
        _SERIAL: str(lease.serial),
        _HOST: lease.host,
        _POOL: lease.pool or "",
        _WANTED: "yes" if lease.wanted else "",
        _CALLED: lease.name,
        _CREATED: repr(lease.created),
    }
    row: dict[str, Any] = {
        "name": lease_port(lease.segment, lease.address),
        "external_ids": to_map({key: value for key, value in pairs.items() if value}),
    }
    if lease.mac is None:
        row["enabled"] = False
    else:
        row |= _packets(lease.mac, (lease.address,), guard=True)
    if lease.host:
        # bound there and nowhere else: who goes on with an address that was given away is fenced
        row["options"] = to_map({"requested-chassis": lease.host})
    symbol = f"lease{lease.serial}"
    where = [*at(switch_uuid(lease.segment))]
    if lease.pool:
        # not on a segment that its host has left, and be it by what a server passes on too late
        pool = to_map({pool_key(lease.pool): lease.host})
        where.append(["external_ids", "includes", pool])
    return [
        {"op": "insert", "table": PORT, "uuid-name": symbol, "row": row},
        {
            "op": "mutate",
            "table": SWITCH,
            "where": where,
            "mutations": [["ports", "insert", ["named-uuid", symbol]]],
        },
    ]


def changed_port(row: Row, port: SharedPort, rate: Row | None) -> list[Operation]:
    """Return what makes the row of a container's first address its port.

    But for what it is kept apart from, which is other rows'. ``rate``: that of its rate, if there
    is one.
    """
    if read_lease(row, apart=port.apart, limited=rate is not None).port == port:
        return []
    # an IPv6 address was a name only until now: it may be the container's first
    columns = _packets(port.mac, port.addresses, guard=port.guard) | {"enabled": ["set", []]}
    pairs: dict[str, str] = {_ENDPOINT: port.endpoint}
    if not port.guard:
        pairs[_UNGUARDED] = "yes"
    if port.sent is not None:
        pairs[_SENT] = f"{port.sent.rate}/{port.sent.burst}"
    mutations = [
        ["external_ids", "delete", ["set", [_ENDPOINT, _SENT, _UNGUARDED]]],
        ["external_ids", "insert", to_map(pairs)],
    ]
    return [
        {"op": "update", "table": PORT, "where": at(row["_uuid"]), "row": columns},
        {"op": "mutate", "table": PORT, "where": at(row["_uuid"]), "mutations": mutations},
        *_changed_rate(row, port, rate),
    ]


def is_limited(row: Row, replica: Replica | None) -> bool:
    """Whether the row of a lease's rate is there."""
    endpoint = row["external_ids"].get(_ENDPOINT)
    return (
        replica is not None
        and endpoint is not None
        and replica.row(RATE, rate_uuid(EndpointId(endpoint))) is not None
    )


def rates_of(ports: Sequence[Row]) -> Sequence[Sequence[Any]]:
    """Return the mutation of a switch that ends the rates of leases; none if they have none."""
    ends = [
        ["uuid", rate_uuid(EndpointId(each["external_ids"][_ENDPOINT]))]
        for each in ports
        if {_SENT, _ENDPOINT} <= each["external_ids"].keys()
    ]
    return [["qos_rules", "delete", ["set", ends]]] if ends else []


def _changed_rate(row: Row, port: SharedPort, rate: Row | None) -> list[Operation]:
    """Return what has OVN hold a container to its rate, or not any more."""
    here = at(switch_uuid(port.segment))
    uuid = rate_uuid(port.endpoint)
    mutations = [] if rate is not None and port.sent is not None else list(rates_of([row]))
    operations: list[Operation] = []
    if port.sent is not None:
        bandwidth = [["rate", port.sent.rate], ["burst", port.sent.burst]]
        columns = {
            "priority": _RATE_PRIORITY,
            "direction": "from-lport",
            "match": f'inport == "{lease_port(port.segment, port.addresses[0])}"',
            "bandwidth": ["map", bandwidth],
            "external_ids": to_map({_ENDPOINT: port.endpoint, _HOST: port.host}),
        }
        if rate is not None:
            return [{"op": "update", "table": RATE, "where": at(uuid), "row": columns}]
        operations.append({"op": "insert", "table": RATE, "uuid": uuid, "row": columns})
        mutations.append(["qos_rules", "insert", ["uuid", uuid]])
    if mutations:
        operations.append({"op": "mutate", "table": SWITCH, "where": here, "mutations": mutations})
    return operations


def rate_uuid(endpoint: EndpointId) -> str:
    """Return the uuid of the row of an endpoint's rate."""
    return str(uuid5(SPACE, f"rate/{endpoint}"))


def _read_rate(text: str) -> Metered | None:
    rate, slash, burst = text.partition("/")
    whole = slash and rate.isdecimal() and burst.isdecimal()
    return Metered(rate=int(rate), burst=int(burst)) if whole else None


_RATE_PRIORITY = 1000


def _packets(mac: EUI, addresses: Sequence[IPAddress], *, guard: bool) -> dict[str, Any]:
    text = " ".join([mac_text(mac), *map(str, addresses)])
    if guard:
        return {"addresses": text, "port_security": text}
    # frames to whom OVN does not know come there: others may be behind the container
    return {"addresses": ["set", [text, "unknown"]], "port_security": ["set", []]}


def there_is(segment: str) -> Operation:
    """Return what fails the whole unless there is such a segment."""
    return {
        "op": "wait",
        "table": SWITCH,
        "where": at(switch_uuid(segment)),
        "columns": ["name"],
        "until": "==",
        "rows": [{"name": segment}],
        "timeout": 0,
    }


def read_name(row: Row) -> SharedName | None:
    """Return what a row of names says; None: it is none of ours."""
    ids: Mapping[str, str] = row["external_ids"]
    endpoint = EndpointId(ids.get(_ENDPOINT, ""))
    if row["_uuid"] != name_uuid(endpoint):
        return None
    try:
        addresses = tuple(map(IPAddress, ids.get(_ADDRESSES, "").split()))
    except (AddrFormatError, ValueError):
        return None
    return SharedName(
        segment=ids.get(SEGMENT, ""),
        endpoint=endpoint,
        host=ids.get(_HOST, ""),
        names=tuple(ids.get(_NAMES, "").split()),
        addresses=addresses,
    )


def segment_of_name(row: Row) -> str:
    """Return the segment of a row of names."""
    return str(row["external_ids"].get(SEGMENT, ""))


def places_of_name(row: Row) -> Collection[tuple[str, str]]:
    """Return the names that a row of names says, each with its segment."""
    ids: Mapping[str, str] = row["external_ids"]
    return {(ids.get(SEGMENT, ""), name) for name in ids.get(_NAMES, "").split()}


def names_in(changes: Sequence[RowChange]) -> Collection[tuple[str, str]]:
    """Return the names, each with its segment, of which changes say something."""
    return {
        place
        for change in changes
        if change.table == NAME
        for row in (change.old, change.new)
        if row is not None
        for place in places_of_name(row)
    }


def put_name(name: SharedName, there: Row | None) -> list[Operation]:
    """Return what makes the row of names say so; nothing if it does."""
    if there is not None and read_name(there) == name:
        return []
    uuid = name_uuid(name.endpoint)
    answer = " ".join(map(str, name.addresses))
    row = {
        "records": to_map(dict.fromkeys(name.names, answer)),
        "external_ids": to_map(
            {
                SEGMENT: name.segment,
                _HOST: name.host,
                _ENDPOINT: name.endpoint,
                # in their order, and so that nobody need watch the records
                _NAMES: " ".join(name.names),
                _ADDRESSES: answer,
            }
        ),
    }
    if there is not None:
        return [{"op": "update", "table": NAME, "where": at(uuid), "row": row}]
    return [
        there_is(name.segment),
        {"op": "insert", "table": NAME, "uuid": uuid, "row": row},
        {
            "op": "mutate",
            "table": SWITCH,
            "where": at(switch_uuid(name.segment)),
            "mutations": [["dns_records", "insert", ["uuid", uuid]]],
        },
    ]
