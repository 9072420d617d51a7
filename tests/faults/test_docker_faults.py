"""dockerd ends, or the host, while users are at work; what they and everybody else have then."""

import re
from collections.abc import Callable, Iterator
from random import Random
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from tests.e2e import image
from tests.e2e.bed import Bed
from tests.e2e.stage import Container
from tests.e2e.traffic import Place
from tests.e2e.wire import Wire, pools
from tests.e2e.world import Program, until
from tests.faults import inflicted
from tests.faults.haste import hasty_bed
from tests.faults.lab import ADDRESSES, NETWORKS, Lab, standing
from tests.faults.load import Load

pytestmark = pytest.mark.docker

SEED = 29
PINGS_LOST = 2
"""At most, of a stream of ten a second: the machine has others on it."""


@pytest.fixture(scope="module")
def plain() -> Iterator[Lab]:
    """A lab whose containers end with dockerd."""
    with hasty_bed() as bed, standing(bed) as lab:
        yield lab


@pytest.fixture(scope="module")
def restoring() -> Iterator[Lab]:
    """A lab whose containers live on without dockerd."""
    with hasty_bed(docker_settings={"live-restore": True}) as bed, standing(bed) as lab:
        yield lab


ENDS = [pytest.param(SIGTERM, id="SIGTERM"), pytest.param(SIGKILL, id="SIGKILL")]


def under_load(lab: Lab, fault: Callable[[Bed, Random], None], permitted: str) -> None:
    """Do a fault while users work; assert what they may read, and that all agree afterwards."""
    lab.bed.revive()
    heard = len(lab.bed.plugin.said())
    with Load(lab.bed, NETWORKS, seed=SEED) as load:
        until(lambda: load.done >= 4, "users are at work")
        fault(lab.bed, Random(SEED))  # noqa: S311 - the same again for the same seed
        lab.start_again()
        done = load.done
        until(lambda: load.done >= done + 6, "users go on", timeout_s=120)
    try:
        assert load.refused(permitted) == []
        lab.agrees()
        lab.talks()
        assert lab.crashed(heard) == []
    finally:
        lab.clear()
    lab.agrees()
    for container in (lab.ann, lab.bob):
        assert container.address(lab.one) == ADDRESSES[container.name]


@pytest.mark.parametrize("end", ENDS)
def test_containers_of_a_dockerd_that_ended_are_started_again(plain: Lab, end: Signals) -> None:
    do = inflicted.dockerd_restarted if end is SIGTERM else inflicted.dockerd_killed
    under_load(plain, do, inflicted.NO_DAEMON)


def test_a_dockerd_that_starts_before_us_waits(plain: Lab) -> None:
    permitted = f"{inflicted.NO_DAEMON}|{inflicted.CUT_AND_FORGOTTEN}"
    under_load(plain, inflicted.plugin_after_dockerd, permitted)


def test_after_a_reboot_containers_come_back_with_their_addresses(plain: Lab) -> None:
    begun = {each.name: each.endpoint(plain.one)["EndpointID"] for each in (plain.ann, plain.bob)}
    under_load(plain, inflicted.host_rebooted, inflicted.REBOOTED)
    for each in (plain.ann, plain.bob):
        assert each.endpoint(plain.one)["EndpointID"] != begun[each.name]


def test_an_address_that_only_an_ended_container_names_is_collected(restoring: Lab) -> None:
    """As of a dockerd that was killed between the end and the next start of a container.

    Engine 26 goes on naming the address of a container that ended while it was away; 28 releases
    it, and names it no more.
    """
    bed, (pool,) = restoring.bed, (each for each in pools(restoring.bed) if "10.77.1." in str(each))
    command = ("run", "--detach", "--name", "cat", "--network", "one", "--ip", "10.77.1.99")
    bed.docker(*command, image.NAME, "sleep", "1000")
    pid = Container(bed, "cat").pid
    bed.dockerd.stop(SIGKILL)
    bed.run("kill", "-9", str(pid))
    bed.start_docker()
    until(lambda: not Container(bed, "cat").running, "dockerd knows that it has ended")
    named = "10.77.1.99" if bed.engine < 28 else ""
    until(lambda: Container(bed, "cat").address(restoring.one) == named, f"it has {named!r}")
    Wire(bed).request_address(pool["pool"]["id"], "10.77.1.99")
    restoring.agrees()
    restoring.clear()


@pytest.mark.parametrize("end", ENDS)
def test_with_live_restore_containers_notice_nothing(restoring: Lab, end: Signals) -> None:
    lab = restoring
    do = inflicted.dockerd_restarted if end is SIGTERM else inflicted.dockerd_killed
    begun = {each.name: each.pid for each in (lab.ann, lab.bob)}
    to = lab.bob.address(lab.one)
    ping = Program(lab.bed, "ping", "ping", "-q", "-n", "-i", "0.1", to, netns=lab.ann.netns)
    ping.start()
    assert Place(lab.bed, "ann", lab.ann.netns).pings(to)
    under_load(lab, do, inflicted.NO_DAEMON)
    ping.stop(SIGINT)
    assert {each.name: each.pid for each in (lab.ann, lab.bob)} == begun
    sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+)", ping.said())[-1])
    assert sent > 50
    assert sent - received <= PINGS_LOST
