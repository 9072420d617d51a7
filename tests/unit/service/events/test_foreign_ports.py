"""Ports of others on our bridges."""

from collections.abc import Iterable

from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.service.events.foreign_ports import ForeignPorts
from tests.fakes.journal import FakeJournal
from tests.unit.service.conftest import Host


def test_nothing_is_told_where_there_is_nothing(host: Host) -> None:
    journal = FakeJournal()
    ForeignPorts(state=host.state, switch=host.switch, journal=journal).look()
    assert journal.told == []


async def test_they_are_told_when_they_come_and_go(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    journal = FakeJournal()
    watch = ForeignPorts(state=host.state, switch=host.switch, journal=journal)
    bridge = host.state.networks()[0].segment.bridge

    def put(*ports: str) -> None:
        for each in host.switch.bridges()[bridge].ports:
            if not each.external_ids:
                host.switch.drop_port(each.name)
        for name in ports:
            host.switch.put_port(ObservedPort(name=name, bridge=bridge, tag=None))

    def told() -> Iterable[tuple[str, str]]:
        found = [(each.action, each.attributes["port"]) for each in journal.told]
        journal.told.clear()
        return found

    put("tap1")
    watch.look()
    assert told() == []  # what there was before us is nothing new
    put("tap1", "tap2")
    watch.look()
    assert told() == [("appeared", "tap2")]
    watch.look()
    assert told() == []
    put("tap2")
    watch.look()
    assert told() == [("gone", "tap1")]


async def test_what_comes_at_once_after_a_bridge_of_ours_is_told(host: Host) -> None:
    journal = FakeJournal()
    watch = ForeignPorts(state=host.state, switch=host.switch, journal=journal)
    watch.look()
    await host.create_network()
    bridge = host.state.networks()[0].segment.bridge
    host.switch.put_port(ObservedPort(name="tap1", bridge=bridge, tag=None))
    watch.look()
    assert [(each.action, each.attributes["port"]) for each in journal.told] == [
        ("appeared", "tap1")
    ]
