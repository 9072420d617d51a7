"""Beside other people's firewalls: firewalld, and Docker's own nftables of engine 29."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import docker_tables, firewalld
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.reach.test_more_modes import dual, knowing_the_way
from tests.e2e.reach.test_published import hears, server
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import Program

pytestmark = [pytest.mark.docker, pytest.mark.long]

MIRROR = Path(__file__).parents[1] / "mirror.py"


def complaints(bed: Bed) -> list[str]:
    """Return what ``ovsnet check`` says about chains that drop, a sentence each."""
    findings = json.loads(bed.try_ovsnet("check", "--json").out)
    return [
        each["text"]
        for each in findings
        if (each["subject"], each["level"]) == ("forwarding", "warn")
    ]


def typed(bed: Bed, of: str) -> str:
    """Type what ``ovsnet check`` says about a chain, and return what that prints."""
    (text,) = (each for each in complaints(bed) if each.startswith(of))
    path = f"PATH={Path(sys.executable).parent}:{bed.environment()['PATH']}"
    command = text.partition("type: ")[2].partition(", and ")[0]
    return bed.run("env", path, "sh", "-c", command)


def get_out(*containers: Container) -> None:
    for each in containers:
        each.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
        each.reaches(OUTSIDE6, who=WAN6, port=OUTSIDE_PORT)


def apart(one: tuple[Container, Network], other: tuple[Container, Network]) -> None:
    """Assert that two containers do not reach each other, not even with a route of their own."""
    for (near, home), (far, away) in ((one, other), (other, one)):
        for family in (4, 6):
            bits = 32 if family == 4 else 128
            to = f"{far.address(away, family)}/{bits}"
            near.execute("ip", f"-{family}", "route", "add", to, "via", home.gateway(family))
            near.never_reaches(far.address(away, family))


def test_networks_work_beside_firewalld(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed()
    bed.dockerd.stop()
    service = Program(bed, "service", sys.executable, str(MIRROR), "8077")
    service.start()
    with firewalld.running(bed):
        bed.start_docker()
        stage, outside = Stage(bed), Place(bed, "the outside", bed.outside)
        one, two = dual(stage, "one", 1), dual(stage, "two", 2)
        dockers = dual(stage, "dockers", 3, driver="bridge", ipam="default")
        open_ = dual(stage, "open", 4, "-o", "ovs.mode=routed")
        route = ("--cap-add", "NET_ADMIN")
        a = server(stage, "ann", one, "--publish", "8080:80", *route)
        b, c = stage.container("bob", two, *route), stage.container("cat", dockers, *route)
        d = stage.container("dan", open_)
        # what is published is let in by firewalld too
        hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
        hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)
        # nothing else is, before it knows our links
        assert not a.asks(OUTSIDE4, OUTSIDE_PORT)
        assert "firewalld has read it" in typed(bed, "nftables chain inet firewalld")
        assert complaints(bed) == []
        with knowing_the_way(bed, open_):
            for _ in range(2):
                get_out(a, b)
                hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
                hears(b, f"ann {b.address(two)}", "tcp", WAN4, 8080)
                outside.reaches(d.address(open_), who="dan")
                outside.reaches(d.address(open_, 6), who="dan")
                outside.never_reaches(b.address(two))
                apart((a, one), (b, two))
                apart((a, one), (c, dockers))
                for each in (a, b, c):
                    bed.docker("restart", "--time", "0", each.name)
                bed.run("firewall-cmd", "--reload")
        assert service.running
        assert not b.asks(two.gateway(), 8077), "services of the host are closed to containers"
        bed.run("firewall-cmd", "--zone=ovsnet", "--add-port=8077/tcp")
        assert b.asks(two.gateway(), 8077) == b.address(two)
        # what both let in is reached
        bed.ovsnet("set", "two", "ovs.host=none")
        assert not b.asks(two.gateway(), 8077)
        assert b.pings(two.gateway())
        stage.clear()
        bed.ovsnet("firewalld", "--remove")
        assert "ovsnet" not in bed.run("firewall-cmd", "--get-zones")
        assert bed.run("find", "/etc/firewalld", "-name", "*ovsnet*") == ""


def test_networks_work_beside_the_nftables_of_docker(make_bed: Callable[..., Bed]) -> None:
    without = {"iptables": False, "ip6tables": False, "userland-proxy": False}
    bed = make_bed(docker_settings=without)
    stage, outside = Stage(bed), Place(bed, "the outside", bed.outside)
    bridge = ("-o", "com.docker.network.bridge.name=dockers")
    dockers = dual(stage, "dockers", 3, *bridge, driver="bridge", ipam="default")
    route = ("--cap-add", "NET_ADMIN")
    c = server(stage, "cat", dockers, *route)
    for family in (4, 6):
        published = ("dockers", 8090, c.address(dockers, family), 80)
        tables = docker_tables.render(family, {"dockers": dockers.subnet(family)}, [published])
        bed.run("nft", "-f", "-", stdin=tables)
    one, two = dual(stage, "one", 1), dual(stage, "two", 2)
    a = server(stage, "ann", one, "--publish", "8080:80", *route)
    b = stage.container("bob", two, *route)
    assert complaints(bed) == []
    get_out(a, b, c)
    for wan, family, seen in ((WAN4, 4, OUTSIDE4), (WAN6, 6, OUTSIDE6)):
        hears(outside, f"ann {seen}", "tcp", wan, 8080)
        hears(outside, f"cat {seen}", "tcp", wan, 8090)
        # on its way from one bridge of the host to another, that engine masquerades
        hears(a, f"cat {dockers.gateway(family)}", "tcp", wan, 8090)
        hears(c, f"ann {one.gateway(family)}", "tcp", wan, 8080)
    apart((a, one), (b, two))
    apart((a, one), (c, dockers))
    # without DOCKER-USER, an administrator's rules are in a chain of his own, wherever in the order
    bed.nft("add", "table", "inet", "mine")
    for priority in ("-150", "10"):
        hook = f"{{ type filter hook forward priority {priority}; }}"
        bed.nft("add", "chain", "inet", "mine", "forward", hook)
        for header, there in (("ip", OUTSIDE4), ("ip6", OUTSIDE6)):
            bed.nft("add", "rule", "inet", "mine", "forward", header, "saddr", there, "drop")
        for wan in (WAN4, WAN6):
            assert not outside.hears("tcp", wan, 8080)
            assert not outside.hears("tcp", wan, 8090)
        bed.nft("delete", "chain", "inet", "mine", "forward")
    bed.nft("delete", "table", "inet", "mine")
    get_out(a, b, c)
    # a policy below Docker's maps drops what no map knows
    bed.nft("chain", "ip", "docker-bridges", "filter-FORWARD", "{", "policy", "drop;", "}")
    assert not a.asks(OUTSIDE4, OUTSIDE_PORT)
    typed(bed, "nftables chain ip docker-bridges filter-FORWARD")
    assert complaints(bed) == []
    get_out(a, b)
    stage.clear()
