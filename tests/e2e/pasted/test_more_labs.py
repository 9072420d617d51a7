"""The labs for looking at packets, for bad lines, for students, and of routers."""

import pytest

from tests.e2e import labs
from tests.e2e.access.test_guard import arrived
from tests.e2e.bed import Bed
from tests.e2e.pasted.test_labs import _images, who
from tests.e2e.switch.test_mirrors import watching
from tests.e2e.world import CommandError, until

__all__ = ["_images"]

pytestmark = pytest.mark.docker


def test_an_ids_sees_what_a_network_carries(bed: Bed) -> None:
    with labs.up(bed, "ids.yaml") as lab:
        web, client, ids = (lab.container(name) for name in ("web", "client", "ids"))
        address = web.address(lab.network("lab"))
        with watching(bed, ids.netns, "eth0") as seen:
            until(
                lambda: client.pings(address) and f"> {address}: ICMP echo request" in seen.said(),
                seen.said,
            )
        client.reaches(address, who=who(web))


def test_a_branch_office_is_behind_a_slow_and_lossy_line(bed: Bed) -> None:
    if not netem(bed):
        with pytest.raises(CommandError, match="modprobe sch_netem"), labs.up(bed, "wan.yaml"):
            pass
        return
    with labs.up(bed, "wan.yaml") as lab:
        office, branch = lab.container("office"), lab.container("branch")
        address = branch.address(lab.network("line"))
        until(lambda: "netem" in bed.run("tc", "qdisc", "show", netns=branch.netns), "delayed")
        office.reaches(address, who=who(branch))
        said = bed.run("ping", "-n", "-q", "-c", "10", address, netns=office.netns)
        assert float(said.rpartition("=")[2].split("/")[0]) >= 70  # 40 ms each way, 5 up or down
        assert "tbf" in bed.run("tc", "qdisc", "show")


def netem(bed: Bed) -> bool:
    if bed.attempt("tc", "qdisc", "add", "dev", "lo", "root", "netem").code:
        return False
    bed.run("tc", "qdisc", "del", "dev", "lo", "root")
    return True


def test_nobody_can_pretend_to_be_somebody_else_in_a_student_lab(bed: Bed) -> None:
    with labs.up(bed, "students.yaml") as lab:
        ann, bob, teacher = (lab.container(name) for name in ("ann", "bob", "teacher"))
        network = lab.network("students")
        ann.reaches(teacher.address(network), who=who(teacher))
        assert arrived(bed, ann, bob, network, "ann") == set()


@pytest.mark.long
def test_router_containers_are_the_way_from_an_office_to_a_plant_and_a_cell(bed: Bed) -> None:
    with labs.up(bed, "router.yaml") as lab:
        desk, server, robot = (lab.container(name) for name in ("desk", "server", "robot"))
        desk.reaches("10.231.0.5", who=who(server))
        server.reaches("10.232.0.5", who=who(robot))
        desk.reaches("10.232.0.5", who=who(robot))
        robot.reaches(desk.address(lab.network("office")), who=who(desk))
