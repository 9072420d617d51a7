"""Access rules past a gateway: who begins what with whom, and what becomes of it."""

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from signal import SIGKILL

import pytest

from tests.e2e import image, stream
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, WAN4, WAN6, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import ECHO, Place
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

OURS = "inet ovsnet.rules"
PUBLISHED = 8080
FAMILIES = (4, 6)
OUTSIDE = {4: OUTSIDE4, 6: OUTSIDE6}
WAN = {4: WAN4, 6: WAN6}

Way = tuple[str, Place, str, str, int]
"""What it is called, from where, protocol or ``ping``, address, port."""

REFUSED = """
import socket, sys
made = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
made.settimeout(5)
made.connect((sys.argv[1], 5))
made.send(b"x")
try:
    made.recv(1)
except ConnectionRefusedError:
    print("refused")
"""
"""Tells whether an ICMP error comes back to what was sent."""


@contextmanager
def echoing(bed: Bed, *places: Place) -> Iterator[None]:
    """Have places answer on ports 9 and 10 of TCP and UDP, on all their addresses."""
    with ExitStack() as undo:
        for place in places:
            said = (sys.executable, ECHO, "serve", "9", "10")
            program = Program(bed, f"echo-{place.name}", *said, netns=place.netns)
            program.start()
            undo.callback(program.stop)
        for place in places:
            until(
                lambda at=place: bed.run("ss", "-lnt", netns=at.netns).count(":9 ") > 0,
                "it listens",
            )
        yield


def passing(ways: Sequence[Way]) -> set[str]:
    """Return what passes, all tried at once."""

    def passes(way: Way) -> bool:
        _, place, protocol, address, port = way
        if protocol == "ping":
            return place.pings(address)
        return bool(place.hears(protocol, address, port))

    with ThreadPoolExecutor(len(ways)) as pool:
        return {way[0] for way, found in zip(ways, pool.map(passes, ways), strict=True) if found}


def dual(stage: Stage, name: str, number: int, *options: str) -> Network:
    six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
    return stage.network(name, *six, *options, subnet=f"10.77.{number}.0/24")


def flush(bed: Bed) -> None:
    """Take our tables away, as `nft flush ruleset` does, which would take Docker's, too."""
    bed.nft("delete table inet ovsnet; delete table inet ovsnet.rules")


def met(bed: Bed, rule: str) -> int:
    """Return the packets that an element's comment, or a rule's, counts."""
    listed = json.loads(bed.nft("-j", "list", "table", *OURS.split()))["nftables"]
    elements = [each for one in listed for each in one.get("set", {}).get("elem", ())]
    inner = [each["elem"] for each in elements if isinstance(each, dict) and "elem" in each]
    return sum(each["counter"]["packets"] for each in inner if each.get("comment") == rule)


