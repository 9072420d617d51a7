"""The rate of an uplink: of all networks on it, kept, and gone without a trace."""

from collections.abc import Callable
from typing import Any

import pytest

from ovsdriver.admin.networks import report
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.records.options.shaping import LinkShape, of_uplink
from ovsdriver.domain.records.segments import BondMode, Datapath
from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.errors import (
    ConflictError,
    InvalidOptionError,
    UnavailableError,
    UnsupportedError,
)
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, RED
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host

MBIT = 1_000_000


async def on_eth1(host: Host, network_id: str = RED, tag: int = 30, **options: Any) -> None:
    await host.create_network(network_id, **({"uplink": ("eth1",), "vlan": VlanTag(tag)} | options))


def rate(host: Host, nic: str = "eth1") -> int:
    shape = host.shapes.of(nic)
    assert shape in (LinkShape(), of_uplink(shape.rate, Datapath.NETDEV))
    return shape.rate


def noted(host: Host) -> list[str]:
    return [each for each in host.state.notes() if each.startswith("queues:")]


@pytest.fixture(autouse=True)
def nics(host: Host) -> None:
    for nic in ("eth1", "eth2"):
        host.links.add_link(nic)


async def test_an_uplink_without_a_rate_is_not_looked_at(host: Host) -> None:
    await on_eth1(host)
    await host.networks.delete(RED)
    assert host.shapes.calls == 0


async def test_the_smallest_rate_counts_and_goes_with_its_network(host: Host) -> None:
    await on_eth1(host, RED, 30, uplink_rate=20 * MBIT)
    await on_eth1(host, BLUE, 31, uplink_rate=10 * MBIT)
    assert rate(host) == 10 * MBIT
    (told,) = report.uplinks(report.Scene(owner="ovsnet", state=host.state, switch=host.switch))
    assert "sends 10 Mbit/s at most" in told
    await host.networks.delete(BLUE)
    assert rate(host) == 20 * MBIT
    await host.networks.delete(RED)
    assert rate(host) == 0
    assert noted(host) == []


async def test_it_is_noted_before_the_nic_is_touched(host: Host) -> None:
    on_host, seen = host.shapes.on_host, []

    async def noting(link: str, shape: LinkShape) -> bool:
        seen.append(noted(host))
        return await on_host(link, shape)

    host.shapes.on_host = noting  # type: ignore[method-assign]
    await on_eth1(host, uplink_rate=MBIT)
    assert seen == [["queues:eth1"]]


async def test_every_nic_of_a_bond_has_the_rate(host: Host) -> None:
    nics = {"uplink": ("eth1", "eth2"), "bond": BondMode.BALANCE_SLB}
    await on_eth1(host, uplink_rate=MBIT, **nics)
    assert (rate(host, "eth1"), rate(host, "eth2")) == (MBIT, MBIT)


async def test_it_changes_while_the_network_is_in_use_and_is_kept(host: Host) -> None:
    await on_eth1(host)
    await host.changes.network(RED, OtherOptions(typed={"ovs.uplink_rate": "10mbit"}))
    assert rate(host) == 10 * MBIT
    assert not (await host.reconciler.reconcile()).mended
    host.shapes.forget()
    assert "eth1" in (await host.reconciler.reconcile()).mended[0]
    assert rate(host) == 10 * MBIT
    again = await host.restart()
    try:
        assert not (await again.reconciler.reconcile()).mended
        await again.changes.network(RED, OtherOptions(typed={"ovs.uplink_rate": "none"}))
        assert rate(again) == 0
        assert noted(again) == []
    finally:
        await again.stop()


async def test_what_is_left_after_a_crash_goes(host: Host) -> None:
    await on_eth1(host)
    await host.state.put_note("queues:eth1", "")
    await host.state.put_note("queues:eth2", "")
    await host.shapes.on_host("eth2", of_uplink(MBIT, Datapath.NETDEV))
    assert len((await host.reconciler.reconcile()).mended) == 1
    assert rate(host, "eth2") == 0
    assert noted(host) == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_purge_leaves_nothing(host: Host, known: bool) -> None:
    await on_eth1(host, uplink_rate=MBIT)
    if not known:
        await host.state.forget_note("queues:eth1")
    await host.purge.run(switch_wait_s=1)
    assert rate(host) == 0


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_kernel_without_queues_and_somebody_elses_are_refused(
    host: Host, foreign: bool
) -> None:
    host.shapes.queues = foreign
    if foreign:
        host.shapes.foreign.add("eth1")
    with pytest.raises(ConflictError if foreign else UnsupportedError):
        await on_eth1(host, uplink_rate=MBIT)
    assert host.state.networks() == ()
    assert noted(host) == []


async def test_a_rate_needs_an_uplink_of_ours(host: Host) -> None:
    with pytest.raises(InvalidOptionError, match="needs an uplink"):
        await host.create_network(RED, uplink_rate=MBIT)
    host.switch.put_bridge(foreign_bridge("br-lab"))
    host.switch.put_port(
        ObservedPort(name="eth2", bridge="br-lab", tag=None, interfaces=("eth2",), ofport=1)
    )
    with pytest.raises(ConflictError, match="dev eth2"):
        await on_eth1(host, uplink=("eth2",), uplink_rate=MBIT)


async def test_nothing_stays_of_a_rate_that_could_not_be_set(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    failing(host.shapes, "on_host")
    with pytest.raises(UnavailableError):
        await on_eth1(host, uplink_rate=MBIT)
    assert host.state.networks() == ()
    assert noted(host) == []
    assert host.switch.port("eth1") is None


@pytest.mark.parametrize(
    ("datapath", "megabits", "packets"),
    [
        (Datapath.NETDEV, 1, 25),
        (Datapath.NETDEV, 10_000, 25),
        (Datapath.SYSTEM, 1, 25),
        (Datapath.SYSTEM, 120, 500),
        (Datapath.SYSTEM, 10_000, 1000),
    ],
)
def test_queues_are_short_and_more_so_on_the_userspace_datapath(
    datapath: Datapath, megabits: int, packets: int
) -> None:
    assert of_uplink(megabits * MBIT, datapath).queue == packets
