"""Ports as plans: operations from what the replica shows to what is wanted. Pure.

A plan is asked between two transactions, perhaps several times (see ``ovsdb.commit``).
"""

import shlex
from collections.abc import Callable
from typing import Any

from ovsdriver.adapters.ovs.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovs.rows.rows import (
    NO_TAG,
    add_ids,
    add_pairs,
    as_value,
    check_name,
    delete,
    insert,
    interface_of,
    is_local,
    is_ours,
    mutate,
    port_in_place,
    to_map,
    tree_config,
    turn,
    update,
)
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import HIGHEST_OFPORT, Port, VlanMode
from ovsdriver.domain.wires.mirroring import NOBODYS_TAG
from ovsdriver.errors import ConflictError, InvalidOptionError, UnavailableError

DEVICE_KEY = "ovsnet-ifindex"
"""In ``external_ids`` of an Interface: the kernel's index of the device that was plugged in."""

_HIGHEST_REPLUG = 0x7FFF
"""Where OpenFlow port numbers for replugging are taken from, downwards: vswitchd counts upwards."""
_NUMBERS = ("ofport", "ofport_request")


def check_port(port: Port) -> None:
    """Check what the type of ``port`` does not.

    Raises:
        InvalidOptionError: its name, its VLANs or its number are outside the range, or it does not
            say which VLANs it carries, which would be all.
    """
    check_name(port.name, what="port")
    _check_tag(port)
    if port.vlan_mode.has_trunks != bool(port.trunks):
        raise InvalidOptionError(
            f"port {port.name}: {port.vlan_mode} does not go with {len(port.trunks)} trunked VLANs"
        )
    lowest = 0 if port.tag == 0 else 1
    if any(not lowest <= vlan <= 4094 for vlan in (*port.trunks, *port.cvlans)):
        raise InvalidOptionError(f"port {port.name}: trunked VLANs are 1 to 4094")
    if port.ofport is not None and not 1 <= port.ofport <= HIGHEST_OFPORT:
        raise InvalidOptionError(
            f"port {port.name}: OpenFlow port {port.ofport} is not one of 1 to {HIGHEST_OFPORT}"
        )


def _check_tag(port: Port) -> None:
    tag: object = port.tag
    if not port.vlan_mode.has_tag:
        if tag is not None:
            raise InvalidOptionError(f"port {port.name}: a trunk has no VLAN tag ({tag!r})")
    elif not isinstance(tag, int) or isinstance(tag, bool) or not 0 <= tag <= _highest_tag(port):
        raise InvalidOptionError(f"port {port.name}: VLAN tag {tag!r} is not one of 0 to 4094")


def _highest_tag(port: Port) -> int:
    leads_away = port.external_ids.get(names.PURPOSE_KEY) == names.MIRROR
    return NOBODYS_TAG if leads_away else NOBODYS_TAG - 1


