"""Published ports: who reaches them, whom the container sees, what takes them back."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, WAN4, WAN6, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import ECHO, Place
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

FAMILIES = [pytest.param(4, id="ipv4"), pytest.param(6, id="ipv6")]
SERVE = f"exec chroot /host {sys.executable} {ECHO} serve 80 81"
WAN = {4: WAN4, 6: WAN6}
OUTSIDE = {4: OUTSIDE4, 6: OUTSIDE6}
LOCALHOST = {4: "127.0.0.1", 6: "::1"}


def dual(stage: Stage, name: str, number: int, *options: str) -> Network:
    six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
    return stage.network(name, *six, *options, subnet=f"10.77.{number}.0/24")


def server(stage: Stage, name: str, network: Network | str, *options: str) -> Container:
    """Run a container that says who it is and whom it sees, on TCP and UDP ports 80 and 81."""
    files = ("--volume", "/:/host:ro")
    return stage.container(name, network, *files, *options, command=SERVE)


def hears(place: Place, answer: str, protocol: str, address: str, port: int) -> None:
    """Assert that a place gets exactly this answer, sooner or later."""
    last = [""]

    def heard() -> bool:
        last[0] = place.hears(protocol, address, port)
        return last[0] == answer

    until(
        heard,
        lambda: f"{place.name} asks {address} {port}/{protocol}: {last[0]!r}, not {answer!r}",
        timeout_s=15,
    )


def ports(bed: Bed) -> Any:
    """Return what is published, with whose it is."""
    listed = json.loads(bed.ovsnet("ports", "--json"))
    return [each | each["published"] for each in listed if "published" in each]


def table(bed: Bed) -> str:
    return bed.nft("list", "table", "inet", "ovsnet")


@pytest.mark.parametrize("family", FAMILIES)
def test_everybody_reaches_a_published_port_and_is_seen_as_himself(
    bed: Bed, stage: Stage, host: Place, outside: Place, family: int
) -> None:
    one, two = dual(stage, "one", 1), dual(stage, "two", 2)
    publish = ("--publish", "8080:80", "--publish", "5353:80/udp")
    ann = server(stage, "ann", one, *publish)
    bob, cat = stage.container("bob", one), stage.container("cat", two)
    wan, gateway = WAN[family], one.gateway(family)
    for protocol, port in (("tcp", 8080), ("udp", 5353)):
        hears(outside, f"ann {OUTSIDE[family]}", protocol, wan, port)
        hears(host, f"ann {wan}", protocol, wan, port)
        hears(host, f"ann {gateway}", protocol, LOCALHOST[family], port)
        hears(cat, f"ann {cat.address(two, family)}", protocol, wan, port)
        assert not cat.hears(protocol, gateway, port), "another network's gateway is closed"
        hears(bob, f"ann {gateway}", protocol, wan, port)
        hears(bob, f"ann {gateway}", protocol, gateway, port)
        hears(ann, f"ann {gateway}", protocol, wan, port)
        other = "udp" if protocol == "tcp" else "tcp"
        assert not outside.hears(other, wan, port)
    # what is not published stays shut
    cat.never_reaches(ann.address(one, family), port=80)
    assert not outside.hears("tcp", wan, 81)


def test_containers_of_dockers_own_bridges_reach_a_published_port(stage: Stage) -> None:
    one = dual(stage, "one", 1)
    server(stage, "ann", one, "--publish", "8080:80")
    dan = stage.container("dan", "bridge")
    until(lambda: dan.hears("tcp", WAN4, 8080).startswith("ann "), "dan hears ann", timeout_s=15)


def test_a_port_of_one_address_is_not_a_port_of_others(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    one = dual(stage, "one", 1)
    gateway = one.gateway()
    server(
        stage,
        "ann",
        one,
        *("--publish", f"{WAN4}:8080:80", "--publish", f"[{WAN6}]:8080:80"),
        *("--publish", "127.0.0.1:8081:80", "--publish", "[::1]:8081:80"),
    )
    server(stage, "bob", one, "--publish", "127.0.0.1:8080:80", "--publish", "127.0.0.1::81/udp")
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)
    hears(host, f"bob {gateway}", "tcp", "127.0.0.1", 8080)
    hears(host, f"ann {gateway}", "tcp", "127.0.0.1", 8081)
    hears(host, f"ann {one.gateway(6)}", "tcp", "::1", 8081)
    (chosen,) = (each for each in ports(bed) if each["protocol"] == "udp")
    assert (chosen["host"], chosen["host_port"] > 32767) == ("127.0.0.1", True)
    hears(host, f"bob {gateway}", "udp", "127.0.0.1", chosen["host_port"])
    assert not host.hears("tcp", "::1", 8080)
    for address in (WAN4, WAN6):
        assert not outside.hears("tcp", address, 8081)


def test_only_the_gateways_that_need_it_let_127_8_leave(bed: Bed, stage: Stage) -> None:
    one, two = dual(stage, "one", 1), dual(stage, "two", 2)

    def switches() -> list[str]:
        links = [f"ovg{each.id[:12]}" for each in (one, two)]
        return [bed.sysctl(f"net/ipv4/conf/{link}/route_localnet") for link in links]

    ann = server(stage, "ann", one, "--publish", "8080:80")
    server(stage, "bob", two, "--publish", f"{WAN4}:8081:80")
    assert switches() == ["1", "0"]
    bed.docker("rm", "--force", ann.name)
    assert switches() == ["0", "0"]


def test_a_taken_port_fails_the_start_with_a_sentence(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one = dual(stage, "one", 1)
    server(stage, "ann", one, "--publish", "8080:80")
    (known,) = [each for each in ports(bed) if each["host"] == "0.0.0.0"]
    text = bed.docker_refuses(*stage.run_command("bob", one, "--publish", "8080:81"))
    assert "publishing 81/tcp: host port 8080 of this host is in use" in text
    assert known["endpoint"][:12] in text
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    other = Program(bed, "other", sys.executable, ECHO, "serve", "8090")
    other.start()
    try:
        until(lambda: bed.attempt("ss", "-Hltn", "sport = :8090").out, "it listens")
        text = bed.docker_refuses(*stage.run_command("cat", one, "--publish", "8090:80"))
        assert "host port 8090 of this host is in use" in text
        text = bed.docker_refuses(*stage.run_command("dan", one, "--publish", "192.0.2.99:80:80"))
        assert "192.0.2.99 is no address of this host" in text
    finally:
        other.stop()
    # dockerd's own containers do not get it either, nor do other programs
    text = bed.docker_refuses(*stage.run_command("eve", "bridge", "--publish", "8080:80"))
    assert "8080" in text
    bed.docker("rm", "--force", "ann", "bob")
    server(stage, "bob", one, "--publish", "8080:80")
    hears(outside, f"bob {OUTSIDE4}", "tcp", WAN4, 8080)


def test_chosen_ports_and_ranges_are_listed_and_lead_to_the_container(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one = dual(stage, "one", 1)
    server(stage, "ann", one, "--publish-all", "--expose", "80", "--expose", "81/udp")
    server(stage, "bob", one, "--publish", "9000-9001:80-81", "--publish", "9002-9005:80/udp")
    server(stage, "cat", one, "--publish", "9002-9005:80/udp")
    listed = ports(bed)
    assert {each["network_name"] for each in listed} == {"one"}
    assert all(each["reserved"] for each in listed)
    found = {
        (each["container"], each["protocol"], each["port"]): each["host_port"]
        for each in listed
        if each["host"] == "::"
    }
    assert found["bob", "tcp", 80] == 9000
    assert [each["count"] for each in listed if each["host_port"] == 9000] == [2, 2]
    assert (found["bob", "udp", 80], found["cat", "udp", 80]) == (9002, 9003)
    assert found["ann", "tcp", 80] > 32767
    for (name, protocol, _), port in found.items():
        hears(outside, f"{name} {OUTSIDE4}", protocol, WAN4, port)
        hears(outside, f"{name} {OUTSIDE6}", protocol, WAN6, port)
    text = bed.ovsnet("ports", "--network", "one")
    target = next(p["address"] for p in listed if p["container"] == "bob")
    rows = [line.split() for line in text.splitlines()]
    assert ["0.0.0.0:9000-9001/tcp", "bob", "one", f"{target}:80-81", "reserved"] in rows


def test_a_range_of_thousands_is_one_line_and_each_port_leads_to_its_own(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    one = dual(stage, "one", 1)
    ports_of = ("--publish", "10000-20000:10000-20000/udp", "--publish", "8000-8100:80-180")
    server(stage, "ann", one, *ports_of, "--publish", "10000-10500:10000-10500")
    target = next(p["address"] for p in ports(bed) if p["host"] == "0.0.0.0")
    rows = [line.split() for line in bed.ovsnet("ports").splitlines()]
    whose = ("ann", "one")
    assert ["0.0.0.0:8000-8100/tcp", *whose, f"{target}:80-180", "reserved"] in rows
    assert ["0.0.0.0:10000-10500/tcp", *whose, f"{target}:10000-10500", "reserved"] in rows
    assert ["0.0.0.0:10000-20000/udp", *whose, f"{target}:10000-20000", "open"] in rows
    assert len(rows) == 7
    assert table(bed).count("10000-20000") == 2
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8000)
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8001)
    hears(host, f"ann {one.gateway(6)}", "tcp", "::1", 8001)
    echo = Program(
        bed,
        "echo",
        sys.executable,
        ECHO,
        "serve",
        "12345",
        "20000",
        netns=f"/proc/{Container(bed, 'ann').pid}/ns/net",
    )
    echo.start()
    try:
        for port in (12345, 20000):
            until(lambda port=port: outside.hears("udp", WAN4, port), f"{port}/udp answers")
        assert not outside.hears("udp", WAN4, 20001)
    finally:
        echo.stop()
        echo.log.unlink()
    bed.restart_plugin()
    assert len(bed.ovsnet("ports").splitlines()) == 7
    assert "reserved" not in bed.ovsnet("reconcile", "--dry-run")
    text = bed.docker_refuses(*stage.run_command("bob", one, "--publish", "15000:80/udp"))
    assert "host port 15000 of this host is in use (endpoint" in text
    text = bed.docker_refuses(*stage.run_command("cat", one, "--publish", "8090-9999:90-1999"))
    assert "one of the host ports 8090-9999 of this host is in use (endpoint" in text


def test_published_ports_survive_our_death(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    one = dual(stage, "one", 1)
    server(stage, "ann", one, "--publish", "8080:80", "--publish", "80/udp")
    before = ports(bed)
    bed.plugin.stop(SIGKILL)
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    bind = (sys.executable, "-c", "import socket; socket.create_server(('', 8080))")
    assert bed.attempt(*bind).code == 0, "the port is nobody's while we are away"
    bed.plugin.start()
    harmless = ("ovsipam", "IpamDriver.ReleasePool", '{"PoolID": "ovsnet/none"}')
    until(lambda: bed.post(*harmless), "a call that needs the records is answered")
    assert "in use" in bed.attempt(*bind).err, "and is held before the first call is answered"
    bed.wait_for_plugin()
    until(lambda: ports(bed) == before, "the same ports are published")
    assert bed.attempt("ss", "-Htan", "sport = :8080").out
    hears(host, f"ann {one.gateway(6)}", "tcp", "::1", 8080)
    text = bed.docker_refuses(*stage.run_command("bob", one, "--publish", "8080:81"))
    assert "8080" in text
    bed.docker("restart", "ann")
    hears(host, f"ann {one.gateway(6)}", "tcp", "::1", 8080)
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)


def test_flushed_rules_come_back(bed: Bed, stage: Stage, outside: Place) -> None:
    one = dual(stage, "one", 1)
    server(stage, "ann", one, "--publish", "8080:80")
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    bed.nft("delete", "table", "inet", "ovsnet")
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)


def test_a_flow_that_goes_on_follows_the_port_to_its_next_container(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one = dual(stage, "one", 1)

    def said() -> str:
        return outside.hears("udp", WAN4, 5353, source=40000)

    assert not said(), "nobody is there, and the kernel remembers the flow"
    server(stage, "ann", one, "--publish", "5353:80/udp")
    until(lambda: said() == f"ann {OUTSIDE4}", "the flow reaches ann", timeout_s=15)
    bed.docker("rm", "--force", "ann")
    assert not said()
    server(stage, "bob", one)  # on the address that ann had
    server(stage, "cat", one, "--publish", "5353:80/udp")
    until(lambda: said() == f"cat {OUTSIDE4}", "the flow reaches cat", timeout_s=15)


def test_a_port_moves_with_the_containers_gateway(bed: Bed, stage: Stage, outside: Place) -> None:
    dual(stage, "alpha", 1)
    server(stage, "ann", dual(stage, "beta", 2), "--publish", "8080:80")
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    bed.docker("network", "connect", "alpha", "ann")
    assert {each["network_name"] for each in ports(bed)} == {"alpha"}
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    bed.docker("network", "disconnect", "alpha", "ann")
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    assert {each["network_name"] for each in ports(bed)} == {"beta"}
    bed.docker("network", "disconnect", "beta", "ann")
    assert ports(bed) == []
    assert not outside.hears("tcp", WAN4, 8080)


def test_sctp_has_its_rules_and_its_records(bed: Bed, stage: Stage) -> None:
    one = dual(stage, "one", 1)
    stage.container("ann", one, "--publish", "9899:9899/sctp")
    assert [(each["protocol"], each["host_port"]) for each in ports(bed)] == [("sctp", 9899)] * 2
    assert "sctp . 9899 : 10.77.1.2 . 9899" in table(bed)
    text = bed.docker_refuses(*stage.run_command("bob", one, "--publish", "9899:1/sctp"))
    assert "publishing 1/sctp: host port 9899" in text


def test_a_network_may_say_where_its_ports_are_published(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    option = ("-o", "com.docker.network.bridge.host_binding_ipv4=127.0.0.1")
    one = dual(stage, "one", 1, *option)
    server(stage, "ann", one, "--publish", "8080:80", "--publish", f"{WAN4}:8081:80")
    hears(host, f"ann {one.gateway()}", "tcp", "127.0.0.1", 8080)
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8081)
    assert not outside.hears("tcp", WAN4, 8080)
    assert not host.hears("tcp", "::1", 8080)


def test_containers_that_docker_restarts_after_its_death_get_their_ports_again(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one = dual(stage, "one", 1)
    server(stage, "ann", one, "--publish", "8080:80", "--restart", "always")
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    bed.dockerd.stop(SIGKILL)
    bed.start_docker()
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    bed.dockerd.stop()
    bed.start_docker()
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)


@pytest.fixture
def bounded_bed() -> Iterator[Bed]:
    """A bed whose process has the capabilities of the role's unit, and no others."""
    unit = Path(__file__).parents[3] / "ansible/roles/ovsnet/templates/ovsnet.service.j2"
    (said,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit.read_text(), re.MULTILINE)
    words = ",".join(f"+{each.removeprefix('CAP_').lower()}" for each in said.split())
    bed = Bed(docker_settings={"live-restore": True})
    command = ("setpriv", f"--bounding-set=-all,{words}", "--inh-caps=-all", *bed.serve())
    bed.plugin = Program(bed, "plugin", *command)
    with bed:
        yield bed


