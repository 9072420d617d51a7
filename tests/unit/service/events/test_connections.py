"""Open vSwitch and Docker come and go."""

from ovsdriver.service.events.connections import Connections
from tests.fakes.journal import FakeJournal
from tests.unit.service.conftest import Host


def test_open_vswitch_is_told_of_both_ways(host: Host) -> None:
    journal = FakeJournal()
    host.switch.connection_callbacks.clear()
    Connections(switch=host.switch, witness=host.witness, journal=journal)
    for connected in (True, False):
        for callback in host.switch.connection_callbacks:
            callback(connected)
    assert [f"{e.type}.{e.action}" for e in journal.told] == ["switch.connected", "switch.lost"]
