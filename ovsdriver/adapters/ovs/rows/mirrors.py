"""Mirrors as a plan: those of ours on one bridge, exactly as they are wanted. Pure."""

from collections.abc import Sequence

from ovsdriver.adapters.ovs.rows.rows import Ref, Refs, Wanted, is_ours
from ovsdriver.adapters.ovsdb import Operation, Replica, Row
from ovsdriver.adapters.ovsdb.tables.writing import delete, mutate
from ovsdriver.domain.records import names
from ovsdriver.domain.wires.mirroring import Mirror
from ovsdriver.errors import ConflictError, UnavailableError


class EnsureMirrors:
    """Makes, changes and removes."""

    def __init__(self, bridge: str, mirrors: Sequence[Mirror], *, owner: str, serial: int) -> None:
        """Prepare; ``serial`` is a number that no other plan has."""
        self._bridge = bridge
        self._mirrors = {each.name: each for each in mirrors}
        self._owner = owner
        self._serial = serial

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations.

        Raises:
            ConflictError: somebody else's mirror leads to one of these ports, or has a name.
            UnavailableError: there is no such bridge or port.
        """
        bridge = replica.named("Bridge", self._bridge)
        if bridge is None:
            if not self._mirrors:
                return []
            raise UnavailableError(f"Open vSwitch has no bridge {self._bridge} to be mirrored")
        present = [row for uuid in bridge["mirrors"] if (row := replica.row("Mirror", uuid))]
        ours = {row["name"]: row for row in present if is_ours(row, self._owner)}
        self._refuse_others(replica, [row for row in present if not is_ours(row, self._owner)])
        operations: list[Operation] = []
        gone = [row for name, row in ours.items() if name not in self._mirrors]
        if gone:
            operations.append(mutate(bridge, "Bridge", delete("mirrors", gone)))
        for number, mirror in enumerate(self._mirrors.values()):
            row, wanted = ours.get(mirror.name), self._row(replica, mirror)
            if row is not None:
                operations += wanted.corrections(row)
                continue
            name = f"mirror{self._serial}x{number}"
            operations.append(wanted.insertion(name))
            operations.append(mutate(bridge, "Bridge", ["mirrors", "insert", ["named-uuid", name]]))
        return operations

    def _refuse_others(self, replica: Replica, others: Sequence[Row]) -> None:
        for mirror in self._mirrors.values():
            for row in others:
                output = replica.row("Port", row["output_port"] or "")
                if row["name"] == mirror.name or (output and output["name"] == mirror.output):
                    raise ConflictError(
                        f"mirror {row['name']} of bridge {self._bridge} leads to port "
                        f"{mirror.output} too, and ovsnet did not make it; remove it: ovs-vsctl -- "
                        f"--id=@m get mirror {row['name']} -- remove bridge {self._bridge} mirrors "
                        "@m"
                    )

    def _row(self, replica: Replica, mirror: Mirror) -> Wanted:
        rows = [replica.named("Port", each) for each in mirror.ports]
        selected = Refs(row["_uuid"] for row in rows if row is not None)
        if mirror.ports and not selected:
            raise UnavailableError(
                f"Open vSwitch has no port {mirror.ports[0]} for a mirror; try again"
            )
        columns = {
            "name": mirror.name,
            "select_all": not mirror.ports,
            "select_vlan": set() if mirror.vlan is None else {int(mirror.vlan)},
            "select_src_port": selected,
            "select_dst_port": selected,
            "output_port": _port(replica, mirror.output),
        }
        ids = {**mirror.external_ids, names.OWNER_KEY: self._owner}
        return Wanted("Mirror", columns, {"external_ids": ids})


def _port(replica: Replica, name: str) -> Ref:
    row = replica.named("Port", name)
    if row is None:
        raise UnavailableError(f"Open vSwitch has no port {name} for a mirror; try again")
    return Ref(row["_uuid"])
