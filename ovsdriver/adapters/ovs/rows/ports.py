"""Ports as plans: operations from what the replica shows to what is wanted. Pure.

A plan is asked between two transactions, perhaps several times (see ``ovsdb.commit``).
"""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from ovsdriver.adapters.ovs.rows.rows import (
    NO_TAG,
    Wanted,
    check_name,
    integration_bridge,
    interfaces_of,
    is_local,
    is_ours,
    port_in_place,
    tree_config,
    turn,
)
from ovsdriver.adapters.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovsdb.tables.writing import delete, mutate
from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.port_options import VlanMode
from ovsdriver.domain.wires.mirroring import NOBODYS_TAG
from ovsdriver.domain.wires.plumbing import HIGHEST_OFPORT, Port, Tunnel, UplinkPort
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
    lowest = 0 if port.tag == 0 or port.peer else 1
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


_P = TypeVar("_P", bound=Port | UplinkPort)


class Plugging(ABC, Generic[_P]):
    """Makes a port of ours with its interfaces, or puts right what is there of it."""

    def __init__(
        self, port: _P, *, owner: str, serial: int, devices: Mapping[str, int | None]
    ) -> None:
        """Prepare.

        Args:
            port: what is wanted.
            owner: our mark.
            serial: a number that no other plan has; it names the new rows.
            devices: the kernel's index of each device to plug in, where it is known.
        """
        self._port = port
        self._name, self._bridge = port.name, port.bridge
        self._owner = owner
        self._serial = serial
        self._devices = devices
        self._ids = {**port.external_ids, names.OWNER_KEY: owner}
        self.made = False
        """Rows were inserted by this plan."""

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations.

        Raises:
            ConflictError: others have its name, an interface, or the OpenFlow port number.
            UnavailableError: there is no such bridge.
        """
        bridge = replica.named("Bridge", self._bridge)
        if bridge is None:
            raise UnavailableError(
                f"Open vSwitch has no bridge {self._bridge} for port {self._name}; "
                f"if it is yours, make it again: ovs-vsctl add-br {self._bridge}"
            )
        row = replica.named("Port", self._name)
        if row is not None and (is_local(replica, row) or not is_ours(row, self._owner)):
            raise self._taken("a port that ovsnet did not make")
        self._refuse_used(replica, row)
        holder = replica.holder("Bridge", "ports", row["_uuid"]) if row else None
        number = None
        if row is not None and holder is bridge and self._fits(interfaces_of(replica, row)):
            number = self._replacing(replica, row)
            if number is None:
                return self._corrections(replica, row)
        self.made = True
        removal = [mutate(holder, "Bridge", delete("ports", [row]))] if holder and row else []
        made = self._insertion(bridge, number)
        return [*removal, *self._clients_before(replica, bridge), *made]

    def _replacing(self, replica: Replica, row: Row) -> int | None:
        """Return the OpenFlow port number to request of a new row; None: the old one will do.

        A name server is behind a logical port that every host has (``localport``). That the number
        of such a row has changed, OVN's controller does not notice (25.03); and vswitchd does not
        notice that a row is new if its name and its number are not.
        """
        if self._ids.get(names.PURPOSE_KEY) != names.NAME_SERVER:
            return None
        for interface in interfaces_of(replica, row):
            if _is_dead(interface, self._devices.get(interface["name"])):
                return _unused_number(replica)
        return None

    def _clients_before(self, replica: Replica, bridge: Row) -> list[Operation]:
        """Return what removes other ports of ours with the same client (``iface-id``).

        They were left by calls that failed. Of two, OVN would bind now one, now the other.
        """
        client = self._ids.get(names.CLIENT_KEY)
        if client is None or bridge["name"] != integration_bridge(replica):
            return []
        rows = (replica.row("Port", uuid) for uuid in bridge["ports"])
        left = [
            row
            for row in rows
            if row is not None
            and row["name"] != self._name
            and is_ours(row, self._owner)
            and row["external_ids"].get(names.CLIENT_KEY) == client
        ]
        return [mutate(bridge, "Bridge", delete("ports", left))] if left else []

    def there(self, replica: Replica) -> bool:
        """Whether the port is ours and plugged in as it should be, so that it can be changed."""
        row = port_in_place(replica, self._name, self._bridge, self._owner)
        return row is not None and self._fits(interfaces_of(replica, row))

    @abstractmethod
    def _refuse_used(self, replica: Replica, row: Row | None) -> None:
        """Raise ConflictError if others have what it needs; ``row`` is what there is of it."""

    @abstractmethod
    def _fits(self, interfaces: Sequence[Row]) -> bool:
        """Whether these are its interfaces, so that they need not be made anew."""

    @abstractmethod
    def _port_row(self) -> Wanted: ...

    @abstractmethod
    def _interface_rows(self) -> Mapping[str, Wanted]:
        """Return them by name."""

    def _number(self, replica: Replica, interface: Row) -> int | None:
        """Return the OpenFlow port number to request for an interface that is there."""
        return reopening(replica, interface, self._devices.get(interface["name"]))

    def _taken(self, by: str) -> ConflictError:
        return ConflictError(
            f"Open vSwitch has {by} named {self._name} already; look at it with: ovs-vsctl list "
            f"Port {shlex.quote(self._name)}"
        )

    def _device_ids(self, name: str) -> dict[str, str]:
        device = self._devices.get(name)
        return self._ids if device is None else {**self._ids, DEVICE_KEY: str(device)}

    def _insertion(self, bridge: Row, number: int | None) -> list[Operation]:
        request = {} if number is None else {"ofport_request": number}
        interfaces = [
            replace(wanted, columns=wanted.columns | request).insertion(
                f"interface{self._serial}x{n}"
            )
            for n, wanted in enumerate(self._interface_rows().values())
        ]
        references = [["named-uuid", each["uuid-name"]] for each in interfaces]
        port = self._port_row().insertion(f"port{self._serial}", interfaces=["set", references])
        entry = ["ports", "insert", ["named-uuid", port["uuid-name"]]]
        return [*interfaces, port, mutate(bridge, "Bridge", entry)]

    def _corrections(self, replica: Replica, row: Row) -> list[Operation]:
        port, wanted = self._port_row(), self._interface_rows()
        operations = [*port.corrections(row), *turn(row, port.columns)]
        for interface in interfaces_of(replica, row):
            if each := wanted.get(interface["name"]):
                number = {"ofport_request": self._number(replica, interface)}
                operations += replace(each, columns=each.columns | number).corrections(interface)
        return operations


class EnsurePort(Plugging[Port]):
    """A port with one interface, for a container, the host or a tunnel."""

    def _refuse_used(self, replica: Replica, row: Row | None) -> None:
        if row is None and replica.named("Interface", self._name) is not None:
            raise self._taken("an interface of another port")
        number, bridge = self._port.ofport, replica.named("Bridge", self._bridge)
        if number is None or bridge is None:
            return
        for uuid in bridge["ports"]:
            other = replica.row("Port", uuid)
            if other is None or other["name"] == self._name:
                continue
            for interface in interfaces_of(replica, other):
                if number in (interface["ofport"], interface["ofport_request"]):
                    raise ConflictError(
                        f"ovs.ofport={number}: {interface['name']} of bridge {self._bridge} has "
                        "that OpenFlow port already; choose another number"
                    )

    def _fits(self, interfaces: Sequence[Row]) -> bool:
        wanted = (self._name, self._type)
        return any((each["name"], each["type"]) == wanted for each in interfaces)

    @property
    def _type(self) -> str:
        port = self._port
        if port.tunnel is not None:
            return port.tunnel.kind
        return "patch" if port.peer else "internal" if port.internal else ""

    def _port_row(self) -> Wanted:
        port = self._port
        columns = {
            "name": port.name,
            "vlan_mode": port.vlan_mode.value,
            "tag": port.tag,
            "trunks": set(port.trunks),
            # with a list, frames without a tag need 0 in it; without one, all may come
            "cvlans": {NO_TAG, *port.cvlans} if port.cvlans else set(),
            "protected": port.protected,
        }
        tunnels = port.vlan_mode is VlanMode.DOT1Q_TUNNEL
        config = {
            **({"qinq-ethtype": "802.1ad"} if tunnels else {}),
            **(tree_config(port.tree) if port.tree is not None else {}),
        }
        return Wanted("Port", columns, {"other_config": config, "external_ids": self._ids})

    def _interface_rows(self) -> Mapping[str, Wanted]:
        port = self._port
        columns: dict[str, Any] = {
            "name": port.name,
            "type": self._type,
            "ofport_request": port.ofport,
        }
        if port.mac is not None:
            columns["mac"] = names.mac_text(port.mac)
        if port.mtu is not None:
            columns["mtu_request"] = port.mtu
        maps = {"external_ids": self._device_ids(port.name), "options": _options(port)}
        return {port.name: Wanted("Interface", columns, maps)}

    def _number(self, replica: Replica, interface: Row) -> int | None:
        port, present = self._port, interface["ofport_request"]
        if port.moves or port.tunnel is not None or port.peer:
            return None if present is None else int(present)  # or it would be gone
        device = self._devices.get(port.name)
        return reopening(replica, interface, device, number=port.ofport)


def _options(port: Port) -> dict[str, str]:
    tunnel: Tunnel | None = port.tunnel
    if tunnel is None:
        return {"peer": port.peer} if port.peer else {}
    session = {"erspan_ver": "1", "key": "1"} if tunnel.kind == "erspan" else {}
    return {"remote_ip": str(tunnel.remote), **session}


class ChangeTogether:
    """Puts right the ports that are there; those that are not are left to who makes them.

    Several ports change at once: no frame meets half of them in the old VLAN.
    """

    def __init__(self, plans: Sequence[Plugging[Any]]) -> None:
        self._plans = plans

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations, none if all is as wanted; errors as of the single plans."""
        return [
            operation for plan in self._plans if plan.there(replica) for operation in plan(replica)
        ]


