"""Uplinks as plans: NICs of the host as a port of a bridge, a trunk of the VLANs in use. Pure."""

import shlex
from collections.abc import Mapping, Sequence

from ovsdriver.adapters.ovs.rows.ports import Plugging
from ovsdriver.adapters.ovs.rows.rows import Wanted, check_name
from ovsdriver.adapters.ovsdb import Replica, Row
from ovsdriver.domain.wires.plumbing import UplinkPort
from ovsdriver.errors import ConflictError, InvalidOptionError


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


class EnsureUplink(Plugging[UplinkPort]):
    """A port with NICs of the host as its interfaces."""

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

    def _fits(self, interfaces: Sequence[Row]) -> bool:
        return {each["name"] for each in interfaces} == set(self._port.nics)

    def _port_row(self) -> Wanted:
        port = self._port
        columns = {
            "name": port.name,
            "vlan_mode": "trunk",
            "tag": None,
            "trunks": set(port.trunks),
            "bond_mode": port.bond.value if port.bond else None,
            "lacp": port.lacp.value if port.bond else None,
        }
        return Wanted("Port", columns, {"external_ids": self._ids})

    def _interface_rows(self) -> Mapping[str, Wanted]:
        return {
            nic: Wanted("Interface", {"name": nic}, {"external_ids": self._device_ids(nic)})
            for nic in self._port.nics
        }
