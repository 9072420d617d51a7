"""An administrator's rules in DOCKER-USER bind our traffic as they bind that of Docker's bridge."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e import firewalld
from tests.e2e.bed import OUTSIDE_PORT, Bed
from tests.e2e.reach.test_firewalls import complaints, typed
from tests.e2e.reach.test_more_modes import OUTSIDE, WAN, dual, knowing_the_way, server
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = [pytest.mark.docker, pytest.mark.long]

PROGRAMS = {4: "iptables", 6: "ip6tables"}
BOTH = {"ip6tables": True, "experimental": True}
"""Settings of a dockerd before 27 that uses iptables for IPv6, too."""

ALL = frozenset({"published", "docker's published", "sent", "docker's sent", "routed"})
PUBLISHED = frozenset({"published", "docker's published"})
SENT = frozenset({"sent", "docker's sent"})


class Paths:
    """Ways through the host, of ours and of Docker's bridge; the outside knows that of routed."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.stage = Stage(bed)
        self.outside = Place(bed, "the outside", bed.outside)
        self.nat = dual(self.stage, "nat", 1)
        self.routed = dual(self.stage, "open", 2, "-o", "ovs.mode=routed")
        self.dockers = dual(self.stage, "dockers", 3, driver="bridge", ipam="default")
        self.ann = server(self.stage, "ann", self.nat, "--publish", "8080:80")
        self.dan = server(self.stage, "dan", self.routed)
        self.cat = server(self.stage, "cat", self.dockers, "--publish", "8090:80")

    def open(self, family: int) -> frozenset[str]:
        """Return which ways are open."""
        wan, there = WAN[family], OUTSIDE[family]
        ways: Mapping[str, Callable[[], str]] = {
            "published": lambda: self.outside.hears("tcp", wan, 8080),
            "docker's published": lambda: self.outside.hears("tcp", wan, 8090),
            "sent": lambda: self.ann.asks(there, OUTSIDE_PORT),
            "docker's sent": lambda: self.cat.asks(there, OUTSIDE_PORT),
            "routed": lambda: self.outside.hears("tcp", self.dan.address(self.routed, family), 80),
        }
        with ThreadPoolExecutor() as pool:
            heard = dict(zip(ways, pool.map(lambda ask: ask(), ways.values()), strict=True))
        return frozenset(way for way, answer in heard.items() if answer)

    def are_open(self, *, but: frozenset[str] = frozenset(), family: int = 4) -> None:
        """Assert that all are, sooner or later, but some."""
        last = [frozenset[str]()]

        def as_said() -> bool:
            last[0] = self.open(family)
            return last[0] == ALL - but

        until(as_said, lambda: f"IPv{family}: open are {sorted(last[0])}, not {sorted(ALL - but)}")

    def never_open(self, ways: frozenset[str], family: int) -> None:
        """Assert that some are closed now, and others open."""
        assert self.open(family) == ALL - ways


def returns(bed: Bed, program: str) -> None:
    """Have DOCKER-USER as dockerd leaves it."""
    bed.run(program, "-F", "DOCKER-USER")
    bed.run(program, "-A", "DOCKER-USER", "-j", "RETURN")


def test_rules_in_docker_user_bind_us_as_they_bind_dockers_own(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed(docker_settings=BOTH)
    paths = Paths(bed)
    with knowing_the_way(bed, paths.routed):
        for family, program in PROGRAMS.items():
            there = OUTSIDE[family]
            from_outside = f"-I DOCKER-USER -s {there} -j DROP"
            ports = "-p tcp -m conntrack --ctdir ORIGINAL --ctorigdstport 8080:8090"
            containers = [
                f"-I DOCKER-USER -s {each} -d {there} -m conntrack --ctdir ORIGINAL -j DROP"
                for each in (paths.ann.address(paths.nat, family),
                             paths.cat.address(paths.dockers, family))
            ]  # fmt: skip
            behind_return = from_outside.replace("-I", "-A")
            allowed = [
                "-F DOCKER-USER",
                "-A DOCKER-USER -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
                f"-A DOCKER-USER -i wan0 {ports} -j RETURN",
                "-A DOCKER-USER -j DROP",
            ]
            paths.are_open(family=family)
            for rules, closed in (
                ([from_outside], ALL),
                ([f"-I DOCKER-USER -i wan0 {ports} -j DROP"], PUBLISHED),
                (containers, SENT),
                ([behind_return], frozenset[str]()),
                (["-D DOCKER-USER -j RETURN", behind_return], ALL),
                (allowed, ALL - PUBLISHED),
            ):
                for rule in rules:
                    bed.run(program, *rule.split())
                paths.never_open(closed, family)
                returns(bed, program)
                paths.are_open(family=family)


def test_rules_in_docker_user_go_on_binding_us_whatever_dockerd_does(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed(docker_settings=BOTH)
    paths = Paths(bed)
    with knowing_the_way(bed, paths.routed):
        for family, program in PROGRAMS.items():
            bed.run(program, "-I", "DOCKER-USER", "-s", OUTSIDE[family], "-j", "DROP")
        for harm in (
            lambda: paths.stage.network("later", driver="bridge", ipam="default"),
            lambda: dual(paths.stage, "another", 4),
            lambda: (
                bed.dockerd.stop(),
                bed.start_docker(),
                bed.docker("start", "ann", "cat", "dan"),
            ),
            lambda: bed.restart_plugin(),
            lambda: bed.nft("delete", "table", "inet", "ovsnet"),
        ):
            harm()
            for family in PROGRAMS:
                assert not paths.open(family)
        for family, program in PROGRAMS.items():
            bed.run(program, "-D", "DOCKER-USER", "1")
            paths.are_open(family=family)


def test_rules_in_docker_user_bind_us_beside_firewalld(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed(docker_settings=BOTH)
    bed.dockerd.stop()
    with firewalld.running(bed):
        bed.start_docker()
        paths = Paths(bed)
        typed(bed, "nftables chain inet firewalld")
        with knowing_the_way(bed, paths.routed):
            for family, program in PROGRAMS.items():
                paths.are_open(family=family)
                bed.run(program, "-I", "DOCKER-USER", "-s", OUTSIDE[family], "-j", "DROP")
                paths.never_open(ALL, family)
            bed.run("firewall-cmd", "--reload")
            for family, program in PROGRAMS.items():
                # dockerd puts its chains together again, and asks DOCKER-USER later than before
                paths.are_open(but=ALL, family=family)
                bed.run(program, "-D", "DOCKER-USER", "1")
                paths.are_open(family=family)


def test_a_general_drop_in_docker_user_is_named_by_check_and_left_alone(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed()
    paths = Paths(bed)
    with knowing_the_way(bed, paths.routed):
        paths.are_open()
        bed.run("iptables", "-I", "DOCKER-USER", "-j", "DROP")
        (text,) = complaints(bed)
        assert text.startswith("iptables chain DOCKER-USER drops"), text
        assert text in bed.ovsnet("status", "--json")
        bed.ovsnet("reconcile")
        paths.never_open(ALL, 4)
        typed(bed, "iptables chain DOCKER-USER")
        assert complaints(bed) == []
        paths.are_open(but=frozenset({"docker's published", "docker's sent"}))
