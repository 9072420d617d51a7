"""Rows of OVN's that keep containers of a segment apart: a rule, for whom, and from whom.

There is one group of ports for each segment on which somebody asks for that, and one set of their
MACs. The group's rule is OVN's drop of what one of them sends to another, whatever hosts they are
on. The ports that a packet may come in by cannot be a group of OVN's: of one, each host knows its
own ports alone. So the rule goes by the sender's MAC, and those ports must be guarded.

Both stay as long as their segment, so that no host removes what another one is about to join.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self
from uuid import uuid5

from netaddr import EUI

from ovsdriver.adapters.ovn.rows import SEGMENT, SPACE, at, mac_of, there_is
from ovsdriver.adapters.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovsdb.tables.writing import delete, references, to_map
from ovsdriver.domain.records.names import mac_text

GROUP, RULE, SENDERS = "Port_Group", "ACL", "Address_Set"

WATCHED: Mapping[str, Sequence[str]] = {
    GROUP: ("ports", "acls", "external_ids"),
    SENDERS: ("addresses", "external_ids"),
}

_PRIORITY = 1000
"""Of OVN's 0 to 32767: an administrator's own rules may come before or after it."""


@dataclass(frozen=True, slots=True)
class Apart:
    """What there is on one segment."""

    segment: str
    group: Row | None = None
    senders: Row | None = None

    @classmethod
    def of(cls, replica: Replica | None, segment: str) -> Self:
        """Return it as a copy of the database has it."""
        if replica is None:
            return cls(segment)
        return cls(
            segment,
            replica.row(GROUP, _uuid(segment, "group")),
            replica.row(SENDERS, _uuid(segment, "senders")),
        )

    def has(self, port: Row) -> bool:
        """Whether a port is kept apart."""
        if self.group is None or port["_uuid"] not in self.group["ports"]:
            return False
        return self._has_rule and _text(mac_of(port)) in self._macs

    @property
    def _has_rule(self) -> bool:
        return self.group is not None and _uuid(self.segment, "rule") in self.group["acls"]

    @property
    def _macs(self) -> frozenset[str]:
        return self.senders["addresses"] if self.senders is not None else frozenset()

    def put(self, port: Row, mac: EUI, *, apart: bool) -> list[Operation]:
        """Return what has a port, which is to have ``mac``, kept apart or not."""
        others = {mac_of(port), mac} - ({mac} if apart else set())
        operations = self.without(others)
        if apart:
            return operations + self._with(port, _text(mac))
        if self.group is not None and port["_uuid"] in self.group["ports"]:
            operations.append(self._change(GROUP, "group", delete("ports", [port])))
        return operations

    def without(self, macs: Iterable[EUI | None]) -> list[Operation]:
        """Return what forgets MACs; a port leaves its group by itself when its lease ends."""
        gone = sorted(self._macs.intersection(map(_text, macs)))
        if not gone:
            return []
        return [self._change(SENDERS, "senders", ["addresses", "delete", ["set", gone]])]

    def _with(self, port: Row, mac: str) -> list[Operation]:
        operations: list[Operation] = []
        if self.senders is None:
            operations.append(self._new(SENDERS, "senders", {"addresses": mac}))
        elif mac not in self._macs:
            operations.append(self._change(SENDERS, "senders", ["addresses", "insert", mac]))
        rule = ["uuid", _uuid(self.segment, "rule")]
        if not self._has_rule:
            operations.append(self._new_rule())
        if self.group is None:
            row = {"ports": references([port]), "acls": rule}
            return [there_is(self.segment), *operations, self._new(GROUP, "group", row)]
        changes: list[Sequence[Any]] = []
        if not self._has_rule:
            changes.append(["acls", "insert", rule])
        if port["_uuid"] not in self.group["ports"]:
            changes.append(["ports", "insert", references([port])])
        return [*operations, *([self._change(GROUP, "group", *changes)] if changes else [])]

    def _new_rule(self) -> Operation:
        name = _name(self.segment)
        return {
            "op": "insert",
            "table": RULE,
            "uuid": _uuid(self.segment, "rule"),
            "row": {
                "priority": _PRIORITY,
                "direction": "to-lport",
                "match": f"outport == @{name} && eth.src == ${name}",
                "action": "drop",
                "external_ids": to_map({SEGMENT: self.segment}),
            },
        }

    def _new(self, table: str, what: str, columns: Mapping[str, Any]) -> Operation:
        ids = to_map({SEGMENT: self.segment})
        row = {"name": _name(self.segment), "external_ids": ids, **columns}
        return {"op": "insert", "table": table, "uuid": _uuid(self.segment, what), "row": row}

    def _change(self, table: str, what: str, *mutations: Sequence[Any]) -> Operation:
        here = at(_uuid(self.segment, what))
        return {"op": "mutate", "table": table, "where": here, "mutations": list(mutations)}


def segment_of(row: Row) -> str:
    """Return the segment that a group or a set is of; empty: it is none of ours."""
    segment = str(row["external_ids"].get(SEGMENT, ""))
    ours = (_uuid(segment, "group"), _uuid(segment, "senders"))
    return segment if row["_uuid"] in ours else ""


def deletions(segment: str) -> list[Operation]:
    """Return what deletes all of it, if there is any; the rule goes with its group."""
    tables = ((GROUP, "group"), (SENDERS, "senders"))
    return [
        {"op": "delete", "table": table, "where": at(_uuid(segment, what))}
        for table, what in tables
    ]


@lru_cache(1024)
def _uuid(segment: str, what: str) -> str:
    return str(uuid5(SPACE, f"apart-{what}/{segment}"))


def _name(segment: str) -> str:
    # in an expression it is of letters, digits and underscores
    return f"ovsnet_{_uuid(segment, 'group').replace('-', '_')}"


def _text(mac: EUI | None) -> str:
    return mac_text(mac) if mac is not None else ""
