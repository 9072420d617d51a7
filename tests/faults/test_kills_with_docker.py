"""Our process is killed in one call of each kind, as a real dockerd makes it.

What dockerd does then is its own; ``test_kill_points.py`` plays it, at every point of each call.
"""

from collections.abc import Iterator

import pytest

from tests.e2e import image, snapshot
from tests.e2e.stage import Stage
from tests.e2e.world import until
from tests.faults.agreement import all_agree
from tests.faults.haste import hurried
from tests.faults.inflicted import CUT
from tests.faults.load import KINDS
from tests.faults.mortal_bed import MortalBed

pytestmark = pytest.mark.docker

CREATE = ("network", "create", *KINDS, "--subnet", "10.77.2.0/24", "two")
RUN = ("run", "--detach", "--name", "cat", "--network", "one", "--publish", "8082:80")
SLEEP = (image.NAME, "sleep", "1000")

FAILING = {
    "IpamDriver.RequestPool": ("answer", CREATE),
    "IpamDriver.RequestAddress": ("answer", CREATE),
    "NetworkDriver.CreateNetwork": ("OvsSwitch.ensure_port", CREATE),
    "NetworkDriver.CreateEndpoint": ("answer", (*RUN, *SLEEP)),
    "NetworkDriver.Join": ("answer", (*RUN, *SLEEP)),
    "NetworkDriver.ProgramExternalConnectivity": ("Nft.run", (*RUN, *SLEEP)),
}
"""Calls whose failure the user sees; the point, and what is typed."""

SILENT = {
    "NetworkDriver.RevokeExternalConnectivity": ("Nft.run", ("stop", "--time", "0", "ann")),
    "NetworkDriver.Leave": ("OvsSwitch.remove_port", ("stop", "--time", "0", "ann")),
    "NetworkDriver.DeleteEndpoint": ("OvsSwitch.remove_port", ("stop", "--time", "0", "ann")),
    "IpamDriver.ReleaseAddress": ("answer", ("stop", "--time", "0", "ann")),
    "IpamDriver.ReleasePool": ("answer", ("network", "rm", "two")),
    "NetworkDriver.DeleteNetwork": ("OVSDB committed", ("network", "rm", "two")),
}
"""Calls whose failure dockerd only logs."""


@pytest.fixture(scope="module")
def bed() -> Iterator[MortalBed]:
    with MortalBed(docker=True) as bed:
        stage = Stage(bed)
        before = snapshot.take(bed)
        one = stage.network("one", "--ipv6", "--subnet", "fd00:77:1::/64", subnet="10.77.1.0/24")
        stage.container("ann", one, "-p", "8080:80")
        stage.container("bob", one)
        yield bed
        stage.clear()
        last: list[str] = []

        def as_before() -> bool:
            last[:] = [snapshot.difference(before, snapshot.take(bed))]
            return not last[0]

        with hurried(bed):
            until(as_before, lambda: f"all is as before\n{last[0]}")


def agreed(bed: MortalBed) -> None:
    with hurried(bed):
        all_agree(bed)


@pytest.mark.parametrize("call", FAILING)
def test_a_command_that_was_cut_off_fails_with_a_sentence_and_works_the_next_time(
    bed: MortalBed, call: str
) -> None:
    point, command = FAILING[call]
    begun = bed.plugin.pid
    bed.doom(call, point)
    with bed.supervised():
        text = bed.docker_refuses(*command)
    assert bed.plugin.pid != begun, "it was killed"
    assert CUT.partition("|")[0].replace("\\", "") in text
    bed.docker("rm", "--force", "cat")
    agreed(bed)
    bed.docker(*command)
    agreed(bed)
    bed.docker(*(("network", "rm", "two") if command is CREATE else ("rm", "--force", "cat")))


@pytest.mark.parametrize("call", SILENT)
def test_what_was_cut_off_at_an_end_is_done_by_us_alone(bed: MortalBed, call: str) -> None:
    point, command = SILENT[call]
    if command[0] == "network":
        bed.docker(*CREATE)
    begun = bed.plugin.pid
    bed.doom(call, point)
    with bed.supervised():
        bed.docker(*command)
        until(lambda: bed.plugin.pid != begun, "it was killed")
    agreed(bed)
    if command[0] == "stop":
        bed.docker("start", "ann")
        agreed(bed)