class EnsurePatch:
    """Two ports, each the other's peer: vswitchd takes none of them without the other."""

    def __init__(self, plans: tuple[EnsurePort, EnsurePort]) -> None:
        self._plans = plans

    @property
    def made(self) -> bool:
        """Rows were inserted by this plan."""
        return any(each.made for each in self._plans)

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations; errors as of the single plans."""
        return [operation for plan in self._plans for operation in plan(replica)]


class RemoveTogether:
    """Remove ports of ours."""

    def __init__(self, ports: Sequence[str], *, owner: str) -> None:
        self._removals = [RemovePort(each, owner=owner) for each in ports]

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations; none if there are no such ports of ours."""
        return [operation for each in self._removals for operation in each(replica)]


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
        return Wanted("Interface", {"ofport_request": self._number}).corrections(row)


def reopening(
    replica: Replica, interface: Row, device: int | None, *, number: int | None = None
) -> int | None:
    """Return the ``ofport_request`` of an Interface whose device vswitchd may have to open anew.

    A device that was deleted and made again keeps its ``ofport``, shows its new ``ifindex``
    and no error, and carries nothing: vswitchd still holds the dead one (measured with 3.5,
    userspace datapath). A request for another port number makes it close and open; otherwise
    ``number`` is requested, or none.
    """
    ofport, request = interface["ofport"], interface["ofport_request"]
    if request not in (None, ofport) and number in (None, request, ofport):
        return int(request)  # on its way, from a call that was cut short
    if _is_dead(interface, device):
        return _unused_number(replica)
    return number


def _is_dead(interface: Row, device: int | None) -> bool:
    """Whether vswitchd holds a device that is there no more, or is another one by now."""
    ofport = interface["ofport"]
    return ofport is not None and ofport > 0 and _is_stale(interface, device)


def _is_stale(interface: Row, device: int | None) -> bool:
    if not interface["ifindex"]:
        return True
    plugged = interface["external_ids"].get(DEVICE_KEY)
    return device is not None and plugged != str(device)


def _unused_number(replica: Replica) -> int:
    used = {row[column] for row in replica.rows("Interface") for column in _NUMBERS}
    return next(number for number in range(_HIGHEST_REPLUG, 0, -1) if number not in used)
