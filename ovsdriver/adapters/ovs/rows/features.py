"""Features of a bridge of ours as operations. Pure.

What of them we have set is noted in the bridge's ``external_ids``: what somebody else has set on it
is left alone, and what no network wants any more goes back to Open vSwitch's default.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ovsdriver.adapters.ovs.rows.rows import Wanted, as_value, is_ours, turned
from ovsdriver.adapters.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovsdb.tables.writing import delete, mutate, to_map, where
from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.features import Exporter, FailMode, Features

_KEY = "ovsnet-features"
"""In ``external_ids``: the features that we have set, separated by blanks."""
_FORWARD = "forward-bpdu"
_TURN_KEY = "ovsnet-rstp"
"""In ``other_config`` of a bridge whose RSTP was switched on again."""
_TABLES = {"sflow": "sFlow", "netflow": "NetFlow", "ipfix": "IPFIX"}
_SAMPLED = frozenset({"sflow", "ipfix"})
_COLUMNS: Mapping[str, tuple[str, Any]] = {
    "rstp": ("rstp_enable", False),
    "mcast": ("mcast_snooping_enable", False),
    "fail_mode": ("fail_mode", FailMode.STANDALONE.value),
    "protocols": ("protocols", set()),
}
"""The column of a feature, and its default."""


def observed(replica: Replica, bridge: Row) -> Features:
    """Return what we have set on a bridge, as it is now."""
    ours = _noted(bridge)
    found: dict[str, Any] = {}
    for name, (column, _) in _COLUMNS.items():
        if name in ours:
            found[name] = bridge[column]
    if "protocols" in found:
        found["protocols"] = tuple(sorted(found["protocols"]))
    if "fail_mode" in found:
        found["fail_mode"] = FailMode(found["fail_mode"] or "standalone")
    if "control_frames" in ours:
        found["control_frames"] = bridge["other_config"].get(_FORWARD) == "true"
    controllers = _controllers(replica, bridge)
    found["controllers"] = tuple(sorted(each["target"] for each in controllers))
    for name, table in _TABLES.items():
        row = replica.row(table, bridge[name] or "")
        if row is not None and is_ours(row, row["external_ids"].get(names.OWNER_KEY, "")):
            found[name] = Exporter(
                targets=tuple(sorted(row["targets"])), sampling=row.get("sampling")
            )
    return Features(**found)


def inserted(features: Features, owner: str, serial: int) -> tuple[list[Operation], dict[str, Any]]:
    """Return the insertions and the columns of a new bridge."""
    columns = {
        column: as_value(_plain(features.said()[name]))
        for name, (column, _) in _COLUMNS.items()
        if name in features.said()
    }
    operations: list[Operation] = []
    for name in _TABLES:
        exporter = getattr(features, name)
        if exporter is not None:
            operations.append(_exporter(name, exporter, owner).insertion(f"{name}{serial}"))
            columns[name] = ["named-uuid", f"{name}{serial}"]
    if features.controllers:
        operations += _new_controllers(features.controllers, owner, serial)
        refs = [["named-uuid", f"controller{serial}x{n}"] for n in range(len(features.controllers))]
        columns["controller"] = ["set", refs]
    return operations, columns


def config(features: Features) -> dict[str, str]:
    """Return the pairs of ``other_config`` that features need."""
    if features.control_frames is None:
        return {}
    return {_FORWARD: str(features.control_frames).lower()}


def marks(features: Features) -> dict[str, str]:
    """Return the pair of ``external_ids`` that says what of the features we set."""
    said = " ".join(sorted(features.said()))
    return {_KEY: said} if said else {}


def corrected(
    replica: Replica, bridge: Row, features: Features, owner: str, serial: int
) -> list[Operation]:
    """Return the operations from what a bridge has to ``features``."""
    update = _changed_columns(bridge, features)
    operations: list[Operation] = []
    for name, table in _TABLES.items():
        row = replica.row(table, bridge[name] or "")
        ours = row is not None and is_ours(row, owner)
        exporter: Exporter | None = getattr(features, name)
        if exporter is None:
            if ours:
                update[name] = ["set", []]
        elif row is None or not ours:
            operations.append(_exporter(name, exporter, owner).insertion(f"{name}{serial}"))
            update[name] = ["named-uuid", f"{name}{serial}"]
        else:
            operations += _exporter(name, exporter, owner).corrections(row)
    if update:
        operations.append(
            {"op": "update", "table": "Bridge", "where": where(bridge), "row": update}
        )
        if "rstp_enable" in update:  # vswitchd does not notice by itself (measured with 3.5.0)
            operations += turned(bridge, "Bridge", _TURN_KEY)
    operations += _settled_controllers(replica, bridge, features, owner, serial)
    return [*operations, *_settled_maps(bridge, features)]


def _changed_columns(bridge: Row, features: Features) -> dict[str, Any]:
    said, noted = features.said(), _noted(bridge)
    update: dict[str, Any] = {}
    for name, (column, default) in _COLUMNS.items():
        if name not in said and name not in noted:
            continue
        value = _plain(said[name]) if name in said else default
        if name == "fail_mode":
            continue  # a bridge of ours has one always
        if bridge[column] != value:
            update[column] = as_value(value)
    return update


def _noted(bridge: Row) -> frozenset[str]:
    return frozenset(bridge["external_ids"].get(_KEY, "").split())


def _plain(value: Any) -> Any:
    if isinstance(value, FailMode):
        return value.value
    return set(value) if isinstance(value, tuple) else value


def _exporter(name: str, exporter: Exporter, owner: str) -> Wanted:
    columns: dict[str, Any] = {"targets": set(exporter.targets)}
    if name in _SAMPLED:
        columns["sampling"] = exporter.sampling
    return Wanted(_TABLES[name], columns, {"external_ids": {names.OWNER_KEY: owner}})


def _controllers(replica: Replica, bridge: Row) -> list[Row]:
    rows = (replica.row("Controller", uuid) for uuid in bridge["controller"])
    return [row for row in rows if row and names.OWNER_KEY in row["external_ids"]]


def _new_controllers(targets: Sequence[str], owner: str, serial: int) -> list[Operation]:
    ids = {"external_ids": {names.OWNER_KEY: owner}}
    return [
        Wanted("Controller", {"target": each}, ids).insertion(f"controller{serial}x{number}")
        for number, each in enumerate(targets)
    ]


def _settled_controllers(
    replica: Replica, bridge: Row, features: Features, owner: str, serial: int
) -> list[Operation]:
    ours = {row["target"]: row for row in _controllers(replica, bridge) if is_ours(row, owner)}
    gone = [row for target, row in ours.items() if target not in features.controllers]
    new = [each for each in features.controllers if each not in ours]
    operations = [mutate(bridge, "Bridge", delete("controller", gone))] if gone else []
    if new:
        operations += _new_controllers(new, owner, serial)
        refs = [["named-uuid", f"controller{serial}x{number}"] for number in range(len(new))]
        operations.append(mutate(bridge, "Bridge", ["controller", "insert", ["set", refs]]))
    return operations


def _settled_maps(bridge: Row, features: Features) -> list[Operation]:
    changes: list[Sequence[Any]] = []
    wanted = config(features)
    if wanted.get(_FORWARD) != bridge["other_config"].get(_FORWARD) and (
        wanted or "control_frames" in _noted(bridge)
    ):
        changes.append(["other_config", "delete", ["set", [_FORWARD]]])
        if wanted:
            changes.append(["other_config", "insert", to_map(wanted)])
    mark = marks(features)
    if mark.get(_KEY) != bridge["external_ids"].get(_KEY):
        changes.append(["external_ids", "delete", ["set", [_KEY]]])
        if mark:
            changes.append(["external_ids", "insert", to_map(mark)])
    return [mutate(bridge, "Bridge", *changes)] if changes else []
