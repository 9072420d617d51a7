"""Commands about segments and hosts, beside real containers on three hosts."""

import json
from typing import Any

import pytest

from tests.e2e.stage import Network, Stage
from tests.e2e.world import until
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

SUBNET = "10.50.0.0/24"


def shown(host: Host, *command: str) -> Any:
    """Return what a command prints with ``--json``."""
    return json.loads(host.ovsnet(*command, "--json"))


def answers(host: Host) -> dict[str, bool | None]:
    """Return who of the fleet answers, as seen from a host."""
    return {each["name"]: each["answers"] for each in shown(host, "host", "ls")["hosts"]}


def everybody_answers(fleet: Fleet) -> None:
    wanted = {each.system_id: True for each in fleet.hosts}
    until(lambda: answers(fleet.host(1)) == wanted, "every host answers")


def test_a_segment_is_joined_shown_and_left_by_its_commands(
    fleet: Fleet, stages: list[Stage]
) -> None:
    one, two, _ = fleet.hosts
    one.ovsnet("segment", "join", "blue", "--subnet", SUBNET)
    two.ovsnet("segment", "join", "blue", "--network", "shop")
    web = stages[0].container("web", "blue")
    db = stages[1].container("db", Network(two, "shop"))
    web.reaches(db.address("shop"), who="db")
    (listed,) = shown(one, "segment", "ls")
    assert (listed["hosts"], listed["held"]) == (["host1", "host2"], 2)
    # the names of other hosts' containers come with Docker's events
    until(lambda: holders(one) == {("host1", "web"), ("host2", "db")}, "both are shown")
    leases = shown(one, "ipam", "leases", "blue")
    assert {each["lease"]["host"] for each in leases} == {"host1", "host2"}
    refused = one.try_ovsnet("ipam", "release", db.address("shop"), "--force")
    assert "host forget host2" in refused.err
    stages[1].clear()
    stages[0].clear()
    assert one.try_ovsnet("segment", "leave", "blue").code == 1
    until(lambda: shown(two, "segment", "ls") == [], "the segment goes with its last network")


def holders(host: Host) -> set[tuple[str, str]]:
    leases = shown(host, "segment", "show", "blue")["leases"]
    return {(each["host"], each["container"]) for each in leases}


def test_a_segment_is_left_by_its_command(fleet: Fleet, stages: list[Stage]) -> None:
    one = fleet.host(1)
    one.ovsnet("segment", "join", "blue", "--subnet", SUBNET)
    one.ovsnet("segment", "leave", "blue")
    assert stages[0].custom_networks() == []


def test_an_ipam_driver_that_is_a_segments_needs_no_options(
    fleet: Fleet, stages: list[Stage]
) -> None:
    one, two, _ = fleet.hosts
    one.ovsnet("segment", "join", "blue", "--subnet", SUBNET)
    settings = two.settings.read_text()
    two.settings.write_text(f'segments = ["blue"]\n{settings}')
    two.restart_plugin()
    try:
        network = stages[1].network("shop", ipam="ovsipam-blue")
        assert network.subnet() == SUBNET
        db = stages[1].container("db", network)
        stages[0].container("web", "blue").reaches(db.address("shop"), who="db")
        stages[1].clear()
    finally:
        two.settings.write_text(settings)
        two.restart_plugin()


def test_status_names_the_databases_and_says_when_they_are_away(
    fleet: Fleet, stages: list[Stage]
) -> None:
    host = fleet.host(3)
    stages[0].bed.ovsnet("segment", "join", "blue", "--subnet", SUBNET)
    stages[2].bed.ovsnet("segment", "join", "blue")
    container = stages[2].container("web", "blue")
    assert host.ovsnet("status").count("ssl:") == 6
    fleet.cut(host)
    try:
        until(lambda: host.try_ovsnet("status").code == 1, "the host sees that it is cut off")
        address = container.address("blue")
        host.docker("rm", "--force", "web")
        assert f"address {address} of segment blue" in host.try_ovsnet("status").out
        assert set(answers(host).values()) == {None}
    finally:
        fleet.heal()
    until(lambda: host.try_ovsnet("status").code == 0, "the host is back")
    until(lambda: shown(host, "status")["fleet"]["waiting"] == [], "what waited is released")


def test_check_knows_a_hosts_place_in_its_fleet(fleet: Fleet) -> None:
    host = fleet.host(2)
    subjects = ("name in the fleet", "ovn-controller", "northbound database", "certificate")
    assert {each: checked(host)[each] for each in (*subjects, "underlay")} == {
        each: {"ok"} for each in (*subjects, "underlay")
    }
    host.controller.stop()
    try:
        assert checked(host)["ovn-controller"] == {"fail"}
    finally:
        host.start_controller()
    fleet.sync()


def checked(host: Host) -> dict[str, set[str]]:
    """Return how bad ``ovsnet check`` finds what it looks at, by subject."""
    words = ("check", "--config", str(host.settings), f"--state-dir={host.state_dir}", "--json")
    found: dict[str, set[str]] = {}
    for each in json.loads(host.try_ovsnet(*words).out):
        found.setdefault(each["subject"], set()).add(each["level"])
    return found


@pytest.mark.core
def test_a_dead_host_is_forgotten_and_its_address_given_anew(
    fleet: Fleet, stages: list[Stage]
) -> None:
    one, _, three = fleet.hosts
    everybody_answers(fleet)
    assert one.try_ovsnet("host", "forget", "host3", "--yes").code == 1
    one.ovsnet("segment", "join", "blue", "--subnet", SUBNET)
    three.ovsnet("segment", "join", "blue", "--subnet", SUBNET)
    address = "10.50.0.9"
    web = stages[2].container("web", "blue", "--ip", address)
    three.power_off()
    try:
        until(lambda: answers(one) == {"host1": True, "host2": True, "host3": False}, "it is dead")
        said = one.ovsnet("host", "forget", "host3", "--yes")
        assert address in said
        assert "chassis-del" not in said
        assert set(answers(one)) == {"host1", "host2"}
        db = stages[0].container("db", "blue", "--ip", address)
        assert db.address("blue") == address
    finally:
        three.boot()
    everybody_answers(fleet)
    said = until_refused(three)
    assert "is held" in said
    assert "on host host1" in said
    one.docker("rm", "--force", db.name)
    until(lambda: three.attempt("docker", "start", web.name).code == 0, "it has its address again")
    assert web.address("blue") == address


def until_refused(host: Host) -> str:
    """Return why the container does not start, as soon as the database answers."""
    last: list[str] = []

    def told() -> bool:
        last[:] = [host.docker_refuses("start", "web")]
        return "does not answer" not in last[0]

    until(told, "the database answers")
    return last[0]