class EnsurePort:
    """Make a port, or put right what is there of it."""

    def __init__(self, port: Port, *, owner: str, serial: int, device: int | None) -> None:
        """Prepare.

        Args:
            port: what is wanted.
            owner: our mark.
            serial: a number that no other plan has; it names the new rows.
            device: the kernel's index of the device to plug in; None for internal ports, and
                where it is not known.
        """
        self._port = port
        self._owner = owner
        self._serial = serial
        self._device = None if port.internal or port.tunnel is not None else device
        self.made = False
        """Rows were inserted by this plan."""

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations.

        Raises:
            ConflictError: something else has that name, or the OpenFlow port number.
            UnavailableError: there is no such bridge.
        """
        port = self._port
        bridge = replica.named("Bridge", port.bridge)
        if bridge is None:
            raise UnavailableError(
                f"Open vSwitch has no bridge {port.bridge} for port {port.name}; "
                f"if it is yours, make it again: ovs-vsctl add-br {port.bridge}"
            )
        self._refuse_taken_number(replica, bridge)
        row = replica.named("Port", port.name)
        if row is None:
            if replica.named("Interface", port.name) is not None:
                raise self._taken("an interface of another port")
            self.made = True
            return self._insertion(bridge)
        if is_local(replica, row) or not is_ours(row, self._owner):
            raise self._taken("a port that is not ours")
        holder = replica.holder("Bridge", "ports", row["_uuid"])
        interface = interface_of(replica, row)
        if holder is bridge and interface is not None and interface["type"] == self._type:
            return self._corrections(replica, row, interface)
        self.made = True
        removal = [mutate(holder, "Bridge", delete("ports", [row]))] if holder else []
        return [*removal, *self._insertion(bridge)]

    def there(self, replica: Replica) -> bool:
        """Whether the port is ours and plugged in as it should be, so that it can be changed."""
        row = port_in_place(replica, self._port.name, self._port.bridge, self._owner)
        interface = interface_of(replica, row) if row is not None else None
        return interface is not None and interface["type"] == self._type

    @property
    def _type(self) -> str:
        tunnel = self._port.tunnel
        return tunnel.kind if tunnel is not None else "internal" if self._port.internal else ""

    def _taken(self, by: str) -> ConflictError:
        name = self._port.name
        return ConflictError(
            f"Open vSwitch has {by} with the name {name} already, which we do not touch; "
            f"look at it with: ovs-vsctl list Port {shlex.quote(name)}"
        )

    def _wanted_interface(self) -> dict[str, Any]:
        port = self._port
        columns: dict[str, Any] = {}
        if port.mac is not None:
            columns["mac"] = names.mac_text(port.mac)
        if port.mtu is not None:
            columns["mtu_request"] = port.mtu
        return columns

    def _options(self) -> dict[str, str]:
        tunnel = self._port.tunnel
        if tunnel is None:
            return {}
        session = {"erspan_ver": "1", "key": "1"} if tunnel.kind == "erspan" else {}
        return {"remote_ip": str(tunnel.remote), **session}

    def _wanted_port(self) -> dict[str, Any]:
        port = self._port
        return {
            "vlan_mode": port.vlan_mode.value,
            "tag": port.tag,
            "trunks": set(port.trunks),
            # with a list, frames without a tag need 0 in it; without one, all may come
            "cvlans": {NO_TAG, *port.cvlans} if port.cvlans else set(),
            "protected": port.protected,
        }

    def _other_config(self) -> dict[str, str]:
        tunnels = self._port.vlan_mode is VlanMode.DOT1Q_TUNNEL
        tree = self._port.tree
        return {
            **({"qinq-ethtype": "802.1ad"} if tunnels else {}),
            **(tree_config(tree) if tree is not None else {}),
        }

    def _refuse_taken_number(self, replica: Replica, bridge: Row) -> None:
        number = self._port.ofport
        if number is None:
            return
        for uuid in bridge["ports"]:
            other = replica.row("Port", uuid)
            if other is None or other["name"] == self._port.name:
                continue
            for interface in filter(None, map(_interface(replica), other["interfaces"])):
                if number in (interface["ofport"], interface["ofport_request"]):
                    raise ConflictError(
                        f"ovs.ofport={number}: bridge {self._port.bridge} has that OpenFlow port "
                        f"already, it is {interface['name']}; choose another number"
                    )

    def _wanted_ids(self) -> dict[str, str]:
        ids = dict(self._port.external_ids)
        ids[names.OWNER_KEY] = self._owner
        return ids

    def _device_ids(self) -> dict[str, str]:
        return {} if self._device is None else {DEVICE_KEY: str(self._device)}

    def _insertion(self, bridge: Row) -> list[Operation]:
        port, ids = self._port, self._wanted_ids()
        interface_name, port_name = f"interface{self._serial}", f"port{self._serial}"
        interface = {
            "name": port.name,
            "type": self._type,
            "external_ids": to_map({**ids, **self._device_ids()}),
            **self._wanted_interface(),
        }
        if port.ofport is not None:
            interface["ofport_request"] = port.ofport
        if options := self._options():
            interface["options"] = to_map(options)
        row = {
            "name": port.name,
            "interfaces": ["named-uuid", interface_name],
            "external_ids": to_map(ids),
            "other_config": to_map(self._other_config()),
            **{name: as_value(value) for name, value in self._wanted_port().items()},
        }
        return [
            insert("Interface", interface, interface_name),
            insert("Port", row, port_name),
            mutate(bridge, "Bridge", ["ports", "insert", ["named-uuid", port_name]]),
        ]

    def _corrections(self, replica: Replica, row: Row, interface: Row) -> list[Operation]:
        ids = self._wanted_ids()
        wanted = self._wanted_port()
        return [
            *update(row, "Port", wanted),
            *turn(row, wanted),
            *add_pairs(row, "Port", "other_config", self._other_config()),
            *add_ids(row, "Port", ids),
            *update(interface, "Interface", self._replug(replica, interface)),
            *add_ids(interface, "Interface", {**ids, **self._device_ids()}),
            *add_pairs(interface, "Interface", "options", self._options()),
        ]

    def _replug(self, replica: Replica, interface: Row) -> dict[str, Any]:
        """Return the Interface's columns, its device opened anew if need be."""
        wanted = self._wanted_interface()
        if self._port.moves or self._port.tunnel is not None:
            return wanted  # opened anew it would be gone from its container
        return wanted | reopening(replica, interface, self._device, number=self._port.ofport)


