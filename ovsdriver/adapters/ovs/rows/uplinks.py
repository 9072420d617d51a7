"""Uplinks as plans: NICs of the host as a port of a bridge, a trunk of the VLANs in use. Pure."""

import shlex
from collections.abc import Mapping
from typing import Any

from ovsdriver.adapters.ovs.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovs.rows.ports import DEVICE_KEY, reopening
from ovsdriver.adapters.ovs.rows.rows import (
    add_ids,
    check_name,
    delete,
    insert,
    interfaces_of,
    is_local,
    is_ours,
    mutate,
    port_in_place,
    to_map,
    turn,
    update,
)
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import UplinkPort
from ovsdriver.errors import ConflictError, InvalidOptionError, UnavailableError


def check_uplink(port: UplinkPort) -> None:
    """Check what the type of ``port`` does not.

    Raises:
        InvalidOptionError: a name is no device's, or it would let no VLAN through, or all.
    """
    for name in (port.name, *port.nics):
        check_name(name, what="port")
    if not port.trunks or not all(0 <= tag <= 4094 for tag in port.trunks):
        raise InvalidOptionError(
            f"uplink {port.name}: {list(port.trunks)} are no VLANs of 0 to 4094; it carries those "
            "that are in use and never all"
        )


class EnsureUplink:
    """Make an uplink's port, or put right what is there of it."""

    def __init__(
        self, port: UplinkPort, *, owner: str, serial: int, devices: Mapping[str, int | None]
    ) -> None:
        """Prepare.

        Args:
            port: what is wanted.
            owner: our mark.
            serial: a number that no other plan has; it names the new rows.
            devices: the kernel's index of each NIC; None where it is not known.
        """
        self._port = port
        self._owner = owner
        self._serial = serial
        self._devices = devices
        self.made = False
        """Rows were inserted by this plan."""

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations.

        Raises:
            ConflictError: the port's name or a NIC is in a port that is not this one.
            UnavailableError: there is no such bridge.
        """
        port = self._port
        bridge = replica.named("Bridge", port.bridge)
        if bridge is None:
            raise UnavailableError(
                f"Open vSwitch has no bridge {port.bridge} for the uplink {port.name}; "
                f"if it is yours, make it again: ovs-vsctl add-br {port.bridge}"
            )
        row = replica.named("Port", port.name)
        if row is not None and (is_local(replica, row) or not is_ours(row, self._owner)):
            raise ConflictError(
                f"Open vSwitch has a port {port.name} already that is not ours to change; look at "
                f"it with: ovs-vsctl list Port {shlex.quote(port.name)}"
            )
        self._refuse_used(replica, row)
        if row is None:
            self.made = True
            return self._insertion(bridge)
        holder = replica.holder("Bridge", "ports", row["_uuid"])
        interfaces = interfaces_of(replica, row)
        if holder is bridge and {each["name"] for each in interfaces} == set(port.nics):
            return self._corrections(replica, row)
        self.made = True
        removal = [mutate(holder, "Bridge", delete("ports", [row]))] if holder else []
        return [*removal, *self._insertion(bridge)]

    def there(self, replica: Replica) -> bool:
        """Whether the port is ours and has these NICs, so that it can be changed."""
        row = port_in_place(replica, self._port.name, self._port.bridge, self._owner)
        if row is None:
            return False
        return {each["name"] for each in interfaces_of(replica, row)} == set(self._port.nics)

    def _refuse_used(self, replica: Replica, row: Row | None) -> None:
        for nic in self._port.nics:
            interface = replica.named("Interface", nic)
            if interface is None:
                continue
            holder = replica.holder("Port", "interfaces", interface["_uuid"])
            if holder is not None and holder is not row:
                raise ConflictError(
                    f"NIC {nic} is in port {holder['name']} of Open vSwitch already; free it with: "
                    f"ovs-vsctl del-port {shlex.quote(holder['name'])}"
                )

    def _columns(self) -> dict[str, Any]:
        port = self._port
        return {
            "vlan_mode": "trunk",
            "tag": None,
            "trunks": set(port.trunks),
            "bond_mode": port.bond.value if port.bond else None,
            "lacp": port.lacp.value if port.bond else None,
        }

    def _ids(self) -> dict[str, str]:
        return {**self._port.external_ids, names.OWNER_KEY: self._owner}

    def _device_ids(self, nic: str) -> dict[str, str]:
        device = self._devices.get(nic)
        return {} if device is None else {DEVICE_KEY: str(device)}

    def _insertion(self, bridge: Row) -> list[Operation]:
        port_name = f"port{self._serial}"
        inserted = {nic: f"interface{self._serial}x{n}" for n, nic in enumerate(self._port.nics)}
        interfaces = [
            insert(
                "Interface",
                {"name": nic, "external_ids": to_map(self._ids() | self._device_ids(nic))},
                name,
            )
            for nic, name in inserted.items()
        ]
        said = {key: value for key, value in self._columns().items() if value is not None}
        row = said | {
            "name": self._port.name,
            "interfaces": ["set", [["named-uuid", name] for name in inserted.values()]],
            "trunks": ["set", sorted(self._port.trunks)],
            "external_ids": to_map(self._ids()),
        }
        return [
            *interfaces,
            insert("Port", row, port_name),
            mutate(bridge, "Bridge", ["ports", "insert", ["named-uuid", port_name]]),
        ]

    def _corrections(self, replica: Replica, row: Row) -> list[Operation]:
        operations = [
            *update(row, "Port", self._columns()),
            *turn(row, self._columns()),
            *add_ids(row, "Port", self._ids()),
        ]
        for interface in interfaces_of(replica, row):
            nic = interface["name"]
            anew = reopening(replica, interface, self._devices.get(nic))
            operations += update(interface, "Interface", anew)
            operations += add_ids(interface, "Interface", self._ids() | self._device_ids(nic))
        return operations
