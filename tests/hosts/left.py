"""All that a test could leave behind on a fleet: on its hosts, and in OVN's databases."""

from ovsdriver.domain.records.segments import INTEGRATION_BRIDGE
from tests.e2e import snapshot
from tests.e2e.snapshot import Snapshot
from tests.e2e.world import until
from tests.hosts.central import NORTH, SOUTH
from tests.hosts.fleet import Fleet, at_once
from tests.hosts.host import Host

_SOUTHBOUND = (("Port_Binding", "logical_port"), ("Chassis", "name"), ("DNS", "records"))
"""Tables, and the column that is compared: what else is there follows from the other database."""


def take(fleet: Fleet) -> Snapshot:
    """Return the state of the hosts and of the databases."""
    found: dict[str, list[str]] = {}
    for host, parts in zip(fleet.hosts, at_once(_of_host, fleet.hosts), strict=True):
        found |= {f"{host.system_id} {part}": lines for part, lines in parts.items()}
    north = fleet.leader(NORTH)
    # NB_Global and Connection say how far everybody is
    found["northbound"] = sorted(
        line
        for line in snapshot.rows(north, NORTH.socket, NORTH.schema)
        if not line.startswith(("NB_Global", "Connection"))
    )
    south = fleet.leader(SOUTH)
    for table, column in _SOUTHBOUND:
        place = (SOUTH.socket, SOUTH.schema, table, "_uuid", column)
        found[f"southbound {table}"] = sorted(snapshot.rows(south, *place))
    return found


def settled(fleet: Fleet) -> bool:
    """Whether no host has a link that waits for its deletion."""
    return all(at_once(snapshot.settled, fleet.hosts))


def wait_for(fleet: Fleet, before: Snapshot, what: str) -> None:
    """Wait until a fleet is as it was before ``what``; the difference is the failure's text."""
    last: list[str] = []

    def same() -> bool:
        last[:] = [snapshot.difference(before, take(fleet))]
        return not last[0]

    until(same, lambda: f"all is as before {what}\n{last[0]}", timeout_s=60)


def _of_host(host: Host) -> Snapshot:
    taken = snapshot.take(host, foreign=INTEGRATION_BRIDGE)
    return {**taken, "switch": [line for line in taken["switch"] if not _is_of_ovn(line)]}


def _is_of_ovn(line: str) -> bool:
    """Whether it speaks of what ovn-controller and vswitchd keep to themselves; ports are not."""
    bridge = line.startswith("Bridge") and f'"name": "{INTEGRATION_BRIDGE}"' in line
    return bridge or line.startswith("Datapath")
