"""The replica's rows as the services see them."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from ovsdriver.adapters.ovs.rows import features
from ovsdriver.adapters.ovs.rows.rows import (
    NO_TAG,
    datapath_of,
    integration_bridge,
    interfaces_of,
    is_ours,
    tree_of,
)
from ovsdriver.adapters.ovsdb import Replica, Row
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedMirror, ObservedPort


class ReplicaView:
    """Reads bridges and ports off one replica; what did not change is not built again."""

    def __init__(self, replica: Replica, *, owner: str) -> None:
        self._replica = replica
        self._owner = owner
        self._ports: dict[str, tuple[Row, Sequence[Row], ObservedPort]] = {}
        self._bridges: Mapping[str, ObservedBridge] = {}
        self._version = -1

    def bridges(self) -> Mapping[str, ObservedBridge]:
        """Return every bridge with its ports, ordered by name."""
        if self._version != self._replica.version:
            rows = sorted(self._replica.rows("Bridge"), key=lambda row: str(row["name"]))
            self._bridges = MappingProxyType(
                {row["name"]: self._bridge(row, self._ports_of(row)) for row in rows}
            )
            alive = {uuid for row in rows for uuid in row["ports"]}
            self._ports = {uuid: seen for uuid, seen in self._ports.items() if uuid in alive}
            self._version = self._replica.version
        return self._bridges

    def bridge(self, name: str) -> ObservedBridge | None:
        """Return one bridge without its ports."""
        row = self._replica.named("Bridge", name)
        return self._bridge(row, ()) if row else None

    def port(self, name: str) -> ObservedPort | None:
        """Return one port."""
        row = self._replica.named("Port", name)
        holder = self._replica.holder("Bridge", "ports", row["_uuid"]) if row else None
        return self._port(row, holder["name"]) if row and holder else None

    def beside_ours(self, table: str, row: Row) -> bool:
        """Whether a row is a bridge with ports of ours, or a port or interface on such a one."""
        found: Row | None = row
        if found is not None and table == "Interface":
            table, found = "Port", self._replica.holder("Port", "interfaces", found["_uuid"])
        if found is not None and table == "Port":
            table, found = "Bridge", self._replica.holder("Bridge", "ports", found["_uuid"])
        if found is None or table != "Bridge":
            return False
        ports = (self._replica.row("Port", uuid) for uuid in found["ports"])
        return any(is_ours(each, self._owner) for each in ports if each)

    def _bridge(self, row: Row, ports: tuple[ObservedPort, ...]) -> ObservedBridge:
        local = self._replica.named("Port", row["name"])
        return ObservedBridge(
            name=row["name"],
            datapath=datapath_of(row),
            owned=is_ours(row, self._owner),
            fail_mode=row["fail_mode"] or "",
            controllers=len(row["controller"]),
            integration=row["name"] == integration_bridge(self._replica),
            external_ids=MappingProxyType(row["external_ids"]),
            ports=ports,
            features=features.observed(self._replica, row),
            mirrors=self._mirrors(row),
            rstp=row["rstp_enable"],
            stp=row["stp_enable"],
            local_tag=local["tag"] if local is not None else None,
        )

    def _mirrors(self, bridge: Row) -> tuple[ObservedMirror, ...]:
        rows = (self._replica.row("Mirror", uuid) for uuid in bridge["mirrors"])
        ours = [row for row in rows if row and is_ours(row, self._owner)]
        return tuple(
            ObservedMirror(
                name=row["name"],
                output=next(iter(self._port_names([row["output_port"]])), ""),
                vlans=tuple(sorted(row["select_vlan"])),
                everything=row["select_all"],
                sources=self._port_names(row["select_src_port"]),
                destinations=self._port_names(row["select_dst_port"]),
                external_ids=MappingProxyType(row["external_ids"]),
            )
            for row in sorted(ours, key=lambda row: str(row["name"]))
        )

    def _port_names(self, uuids: Iterable[str | None]) -> tuple[str, ...]:
        rows = (self._replica.row("Port", uuid) for uuid in uuids if uuid is not None)
        return tuple(sorted(row["name"] for row in rows if row))

    def _ports_of(self, bridge: Row) -> tuple[ObservedPort, ...]:
        rows = (self._replica.row("Port", uuid) for uuid in bridge["ports"])
        found = [
            self._port(row, bridge["name"]) for row in rows if row and row["name"] != bridge["name"]
        ]
        return tuple(sorted(found, key=lambda port: port.name))

    def _port(self, row: Row, bridge: str) -> ObservedPort:
        interfaces = interfaces_of(self._replica, row)
        known = self._ports.get(row["_uuid"])
        # a row that changed is another object
        if (
            known
            and known[0] is row
            and len(known[1]) == len(interfaces)
            and all(old is new for old, new in zip(known[1], interfaces, strict=True))
            and known[2].bridge == bridge
        ):
            return known[2]
        # of a bond, one that fails speaks for all
        details = next(
            (each for each in interfaces if each["error"] or each["ofport"] == -1),
            next(iter(interfaces), {}),
        )
        port = ObservedPort(
            name=row["name"],
            bridge=bridge,
            tag=row["tag"],
            trunks=tuple(sorted(row["trunks"])),
            vlan_mode=row["vlan_mode"] or "",
            cvlans=tuple(sorted(row["cvlans"] - {NO_TAG})),
            protected=row["protected"],
            tree=tree_of(row),
            ofport=details.get("ofport"),
            ifindex=details.get("ifindex"),
            error=details.get("error") or "",
            external_ids=MappingProxyType(row["external_ids"]),
            internal=details.get("type") == "internal",
            interfaces=tuple(sorted(each["name"] for each in interfaces)),
            bond_mode=row["bond_mode"] or "",
            lacp=row["lacp"] or "",
            peer=details["options"].get("peer", "") if details.get("type") == "patch" else "",
        )
        self._ports[row["_uuid"]] = (row, interfaces, port)
        return port
