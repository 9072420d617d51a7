"""Rows of the Open_vSwitch database: what is watched, whose a row is, and what it is to say.

``ports`` and ``bridges`` are only added to and taken from, never written whole: others do the
same at the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovsdriver.adapters.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovsdb.tables.writing import mutate, to_map, where
from ovsdriver.domain.records import names
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import InvalidOptionError

WATCHED: Mapping[str, Sequence[str]] = {
    table: columns.split()
    for table, columns in {
        "Open_vSwitch": "bridges ovs_version datapath_types other_config external_ids",
        "Bridge": "name ports datapath_type fail_mode controller mirrors sflow netflow ipfix "
        "protocols rstp_enable stp_enable mcast_snooping_enable other_config external_ids",
        "Port": "name interfaces tag trunks vlan_mode cvlans protected bond_mode lacp "
        "other_config external_ids",
        "Interface": "name type ofport ofport_request ifindex error mac mtu_request "
        "options external_ids",
        "Mirror": "name select_all select_src_port select_dst_port select_vlan output_port "
        "external_ids",
        "Controller": "target external_ids",
        "sFlow": "targets sampling external_ids",
        "NetFlow": "targets external_ids",
        "IPFIX": "targets sampling external_ids",
    }.items()
}
"""Nothing that vswitchd writes every few seconds, such as statistics."""

TURN_KEY = "ovsnet-trunks"
"""In ``other_config`` of a Port whose trunks were changed: see :func:`turn`."""

_UNNOTICED = ("trunks", "cvlans")

NO_TAG = 0
"""In ``trunks`` and ``cvlans``: frames without a tag."""

_TREES = ("rstp-enable", "stp-enable")
"""In ``other_config`` of a Port."""

_IFNAMSIZ = 16


class Ref(str):
    """The uuid of a row, as the value of a column."""

    __slots__ = ()


class Refs(frozenset[str]):
    """Uuids of rows, as the value of a column."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row of ours says; nothing else of it is touched, such as other people's pairs."""

    table: str
    columns: dict[str, Any] = field(default_factory=dict)
    """As the replica has them: None is an empty one. References are :class:`Ref`, :class:`Refs`."""
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By column, the pairs that it has, whatever else is in there."""

    def insertion(self, name: str, **others: Any) -> Operation:
        """Return it as a new row.

        Args:
            name: stands for its uuid within the transaction.
            others: columns that are a <value> already, such as references to other new rows.
        """
        row = {column: as_value(value) for column, value in self.columns.items()}
        row |= {column: to_map(pairs) for column, pairs in self.maps.items()}
        return {"op": "insert", "table": self.table, "row": row | others, "uuid-name": name}

    def corrections(self, row: Row) -> list[Operation]:
        """Return what makes ``row`` so; none if it is."""
        operations: list[Operation] = []
        different = {
            name: as_value(value) for name, value in self.columns.items() if row[name] != value
        }
        if different:
            operations.append(
                {"op": "update", "table": self.table, "where": where(row), "row": different}
            )
        mutations: list[Sequence[Any]] = []
        for column, pairs in self.maps.items():
            new = {key: value for key, value in pairs.items() if row[column].get(key) != value}
            if new:
                mutations.append([column, "delete", ["set", sorted(new)]])
                mutations.append([column, "insert", to_map(new)])
        if mutations:
            operations.append(mutate(row, self.table, *mutations))
        return operations


def check_name(name: str, *, what: str) -> None:
    """Check a name that becomes a device's.

    Raises:
        InvalidOptionError: the kernel would not take it. Open vSwitch does not notice by itself
            (measured with 3.5: an internal port of 16 characters gets its ``ofport``).
    """
    if not 0 < len(name.encode()) < _IFNAMSIZ or name in (".", ".."):
        raise InvalidOptionError(f"{what} {name!r}: a name has 1 to 15 bytes (netdevice(7))")
    if any(sign in "/:" or not sign.isprintable() or sign.isspace() for sign in name):
        raise InvalidOptionError(f"{what} {name!r}: a name has no blanks, slashes or colons")


def is_ours(row: Row, owner: str) -> bool:
    """Whether the row carries our mark."""
    return bool(row["external_ids"].get(names.OWNER_KEY) == owner)


BOUND_KEY = "ovn-installed"
"""In ``external_ids`` of an Interface: OVN's controller has made its flows (ovn-controller(8))."""


