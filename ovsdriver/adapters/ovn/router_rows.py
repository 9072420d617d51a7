"""Rows of OVN's that put a segment on a router: the router, its port, and the switch's port to it.

Their uuids follow from the names of router and segment, as those of segments do.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid5

from netaddr import AddrFormatError, IPNetwork

from ovsdriver.adapters.ovn.rows import PORT, SEGMENT, SPACE, SWITCH, at, switch_uuid
from ovsdriver.adapters.ovsdb import Operation, Row
from ovsdriver.adapters.ovsdb.tables.writing import to_map
from ovsdriver.domain.records.names import mac_for, mac_text
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.ports.northbound import SharedGateway

ROUTER, PLACE = "Logical_Router", "Logical_Router_Port"

WATCHED: Mapping[str, Sequence[str]] = {
    ROUTER: ("ports", "external_ids"),
    PLACE: ("networks", "external_ids"),
}

_ROUTER = "ovsnet:router"

PORT_NAME = "router"
"""After the segment's name: its port to a router."""


def router_uuid(router: str) -> str:
    """Return the uuid of a router's row."""
    return str(uuid5(SPACE, f"router/{router}"))


def place_uuid(segment: str) -> str:
    """Return the uuid of the router's port that leads to a segment."""
    return str(uuid5(SPACE, f"place/{segment}"))


def switch_port(segment: str) -> str:
    """Return the name of the segment's port to a router."""
    return f"{segment}/{PORT_NAME}"


def read_gateway(row: Row) -> SharedGateway | None:
    """Return which segment's place a router's port is; None: it is none of ours."""
    ids: Mapping[str, str] = row["external_ids"]
    segment = ids.get(SEGMENT, "")
    if row["_uuid"] != place_uuid(segment):
        return None
    try:
        addresses = sorted(map(IPNetwork, row["networks"]), key=lambda each: each.version)
    except (AddrFormatError, ValueError):
        return None
    return SharedGateway(segment=segment, router=ids.get(_ROUTER, ""), addresses=tuple(addresses))


def put_gateway(
    gateway: SharedGateway, *, router: Row | None, place: Row | None, port: Row | None
) -> list[Operation]:
    """Return what puts a segment on a router, given what there is of it."""
    operations: list[Operation] = []
    segment, uuid = gateway.segment, place_uuid(gateway.segment)
    if place is None:
        operations += _new_place(gateway, router)
    else:
        there = {IPNetwork(each).version for each in place["networks"]}
        more = [str(each) for each in gateway.addresses if each.version not in there]
        if more:
            mutation = ["networks", "insert", ["set", more]]
            operations.append(_mutation(PLACE, uuid, mutation))
    if port is None:
        port_uuid = str(uuid5(SPACE, f"router-port/{segment}"))
        row = {
            "name": switch_port(segment),
            "type": "router",
            "addresses": "router",
            "options": to_map({"router-port": _place_name(gateway)}),
        }
        operations += [
            {"op": "insert", "table": PORT, "uuid": port_uuid, "row": row},
            _mutation(SWITCH, switch_uuid(segment), ["ports", "insert", ["uuid", port_uuid]]),
        ]
    return operations


def _new_place(gateway: SharedGateway, router: Row | None) -> list[Operation]:
    uuid, router_at = place_uuid(gateway.segment), router_uuid(gateway.router)
    mac = mac_for(gateway.addresses[0], OvnSegment(segment=gateway.segment))
    row = {
        "name": _place_name(gateway),
        "mac": mac_text(mac),
        "networks": ["set", [str(each) for each in gateway.addresses]],
        "external_ids": to_map({SEGMENT: gateway.segment, _ROUTER: gateway.router}),
    }
    place = {"op": "insert", "table": PLACE, "uuid": uuid, "row": row}
    if router is None:
        made = {
            "name": gateway.router,
            "ports": ["uuid", uuid],
            "external_ids": to_map({_ROUTER: gateway.router}),
        }
        return [place, {"op": "insert", "table": ROUTER, "uuid": router_at, "row": made}]
    # it may go with its last segment meanwhile
    return [
        _still(ROUTER, router, "ports"),
        place,
        _mutation(ROUTER, router_at, ["ports", "insert", ["uuid", uuid]]),
    ]


def leave_router(router: Row, segment: str) -> list[Operation]:
    """Return what takes a segment from a router, and with the last one the router."""
    uuid = place_uuid(segment)
    unchanged = _still(ROUTER, router, "ports")
    if set(router["ports"]) == {uuid} and _ROUTER in router["external_ids"]:
        return [unchanged, {"op": "delete", "table": ROUTER, "where": at(router["_uuid"])}]
    return [unchanged, _mutation(ROUTER, router["_uuid"], ["ports", "delete", ["uuid", uuid]])]


def _place_name(gateway: SharedGateway) -> str:
    # unlike any port's of a switch: OVN has the names of both in one table
    return f"{gateway.segment}/{PORT_NAME}/{gateway.router}"


def _still(table: str, row: Row, column: str) -> Operation:
    """Return what fails the whole unless a set of references is as the copy has it."""
    return {
        "op": "wait",
        "table": table,
        "where": at(row["_uuid"]),
        "columns": [column],
        "until": "==",
        "rows": [{column: ["set", [["uuid", each] for each in sorted(row[column])]]}],
        "timeout": 0,
    }


def _mutation(table: str, uuid: str, mutation: Sequence[Any]) -> Operation:
    return {"op": "mutate", "table": table, "where": at(uuid), "mutations": [mutation]}
