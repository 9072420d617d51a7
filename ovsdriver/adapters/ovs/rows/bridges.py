"""Bridges of ours as plans: operations from what the replica shows to what is wanted. Pure."""

from collections.abc import Sequence

from ovsdriver.adapters.ovs.rows.features import config, corrected, inserted, marks
from ovsdriver.adapters.ovs.rows.rows import Wanted, datapath_of, is_ours
from ovsdriver.adapters.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovsdb.tables.writing import delete, mutate, references, to_map, where
from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.features import FailMode
from ovsdriver.domain.wires.plumbing import Bridge
from ovsdriver.errors import ConflictError

UNUSED_TAG = 4095
"""Tag of our bridges' own local ports: reserved by IEEE 802.1Q, so no network ever has it.

Without a tag the local port would be a trunk of all VLANs.
"""

HOST_TAG = 0
"""Tag of the local port where the host is on it: its frames have no tag."""

_MAC_KEY = "hwaddr"
_MAC_MARK = "ovsnet-hwaddr"
"""In ``external_ids``: the MAC that we have put into ``other_config``."""


class EnsureBridge:
    """Make a bridge of ours with its local port, or put right what is there of it."""

    def __init__(self, bridge: Bridge, *, owner: str, serial: int) -> None:
        self._bridge = bridge
        self._owner = owner
        self._serial = serial
        self._ids = {**bridge.external_ids, names.OWNER_KEY: owner}
        self.made = False
        """The bridge was inserted by this plan."""

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations.

        Raises:
            ConflictError: something else has that name, or it has another datapath.
        """
        name = self._bridge.name
        row = replica.named("Bridge", name)
        if row is None:
            for table in ("Port", "Interface"):
                if replica.named(table, name) is not None:
                    raise ConflictError(
                        f"bridge {name}: Open vSwitch has a port of that name already; "
                        "choose another name, or remove it with: ovs-vsctl del-port " + name
                    )
            self.made = True
            return self._insertion(replica)
        if not is_ours(row, self._owner):
            raise ConflictError(
                f"bridge {name} exists, and ovsnet did not make it; use it as it is with -o "
                f"ovs.bridge={name}, or choose another name"
            )
        if datapath_of(row) is not self._bridge.datapath:
            raise ConflictError(
                f"bridge {name} has the {datapath_of(row)} datapath, not {self._bridge.datapath}; "
                "to change it, remove its networks first"
            )
        return self._corrections(replica, row)

    def _row(self) -> Wanted:
        columns = {
            "name": self._bridge.name,
            "datapath_type": self._bridge.datapath.value,
            "fail_mode": (self._bridge.features.fail_mode or FailMode.STANDALONE).value,
        }
        return Wanted("Bridge", columns, {"external_ids": self._ids})

    def _local_port(self) -> Wanted:
        tag = HOST_TAG if self._bridge.host is not None else UNUSED_TAG
        columns = {"name": self._bridge.name, "vlan_mode": "access", "tag": tag, "trunks": set()}
        return Wanted("Port", columns, {"external_ids": self._ids})

    def _local_interface(self) -> Wanted:
        host = self._bridge.host
        columns = {
            "name": self._bridge.name,
            "type": "internal",
            "mtu_request": None if host is None else host.mtu,
        }
        return Wanted("Interface", columns, {"external_ids": self._ids})

    def _hardware(self) -> dict[str, str]:
        """Return the ``other_config`` that gives the local port the MAC of the host's NIC.

        Without it vswitchd takes the lowest of the bridge's ports, which come and go.
        """
        host = self._bridge.host
        return {} if host is None else {_MAC_KEY: names.mac_text(host.mac)}

    def _mark(self) -> dict[str, str]:
        hardware = self._hardware()
        return {_MAC_MARK: hardware[_MAC_KEY]} if hardware else {}

    def _insertion(self, replica: Replica) -> list[Operation]:
        features = self._bridge.features
        others, columns = inserted(features, self._owner, self._serial)
        local, port = self._inserted_port()
        bridge = self._row().insertion(
            f"bridge{self._serial}",
            ports=["named-uuid", port],
            **columns,
            other_config=to_map(self._hardware() | config(features)),
            external_ids=to_map(self._ids | self._mark() | marks(features)),
        )
        return [*local, *others, bridge, self._enter(replica, ["named-uuid", bridge["uuid-name"]])]

    def _enter(self, replica: Replica, reference: Sequence[str]) -> Operation:
        root = next(iter(replica.rows("Open_vSwitch")), None)
        if root is None:  # a new conf.db that nobody has run `ovs-vsctl init` on
            return Wanted("Open_vSwitch").insertion(f"root{self._serial}", bridges=reference)
        return mutate(root, "Open_vSwitch", ["bridges", "insert", reference])

    def _inserted_port(self) -> tuple[list[Operation], str]:
        """Return the insertions of the bridge's own port, and what stands for its uuid."""
        interface, port = f"interface{self._serial}", f"port{self._serial}"
        return [
            self._local_interface().insertion(interface),
            self._local_port().insertion(port, interfaces=["named-uuid", interface]),
        ], port

    def _corrections(self, replica: Replica, row: Row) -> list[Operation]:
        operations = [
            *self._row().corrections(row),
            *self._settle_hardware(row),
            *corrected(replica, row, self._bridge.features, self._owner, self._serial),
        ]
        port = replica.named("Port", self._bridge.name)
        if port is None:
            local, new = self._inserted_port()
            entry = mutate(row, "Bridge", ["ports", "insert", ["named-uuid", new]])
            return [*operations, *local, entry]
        operations += self._local_port().corrections(port)
        interface = replica.named("Interface", self._bridge.name)
        if interface is not None:
            operations += self._local_interface().corrections(interface)
        return operations

    def _settle_hardware(self, row: Row) -> list[Operation]:
        """Give or take the MAC; one that somebody else has set on our bridge stays."""
        wanted, present = self._hardware(), row["other_config"].get(_MAC_KEY)
        set_by_us = row["external_ids"].get(_MAC_MARK)
        if wanted.get(_MAC_KEY) == present or (not wanted and set_by_us != present):
            return []
        operations = [["other_config", "delete", ["set", [_MAC_KEY]]]]
        operations.append(["external_ids", "delete", ["set", [_MAC_MARK]]])
        if wanted:
            operations.append(["other_config", "insert", to_map(wanted)])
            operations.append(["external_ids", "insert", to_map({_MAC_MARK: wanted[_MAC_KEY]})])
        return [mutate(row, "Bridge", *operations)]


class RemoveBridge:
    """Remove a bridge of ours with the ports of ours on it."""

    def __init__(self, name: str, *, owner: str) -> None:
        self._name = name
        self._owner = owner
        self.foreign: tuple[str, ...] = ()
        """Other people's ports, on account of which the bridge stays."""

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations; none if it is not there, not ours, or in use by others."""
        row = replica.named("Bridge", self._name)
        if row is None or not is_ours(row, self._owner):
            return []
        ports = [port for uuid in row["ports"] if (port := replica.row("Port", uuid))]
        self.foreign = tuple(
            sorted(
                port["name"]
                for port in ports
                if port["name"] != self._name and not is_ours(port, self._owner)
            )
        )
        root = replica.holder("Open_vSwitch", "bridges", row["_uuid"])
        if self.foreign or root is None:
            return []
        # Fails, and the plan is asked again, if somebody adds a port in this moment.
        unchanged = {
            "op": "wait",
            "timeout": 0,
            "table": "Bridge",
            "where": where(row),
            "columns": ["ports"],
            "until": "==",
            "rows": [{"ports": references(ports)}],
        }
        return [unchanged, mutate(root, "Open_vSwitch", delete("bridges", [row]))]
