"""What goes on, and what is refused with a sentence, while a part of a fleet fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from signal import SIGKILL

import pytest

from tests.e2e.stage import Container, Network, Stage
from tests.e2e.world import until
from tests.hosts import segments
from tests.hosts.central import NORTH, SOUTH, Database
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

pytestmark = [pytest.mark.docker, pytest.mark.ovn]


@dataclass(frozen=True)
class Scene:
    """A segment on all hosts, with a container on each."""

    fleet: Fleet
    stages: list[Stage]
    networks: list[Network]
    containers: list[Container]

    def run(self, number: int, name: str) -> Container:
        """Run one more container on a host."""
        return self.stages[number - 1].container(name, self.networks[number - 1])

    def run_soon(self, number: int, name: str) -> Container:
        """Do so as soon as it can be: for seconds after a fault it is refused."""
        host = self.fleet.host(number)
        host.docker("create", *self.stages[number - 1].run_command(name, "blue")[2:])
        starts(host, name)
        return Container(host, name)

    def all_reach_each_other(self) -> None:
        """Assert it."""
        segments.all_reach_each_other(self.containers, "blue")

    def rows(self) -> set[str]:
        """Return the names of the ports in the northbound database."""
        listed = self.fleet.nbctl("--bare", "--columns=name", "list", "Logical_Switch_Port")
        return set(listed.split())


@pytest.fixture
def scene(fleet: Fleet, stages: list[Stage]) -> Iterator[Scene]:
    networks = segments.made(stages, "blue")
    scene = Scene(fleet, stages, networks, segments.peopled(stages, networks))
    scene.all_reach_each_other()
    yield scene
    fleet.revive()


def starts(host: Host, name: str) -> None:
    """Start a container as soon as it can be; what refuses it first is told if it never does."""
    last: list[str] = []

    def started() -> bool:
        done = host.attempt("docker", "start", name)
        last[:] = [done.err]
        return done.code == 0

    until(started, lambda: f"{name} starts: {last[0]}", timeout_s=60)


@pytest.mark.core
def test_a_host_that_is_cut_off_goes_on_and_says_what_it_cannot(scene: Scene) -> None:
    fleet, (one, two, three) = scene.fleet, scene.containers
    host = fleet.host(3)
    neighbour, leaving = scene.run(3, "neighbour"), scene.run(3, "leaving")
    address = leaving.address("blue")
    fleet.cut(host)
    until(lambda: not three.pings(one.address("blue")), "host3 is cut off")
    neighbour.reaches(three.address("blue"), who="blue3")
    one.reaches(two.address("blue"), who="blue2")
    said = host.docker_refuses(*scene.stages[2].run_command("late", "blue"), timeout_s=30)
    assert "northbound" in said
    host.docker("rm", "--force", "leaving", timeout_s=30)
    scene.run(1, "elsewhere").reaches(two.address("blue"), who="blue2")
    fleet.heal()
    scene.all_reach_each_other()
    until(lambda: f"blue/{address}" not in scene.rows(), "its address is released")
    starts(host, "late")
    one.reaches(Container(host, "late").address("blue"), who="late")


def test_a_process_that_was_killed_finds_its_containers_again(scene: Scene) -> None:
    one, two, _ = scene.containers
    host = scene.fleet.host(2)
    before = scene.rows()
    host.plugin.stop(SIGKILL)
    one.reaches(two.address("blue"), who="blue2")
    host.start_plugin()
    one.reaches(two.address("blue"), who="blue2")
    more = scene.run(2, "more")
    one.reaches(more.address("blue"), who="more")
    host.docker("rm", "--force", "more")
    until(lambda: scene.rows() == before, "the rows are those of before")
    assert "nothing to mend" in host.ovsnet("reconcile", "--dry-run")


@pytest.mark.parametrize("name", ["ovn-controller", "ovs-vswitchd", "ovsdb-server"])
def test_a_daemon_that_was_killed_takes_its_traffic_up_again(scene: Scene, name: str) -> None:
    host = scene.fleet.host(2)
    host.daemons[name].restart(SIGKILL)
    scene.all_reach_each_other()
    starts_anew = scene.run(2, "anew")
    scene.containers[0].reaches(starts_anew.address("blue"), who="anew")


@pytest.mark.parametrize("database", [NORTH, SOUTH], ids=lambda each: each.schema)
def test_containers_start_on_all_hosts_after_a_leader_died(
    scene: Scene, database: Database
) -> None:
    fleet = scene.fleet
    leader = fleet.leader(database)
    assert leader.central is not None
    leader.central.servers[database].stop(SIGKILL)
    for number in (1, 2, 3):
        after = scene.run_soon(number, f"after{number}")
        for container in scene.containers:
            container.reaches(after.address("blue"), who=after.name)


def test_a_port_that_is_lost_on_the_bridge_is_plugged_in_again(scene: Scene) -> None:
    one, two, _ = scene.containers
    host = scene.fleet.host(2)
    (port,) = (
        each for each in host.ovs_vsctl("list-ports", "br-int").split() if each.startswith("ovh")
    )
    host.ovs_vsctl("del-port", "br-int", port)
    two.reaches(one.address("blue"), who="blue1")


def test_a_row_that_is_lost_in_the_database_is_written_again(scene: Scene) -> None:
    one, two, _ = scene.containers
    lost = f"blue/{two.address('blue')}"
    scene.fleet.nbctl("lsp-del", lost)
    until(lambda: lost in scene.rows(), "the row is there again", timeout_s=90)
    two.reaches(one.address("blue"), who="blue1")


def test_a_host_whose_power_failed_comes_back(scene: Scene) -> None:
    fleet, (one, two, _) = scene.fleet, scene.containers
    host = fleet.host(3)
    host.power_off()
    one.reaches(two.address("blue"), who="blue2")
    scene.run_soon(2, "meanwhile").reaches(one.address("blue"), who="blue1")
    host.boot()
    starts(host, "blue3")
    scene.all_reach_each_other()
