"""Changes that are taken back by themselves."""

from collections.abc import Sequence

import pytest

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options import changed_options, timed
from ovsdriver.domain.records.options.timed import Spell
from ovsdriver.errors import InvalidOptionError
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

WEB = EndpointId(FIRST)
DOWN = OtherOptions(typed={"ovs.link": "down"})


@pytest.fixture
async def lab(host: Host) -> Host:
    await host.create_network()
    await host.run_container(FIRST, sandbox="/netns/one")
    return host


async def up(host: Host) -> bool:
    return (await host.links.links())[names.host_link(WEB)].up


def noted(host: Host) -> Sequence[str]:
    return [key for key in host.state.notes() if key.startswith(timed.PREFIX)]


async def at(host: Host, now: float) -> float:
    host.clock.now = now
    return await host.changes.look()


async def test_it_is_made_and_taken_back(lab: Host) -> None:
    done = await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    assert (done.old, done.new) == ({"ovs.link": "up"}, {"ovs.link": "down"})
    assert not await up(lab)
    assert await at(lab, 30.5) == pytest.approx(0.5)
    assert not await up(lab)
    await at(lab, 31.0)
    assert await up(lab)
    assert noted(lab) == []
    record = lab.state.endpoint(WEB)
    assert record is not None
    assert record.options == {}


async def test_nothing_puts_up_a_link_that_is_to_be_down(lab: Host) -> None:
    await lab.changes.endpoint(WEB, DOWN)
    await lab.reconciler.reconcile()
    assert not await up(lab)
    lab.links.set_link(names.host_link(WEB), up=True)
    await lab.reconciler.reconcile()
    assert not await up(lab)
    assert "is up, and ovs.link=down" in str(lab.reconciler.lately)


async def test_after_a_restart_it_is_taken_back_too(lab: Host) -> None:
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    lab.clock.now = 100.0
    again = await lab.restart()
    try:
        assert not await up(again)
        await again.changes.look()
        assert await up(again)
    finally:
        await again.stop()


async def test_the_last_command_about_an_option_holds(lab: Host) -> None:
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    await lab.changes.endpoint(WEB, DOWN)
    assert noted(lab) == []
    await at(lab, 40.0)
    assert not await up(lab)


async def test_who_prolongs_it_gets_back_what_was_before_the_first(lab: Host) -> None:
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    lab.clock.now = 20.0
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    await at(lab, 40.0)
    assert not await up(lab)
    await at(lab, 50.0)
    assert await up(lab)


async def test_two_options_have_their_own_times(lab: Host) -> None:
    vlan = OtherOptions(typed={"ovs.vlan": "7"})
    await lab.changes.endpoint(WEB, vlan, Spell(for_s=60))
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    await at(lab, 31.0)
    record = lab.state.endpoint(WEB)
    assert record is not None
    assert (await up(lab), record.port.vlan) == (True, 7)
    await at(lab, 61.0)
    record = lab.state.endpoint(WEB)
    assert record is not None
    assert (record.port.vlan, noted(lab)) == (None, [])


async def test_what_was_typed_before_comes_back(lab: Host) -> None:
    await lab.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.icc": "false"}))
    other = OtherOptions(typed={"ovs.icc": "true"})
    await lab.changes.network(NetworkId(RED), other, Spell(for_s=5))
    await at(lab, 6.0)
    network = lab.state.network(NetworkId(RED))
    assert network is not None
    assert (network.options, network.icc) == ({"ovs.icc": "false"}, False)


async def test_it_comes_again_and_again_until_somebody_says_otherwise(lab: Host) -> None:
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=2, every_s=10))
    for now, there in ((2.9, False), (3.0, True), (10.9, True), (11.0, False), (33.0, True)):
        await at(lab, now)
        assert await up(lab) == there, now
    await lab.changes.endpoint(WEB, OtherOptions(typed={"ovs.link": ""}))
    await at(lab, 41.0)
    assert await up(lab)


async def test_what_is_refused_leaves_what_was_noted(lab: Host) -> None:
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    both = OtherOptions(typed={"ovs.link": "up", "ovs.burst": "1mb"})
    with pytest.raises(InvalidOptionError, match=r"ovs\.burst needs ovs\.rate"):
        await lab.changes.endpoint(WEB, both, Spell(for_s=5))
    assert len(noted(lab)) == 1
    await at(lab, 31.0)
    assert await up(lab)


async def test_a_container_that_is_gone_leaves_no_note(lab: Host) -> None:
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    await lab.endpoints.leave(RED, WEB)
    await lab.endpoints.delete(RED, WEB)
    await at(lab, 31.0)
    assert noted(lab) == []


async def test_what_is_for_a_while_is_not_kept_for_the_next_start(lab: Host) -> None:
    lab.engine.add_endpoint(WEB, RED, "web")
    both = OtherOptions(typed={"ovs.link": "down"})
    await lab.changes.endpoint(WEB, both, Spell(for_s=30))
    await lab.kept.look()
    assert not [key for key in lab.state.notes() if key.startswith(changed_options.PREFIX)]


async def test_a_clock_that_was_set_back_does_not_take_it_back_early(lab: Host) -> None:
    lab.clock.now = 1000.0
    await lab.changes.endpoint(WEB, DOWN, Spell(for_s=30))
    await at(lab, 500.0)
    assert not await up(lab)
    await at(lab, 1030.0)
    assert await up(lab)