class RemovePort:
    """Remove a port of ours."""

    def __init__(self, name: str, *, owner: str) -> None:
        self._name = name
        self._owner = owner

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operation; none if there is no such port of ours."""
        row = replica.named("Port", self._name)
        if row is None or not is_ours(row, self._owner) or is_local(replica, row):
            return []
        holder = replica.holder("Bridge", "ports", row["_uuid"])
        # its Interface goes with it: rows that nothing refers to are collected by the server
        return [mutate(holder, "Bridge", delete("ports", [row]))] if holder else []


class SettleRequest:
    """Put the number that the user wants, or none, where that of a replugged port was."""

    def __init__(self, name: str, *, owner: str, number: int | None) -> None:
        self._name = name
        self._owner = owner
        self._number = number

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operation; none if there is nothing to change."""
        row = replica.named("Interface", self._name)
        if row is None or not is_ours(row, self._owner):
            return []
        return update(row, "Interface", {"ofport_request": self._number})


def _interface(replica: Replica) -> Callable[[str], Row | None]:
    return lambda uuid: replica.row("Interface", uuid)


def reopening(
    replica: Replica, interface: Row, device: int | None, *, number: int | None = None
) -> dict[str, Any]:
    """Return the column of an Interface that makes vswitchd open its device anew, if needed.

    A device that was deleted and made again keeps its ``ofport``, shows its new ``ifindex``
    and no error, and carries nothing: vswitchd still holds the dead one (measured with 3.5,
    userspace datapath). A request for another port number makes it close and open; otherwise
    ``number`` is requested, or none.
    """
    ofport, request = interface["ofport"], interface["ofport_request"]
    if request not in (None, ofport) and number in (None, request, ofport):
        return {}  # on its way, from a call that was cut short
    if ofport is not None and ofport > 0 and _is_stale(interface, device):
        return {"ofport_request": _unused_number(replica)}
    return {"ofport_request": number}


def _is_stale(interface: Row, device: int | None) -> bool:
    if not interface["ifindex"]:
        return True
    plugged = interface["external_ids"].get(DEVICE_KEY)
    return device is not None and plugged != str(device)


def _unused_number(replica: Replica) -> int:
    used = {row[column] for row in replica.rows("Interface") for column in _NUMBERS}
    return next(number for number in range(_HIGHEST_REPLUG, 0, -1) if number not in used)