def test_the_units_capabilities_are_enough(bounded_bed: Bed) -> None:
    """To bind port 80, and to tell a container that lives from one that died with dockerd."""
    bed, stage = bounded_bed, Stage(bounded_bed)
    outside = Place(bed, "the outside", bed.outside)
    one = dual(stage, "one", 1)
    ann = server(stage, "ann", one, "--publish", "80:80", "--publish", "443:81/udp")
    pid = ann.pid
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 80)
    bed.dockerd.stop(SIGKILL)
    hears(outside, f"ann {OUTSIDE6}", "udp", WAN6, 443)
    bed.start_docker()
    text = bed.docker_refuses(*stage.run_command("bob", one, "--publish", "80:80"))
    assert "host port 80 of this host is in use (endpoint" in text
    bed.docker("rm", "bob")
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 80)
    # now it dies while nobody looks, and Docker does not tell its end before the next one starts
    bed.dockerd.stop(SIGKILL)
    bed.run("kill", "-9", str(pid))
    until(lambda: bed.attempt("kill", "-0", str(pid)).code, "ann is dead")
    bed.start_docker()
    server(stage, "bob", one, "--publish", "80:80")
    hears(outside, f"bob {OUTSIDE4}", "tcp", WAN4, 80)
    assert {each["container"] for each in ports(bed)} == {"bob"}