def test_connections_are_judged_by_who_began_them_whatever_restarts(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    lab = dual(stage, "lab", 1)
    ann = stage.container("ann", lab, "--publish", f"{PUBLISHED}:9")
    ways: list[Way] = []
    for family in FAMILIES:
        ways += [
            (f"out tcp/9 {family}", ann, "tcp", OUTSIDE[family], 9),
            (f"out tcp/10 {family}", ann, "tcp", OUTSIDE[family], 10),
            (f"out udp/9 {family}", ann, "udp", OUTSIDE[family], 9),
            (f"out ping {family}", ann, "ping", OUTSIDE[family], 0),
            (f"up udp/9 {family}", ann, "udp", lab.gateway(family), 9),
            (f"up tcp/9 {family}", ann, "tcp", WAN[family], 9),
            (f"down tcp/9 {family}", host, "tcp", ann.address(lab, family), 9),
            (f"down udp/9 {family}", host, "udp", ann.address(lab, family), 9),
            (f"published {family}", outside, "tcp", WAN[family], PUBLISHED),
        ]
    # the gateway has one that no rule can list
    (link,) = (each["ifname"] for each in host.sees("link") if each["ifname"].startswith("ovg"))
    local = next(
        each["local"]
        for each in host.sees("-6", "address", "show", "dev", link)[0]["addr_info"]
        if each["scope"] == "link"
    )
    ways.append(("up local", ann, "ping", f"{local}%eth0", 0))
    everything = {way[0] for way in ways}

    def of(*names: str) -> set[str]:
        return {f"{name} {family}" for name in names for family in FAMILIES}

    with (
        echoing(bed, ann, host, outside),
        stream.held(bed, "kept", ann, outside, OUTSIDE4, port=7) as kept,
        stream.held(bed, "cut", ann, outside, OUTSIDE6, port=8) as cut,
        stream.held(bed, "down", host, ann, ann.address(lab), port=7) as down,
    ):
        assert passing(ways) == everything
        assert OURS not in bed.nft("list", "tables")

        allowed = "to outside tcp/7-9, to host udp/9, from any tcp/9, from outside icmp"
        bed.ovsnet("set", "ann", f"ovs.allow={allowed}", "ovs.deny=to 2001:db8:ffff::/64 tcp/8")
        cut.stands_still()
        down.stands_still()
        kept.goes_on()
        open_ = of("out tcp/9", "up udp/9", "down tcp/9", "published")
        assert passing(ways) == open_
        assert met(bed, "to outside tcp/7-9") > 0
        assert met(bed, "to 2001:db8:ffff::/64 tcp/8") > 0

        bed.plugin.stop(SIGKILL)
        assert passing(ways) == open_
        before = met(bed, "to outside tcp/7-9")
        bed.start_plugin()
        bed.ovsnet("reconcile")
        assert met(bed, "to outside tcp/7-9") >= before > 0, "the table is the same one"
        flush(bed)
        until(lambda: OURS in bed.nft("list", "tables"), "the table is there again")
        cut.stands_still()
        kept.goes_on()
        assert passing(ways) == open_
        assert "nothing" in bed.ovsnet("reconcile", "--dry-run").lower()

        bed.ovsnet("set", "ann", "ovs.allow=", "ovs.deny=from host, to any icmp")
        assert passing(ways) == everything - {
            *of("down tcp/9", "down udp/9", "out ping"),
            "up local",
        }
        for family in FAMILIES:
            errors = bed.run(sys.executable, "-c", REFUSED, OUTSIDE[family], netns=ann.netns)
            assert errors == "refused", "an ICMP error is of the connection that it is about"
        bed.ovsnet("set", "ann", "ovs.deny=")
        assert passing(ways) == everything
    until(lambda: OURS not in bed.nft("list", "tables"), "nothing is left")


@pytest.fixture
def three(bed: Bed, stage: Stage) -> Iterator[tuple[Network, Network, Network]]:
    """Networks that reach each other, and one of Docker's own way out."""
    routed = ("-o", "ovs.mode=routed")
    yield dual(stage, "one", 2, *routed), dual(stage, "two", 3, *routed), dual(stage, "lab", 1)
    assert bed.ovsnet("reconcile")


def test_containers_of_networks_that_reach_each_other_are_judged_at_both_ends(
    bed: Bed, stage: Stage, three: tuple[Network, Network, Network], outside: Place
) -> None:
    one, two, _ = three
    said = "driver-opt=ovs.allow=from network:one tcp/9"
    ann, bob = stage.container("ann", one), stage.container("bob", f"name=two,{said}")
    for network in (one, two):
        for family in FAMILIES:
            via = ("route", "add", network.subnet(family), "via", WAN[family])
            bed.ip(*via, netns=bed.outside)
    ways: list[Way] = []
    for family in FAMILIES:
        at, back = bob.address(two, family), ann.address(one, family)
        ways += [
            (f"over tcp {family}", ann, "tcp", at, 9),
            (f"over udp {family}", ann, "udp", at, 9),
            (f"back udp {family}", bob, "udp", back, 9),
            (f"in tcp {family}", outside, "tcp", at, 9),
            (f"in udp {family}", outside, "udp", back, 9),
        ]

    def of(*names: str) -> set[str]:
        return {f"{name} {family}" for name in names for family in FAMILIES}

    with echoing(bed, ann, bob):
        until(
            lambda: passing(ways) == of("over tcp", "back udp", "in udp"),
            "network one is known by its name",
        )
        bed.ovsnet("set", "ann", "ovs.deny=to container:bob")
        until(lambda: passing(ways) == of("back udp", "in udp"), "bob is known by its name")
        bed.docker("rm", "--force", "bob")
    for network in (one, two):
        for family in FAMILIES:
            bed.ip("route", "del", network.subnet(family), netns=bed.outside)


def test_a_container_that_changes_its_address_or_mac_escapes_nothing(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    lab = dual(stage, "lab", 1)
    ann = stage.container("ann", f"name=lab,driver-opt=ovs.deny=to {OUTSIDE4} icmp")
    assert not ann.pings(OUTSIDE4)
    assert ann.asks(OUTSIDE4, 8080)
    own, other = f"{ann.address(lab)}/24", "10.77.1.66/24"

    def becomes(before: str, after: str) -> None:
        bed.ip("address", "del", before, "dev", "eth0", netns=ann.netns)
        bed.ip("address", "add", after, "dev", "eth0", netns=ann.netns)
        bed.ip("route", "replace", "default", "via", lab.gateway(), netns=ann.netns)

    becomes(own, other)
    ann.never_reaches(OUTSIDE4, 8080)
    becomes(other, own)
    until(lambda: ann.asks(OUTSIDE4, 8080), "with its own address it is who it was")
    assert not ann.pings(OUTSIDE4)
    bed.ip("link", "set", "eth0", "address", "02:00:00:00:00:66", netns=ann.netns)
    ann.never_reaches(OUTSIDE4, 8080)
    assert not outside.pings(ann.address(lab))


COMPOSE = """
name: sandbox
services:
  agent:
    image: IMAGE
    stop_signal: SIGKILL
    command: ["sh", "-c", "SERVE"]
    networks: [lab]
  other:
    image: IMAGE
    stop_signal: SIGKILL
    command: ["sh", "-c", "SERVE"]
    networks: [free]
networks:
  lab:
    driver: ovsnet
    driver_opts: {ovs.rules: agent}
    ipam: {driver: ovsipam, config: [{subnet: 10.77.1.0/24}]}
  free:
    driver: ovsnet
    driver_opts: {ovs.deny: "to OUTSIDE icmp"}
    ipam: {driver: ovsipam, config: [{subnet: 10.77.2.0/24}]}
"""


@pytest.mark.long
def test_a_compose_file_says_rules_of_networks_and_a_named_set_changes_while_they_run(
    bed: Bed, stage: Stage
) -> None:
    text = COMPOSE.replace("IMAGE", image.NAME).replace("SERVE", image.SERVE)
    path = bed.home / "compose.yaml"
    path.write_text(text.replace("OUTSIDE", OUTSIDE4))
    compose = ("compose", "--file", str(path), "--progress", "plain")
    bed.ovsnet("rules", "set", "agent", "--allow", f"to {OUTSIDE4} tcp/8080, from any")
    try:
        bed.docker(*compose, "up", "--detach")
        agent, other = (Container(bed, f"sandbox-{name}-1") for name in ("agent", "other"))
        assert agent.asks(OUTSIDE4, 8080)
        assert other.asks(OUTSIDE4, 8080)
        assert not other.pings(OUTSIDE4)
        bed.ovsnet("rules", "set", "agent", "--allow", f"to {OUTSIDE4} icmp, from any")
        assert not agent.asks(OUTSIDE4, 8080)
        for daemon in ("ovs-vswitchd", "ovsnet"):
            bed.daemons[daemon].restart(SIGKILL)
            until(lambda: other.asks(OUTSIDE4, 8080), "who has no such rules is connected again")
            assert not agent.asks(OUTSIDE4, 8080)
    finally:
        bed.docker(*compose, "down", "--volumes")
        path.unlink()
        bed.ovsnet("rules", "rm", "agent")