def is_bound(interface: Row) -> bool:
    """Whether OVN's controller has made the flows of an Interface."""
    return bool(interface["external_ids"].get(BOUND_KEY) == "true")


def is_local(replica: Replica, row: Row) -> bool:
    """Whether a Port is a bridge's own: it has the bridge's name."""
    return replica.named("Bridge", row["name"]) is not None


def port_in_place(replica: Replica, name: str, bridge_name: str, owner: str) -> Row | None:
    """Return a port of ours on that bridge, but not its local one; None if there is none."""
    bridge, row = replica.named("Bridge", bridge_name), replica.named("Port", name)
    if bridge is None or row is None or is_local(replica, row) or not is_ours(row, owner):
        return None
    return row if replica.holder("Bridge", "ports", row["_uuid"]) is bridge else None


def interfaces_of(replica: Replica, port: Row) -> Sequence[Row]:
    """Return the Interfaces of a Port; a bond has several."""
    found = (replica.row("Interface", uuid) for uuid in sorted(port["interfaces"]))
    return [row for row in found if row]


def datapath_of(bridge: Row) -> Datapath:
    """Return a Bridge row's datapath; an empty ``datapath_type`` means ``system``."""
    return Datapath.NETDEV if bridge["datapath_type"] == "netdev" else Datapath.SYSTEM


def integration_bridge(replica: Replica) -> str:
    """Return the name of the bridge that OVN's controller on this host owns; empty if none."""
    root = next(iter(replica.rows("Open_vSwitch")), None)
    ids = root["external_ids"] if root else {}
    # ovn-controller(8): "ovn-bridge … The default is br-int"
    default = "br-int" if "ovn-remote" in ids else ""
    return str(ids.get("ovn-bridge", default))


def turn(row: Row, wanted: Mapping[str, Any]) -> list[Operation]:
    """Return what makes vswitchd notice a Port's new VLANs, which it would not by itself.

    It takes ``trunks`` over only when another column changes as well, and ``external_ids`` is none
    that it looks at (measured with 3.5.0). ovs-vsctl hides that, since it changes ``next_cfg``.
    """
    if all(row[name] == wanted[name] for name in _UNNOTICED if name in wanted):
        return []
    return turned(row, "Port", TURN_KEY)


def turned(row: Row, table: str, key: str) -> list[Operation]:
    """Return a change of ``other_config`` that is for nothing but being one."""
    other = "1" if row["other_config"].get(key) == "0" else "0"
    return Wanted(table, maps={"other_config": {key: other}}).corrections(row)


def tree_config(tree: bool) -> dict[str, str]:
    """Return the pairs of a Port's ``other_config`` that let it into spanning trees, or not."""
    return dict.fromkeys(_TREES, str(tree).lower())


def tree_of(row: Row) -> bool | None:
    """Return whether a Port takes part in spanning trees; None if in some."""
    parts = {row["other_config"].get(name) != "false" for name in _TREES}
    return parts.pop() if len(parts) == 1 else None


def as_value(value: Any) -> Any:
    """Return a column's value, as the replica has it, in the form of a <value>."""
    if value is None:
        return ["set", []]
    if isinstance(value, Ref):
        return ["uuid", str(value)]
    if isinstance(value, Refs):
        return ["set", [["uuid", uuid] for uuid in sorted(value)]]
    return ["set", sorted(value)] if isinstance(value, set) else value
