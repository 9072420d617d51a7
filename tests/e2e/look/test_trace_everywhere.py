"""``ovsnet trace`` from everywhere to everywhere: its verdict is what real packets do."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import WEB_PORT, Place
from tests.e2e.world import until

pytestmark = [pytest.mark.docker, pytest.mark.long]

OUTSIDE = {4: OUTSIDE4, 6: OUTSIDE6}
WAN = {4: WAN4, 6: WAN6}
PUBLISHED = 8080
NOWHERE = "198.51.100.1"

KINDS = {
    "lab": (),
    "other": (),
    "routed": ("-o", "ovs.mode=routed"),
    "routes": ("-o", "ovs.mode=routed"),
    "alone": ("-o", "ovs.mode=routed", "-o", "ovs.isolate=true"),
    "flat": ("-o", "ovs.mode=flat"),
    "iso": ("-o", "ovs.mode=isolated"),
    "inner": ("--internal",),
    "gwb": ("-o", "ovs.mode=gwbridge"),
    "bare": ("-o", "com.docker.network.bridge.enable_ip_masquerade=false"),
    "shy": ("-o", "ovs.icc=false", "-o", "ovs.host=none"),
    "safe": ("-o", "ovs.guard=true"),
}
"""Networks, each with a container ``on-NAME``; ``lab`` and ``shy`` have one more."""


@dataclass
class Lab:
    """The networks and containers, and what is asked of both sides."""

    bed: Bed
    networks: dict[str, Network] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    def container(self, name: str) -> Container:
        """Return a container by its name."""
        found = self.places[name]
        assert isinstance(found, Container)
        return found

    def address(self, name: str, family: int = 4) -> str:
        """Return a container's address on its network."""
        return self.container(name).address(name.partition("-")[2].rstrip("2"), family)

    def trace(self, *words: str) -> Any:
        """Return what ``ovsnet trace`` says."""
        result = self.bed.try_ovsnet("trace", *words, "--json")
        assert result.out, result
        told = json.loads(result.out)
        assert result.code == (1 if told["reaches"] is False else 0)
        return told

    def agrees(
        self,
        source: str,
        target: str,
        question: str = "icmp",
        *,
        address: str,
        port: int = WEB_PORT,
        family: int = 4,
    ) -> Any:
        """Assert that the verdict is what packets do, and return what was told.

        Of a verdict that leaves it open either is true.
        """
        told: Any = {}
        seen = False

        def same() -> bool:
            nonlocal told, seen
            place = self.places[source]
            seen = place.pings(address) if question == "icmp" else bool(place.asks(address, port))
            told = self.trace(source, target, question, f"-{family}")
            return told["reaches"] in (None, seen)

        until(same, lambda: f"{source} to {target}: {seen}, not {told}", timeout_s=30)
        return told


@pytest.fixture(scope="module")
def lab(shared_bed: Bed) -> Iterator[Lab]:
    shared_bed.revive()
    lab, stage = Lab(shared_bed), Stage(shared_bed)
    try:
        for number, (name, options) in enumerate(KINDS.items(), start=1):
            six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
            made = stage.network(name, *six, *options, subnet=f"10.77.{number}.0/24")
            lab.networks[name] = made
            publish = ("--publish", f"{PUBLISHED}:{WEB_PORT}") if name == "lab" else ()
            lab.places[f"on-{name}"] = stage.container(f"on-{name}", made, *publish)
        for name in ("lab", "shy"):
            lab.places[f"on-{name}2"] = stage.container(f"on-{name}2", lab.networks[name])
        lab.places["outside"] = Place(shared_bed, "outside", shared_bed.outside)
        lab.places["host"] = Place(shared_bed, "host")
        yield lab
    finally:
        stage.clear()


BLOCKED = {"flat", "iso", "inner"}


@pytest.mark.parametrize("name", KINDS)
def test_out_of_every_network_and_to_it_from_this_host(lab: Lab, name: str) -> None:
    container = f"on-{name}"
    has_gateway = name not in (*BLOCKED, "gwb")
    for family in (4, 6) if name in ("lab", "routed", "iso", "gwb") else (4,):
        told = lab.agrees(container, "outside", address=OUTSIDE[family], family=family)
        if name in BLOCKED:
            assert told["reaches"] is False
        if name in ("lab", "other", "shy", "safe"):
            assert told["reaches"] is True
        address = lab.address(container, family)
        told = lab.agrees("host", container, address=address, family=family)
        assert told["reaches"] is has_gateway
        if has_gateway:
            gateway = lab.networks[name].gateway(family)
            told = lab.agrees(container, "host", address=gateway, family=family)
            assert told["reaches"] is True


def test_from_outside_to_what_is_published_and_to_what_is_not(lab: Lab) -> None:
    asked = f"tcp/{PUBLISHED}"
    for family in (4, 6):
        told = lab.agrees(
            "outside", "on-lab", asked, address=WAN[family], port=PUBLISHED, family=family
        )
        assert told["reaches"] is True
        assert any(hop["by"] == "published port 8080 of on-lab" for hop in told["hops"])
    for source in ("on-lab2", "on-other", "on-shy", "host"):
        told = lab.agrees(source, WAN4, asked, address=WAN4, port=PUBLISHED)
        assert told["reaches"] is True
    told = lab.agrees("host", "on-lab", asked, address="127.0.0.1", port=PUBLISHED)
    assert told["reaches"] is True
    assert "published as port 8080" in json.dumps(lab.trace("outside", "on-lab", "tcp/80"))
    told = lab.trace("outside", "on-other", asked)
    assert told["reaches"] is False
    assert told["hops"][-1]["by"] == "ovs.mode=nat of other"


@pytest.mark.parametrize(
    ("source", "target", "by"),
    [
        ("on-lab", "on-other", "ovs.mode=nat of other"),
        ("on-routed", "on-lab", "ovs.mode=nat of lab"),
        ("on-routed", "on-routes", ""),
        ("on-routed", "on-alone", "ovs.isolate=true of alone"),
        ("on-lab", "on-iso", "ovs.mode=isolated of iso"),
        ("on-iso", "on-lab", "ovs.mode=isolated of iso"),
        ("on-inner", "on-lab", "--internal of inner"),
        ("on-lab", "on-flat", "ovs.mode=flat of flat"),
        ("on-gwb", "on-lab", "ovsnet's rule containers of others"),
        ("on-lab", "on-lab2", ""),
        ("on-shy", "on-shy2", "ovs.icc=false of shy"),
    ],
)
def test_from_network_to_network_what_decides_is_named(
    lab: Lab, source: str, target: str, by: str
) -> None:
    for family in (4, 6) if source == "on-routed" else (4,):
        address = lab.address(target, family)
        told = lab.agrees(source, target, address=address, family=family)
        assert told["reaches"] is (not by)
        if by:
            assert told["hops"][-1]["by"] == by


def test_what_keeps_a_container_from_the_host_is_named(lab: Lab) -> None:
    told = lab.agrees("on-shy", WAN4, address=WAN4)
    assert told["hops"][-1]["by"] == "ovs.host=none of shy"
    told = lab.agrees("on-lab", lab.networks["other"].gateway(), address="10.77.2.1")
    assert told["hops"][-1]["by"] == "the gateway of other"
    told = lab.trace("on-lab", WAN4, "tcp/9")
    assert "nobody listens on tcp/9 on this host" in told["verdict"]
    told = lab.agrees("on-bare", "outside", address=OUTSIDE4)
    assert told["reaches"] is None
    assert "only if the router outside has a route to 10.77.10.0/24" in told["verdict"]


@pytest.mark.parametrize(
    ("make", "unmake", "by"),
    [
        pytest.param(
            ["iptables -I DOCKER-USER -i ovg+ -d 192.0.2.0/24 -j DROP"],
            ["iptables -D DOCKER-USER -i ovg+ -d 192.0.2.0/24 -j DROP"],
            "a rule of DOCKER-USER",
            id="docker-user",
        ),
        pytest.param(
            [
                "nft add table ip mine",
                "nft add chain ip mine onward { type filter hook forward priority 10; }",
                "nft add rule ip mine onward ip saddr 10.77.0.0/16 counter drop comment mine",
            ],
            ["nft delete table ip mine"],
            "a rule (mine) of nftables chain ip mine onward",
            id="another table",
        ),
        pytest.param(
            [
                "nft add table inet mine",
                "nft add chain inet mine onward { type filter hook forward priority 10; "
                "policy drop; }",
                "nft add rule inet mine onward oifname wan0 accept",
            ],
            ["nft delete table inet mine"],
            "the policy of nftables chain inet mine onward",
            id="the answers",
        ),
        pytest.param(
            ["ip route add prohibit 192.0.2.2"],
            ["ip route del prohibit 192.0.2.2"],
            "a route of this host",
            id="a route",
        ),
    ],
)
def test_what_others_stop_is_named_by_whom(
    lab: Lab, make: list[str], unmake: list[str], by: str
) -> None:
    for command in make:
        words, brace, chain = command.partition("{")
        lab.bed.run(*words.split(), *([brace + chain] if brace else []))
    try:
        told = lab.agrees(
            "on-lab", OUTSIDE4, f"tcp/{OUTSIDE_PORT}", address=OUTSIDE4, port=OUTSIDE_PORT
        )
        assert told["reaches"] is False
        assert told["hops"][-1]["by"] == by
    finally:
        for command in unmake:
            lab.bed.run(*command.split())
    told = lab.agrees("on-lab", OUTSIDE4, address=OUTSIDE4)
    assert told["reaches"] is True


def test_dockers_policy_stops_nothing_of_ours_and_one_of_another_port_neither(lab: Lab) -> None:
    rule = ("DOCKER-USER", "-p", "tcp", "--dport", "9", "-j", "DROP")
    lab.bed.run("iptables", "-P", "FORWARD", "DROP")
    lab.bed.run("iptables", "-I", *rule)
    try:
        told = lab.agrees(
            "on-lab", OUTSIDE4, f"tcp/{OUTSIDE_PORT}", address=OUTSIDE4, port=OUTSIDE_PORT
        )
        assert told["reaches"] is True
        assert lab.trace("on-lab", OUTSIDE4, "tcp/9")["reaches"] is False
    finally:
        lab.bed.run("iptables", "-D", *rule)
        lab.bed.run("iptables", "-P", "FORWARD", "ACCEPT")


def test_who_sends_as_somebody_else_is_stopped_by_the_guard(lab: Lab) -> None:
    safe = lab.container("on-safe")
    gateway = lab.networks["safe"].gateway()
    bed, netns = lab.bed, safe.netns
    told = lab.agrees("on-safe", "outside", address=OUTSIDE4)
    assert told["reaches"] is True
    bed.ip("address", "add", "10.77.12.99/24", "dev", "eth0", netns=netns)
    bed.ip("route", "replace", "default", "via", gateway, "src", "10.77.12.99", netns=netns)
    told = lab.agrees("on-safe", "outside", address=OUTSIDE4)
    assert told["hops"][-1]["by"] == "ovs.guard of safe/on-safe"
    bed.ip("route", "replace", "default", "via", gateway, netns=netns)
    bed.ip("address", "del", "10.77.12.99/24", "dev", "eth0", netns=netns)


def test_no_route_and_a_narrow_wire_are_told(lab: Lab) -> None:
    lab.bed.ip("route", "del", "default")
    try:
        told = lab.agrees("on-lab", NOWHERE, address=NOWHERE)
        assert told["hops"][-1]["by"] == "the routes of this host"
    finally:
        lab.bed.ip("route", "add", "default", "via", OUTSIDE4)
    lab.bed.ip("link", "set", "wan0", "mtu", "1400")
    try:
        told = lab.agrees("on-lab", "outside", address=OUTSIDE4)
        assert any(hop["by"] == "MTU 1400 of wan0" for hop in told["hops"])
    finally:
        lab.bed.ip("link", "set", "wan0", "mtu", "1500")


def test_who_is_nobody_is_a_sentence(lab: Lab) -> None:
    for words, sentence in (
        (("nobody", "outside"), "is neither a network nor a container"),
        (("outside", "outside"), "one of both must be a container"),
        (("on-lab", "lab"), "name a container of it"),
    ):
        result = lab.bed.try_ovsnet("trace", *words)
        assert result.code == 1
        assert sentence in result.err
    told = lab.trace("on-lab", "10.77.1.77")
    assert "nobody on lab has 10.77.1.77" in told["verdict"]


def test_why_names_are_not_found_is_told(lab: Lab) -> None:
    stage = Stage(lab.bed)
    stage.container("asks", lab.networks["lab"], "--dns", OUTSIDE4)
    stage.container("shut", lab.networks["inner"], "--dns", OUTSIDE4)
    told = lab.trace("asks", "dns")
    assert told["reaches"] is True, told
    assert "asks Docker's resolver 127.0.0.11" in json.dumps(told)
    rule = ("DOCKER-USER", "-p", "udp", "--dport", "53", "-j", "DROP")
    lab.bed.run("iptables", "-I", *rule)
    try:
        assert lab.trace("asks", "dns")["hops"][-1]["by"] == "a rule of DOCKER-USER"
    finally:
        lab.bed.run("iptables", "-D", *rule)
    assert lab.trace("shut", "dns")["hops"][-1]["by"] == "--internal of inner"
    lab.bed.docker("exec", "asks", "sh", "-c", "echo > /etc/resolv.conf")
    assert "/etc/resolv.conf of asks names no server" in lab.trace("asks", "dns")["verdict"]
    lab.bed.docker("rm", "--force", "asks", "shut")


def test_one_container_is_checked_with_all_that_concerns_it(lab: Lab) -> None:
    def checked(name: str, code: int) -> dict[str, Any]:
        result = lab.bed.try_ovsnet("check", name, "--json")
        assert result.code == code, result
        return {each["subject"]: each for each in json.loads(result.out)}

    stage = Stage(lab.bed)
    stage.container("fine", lab.networks["other"], "--dns", OUTSIDE4, "--publish", "8082:80")
    found = checked("fine", 0)
    assert {found[f"fine to the outside, IPv{each}"]["level"] for each in (4, 6)} == {"ok"}
    assert found["port 0.0.0.0:8082/tcp of fine"]["level"] == "ok"
    assert checked("other", 0)["network other"]["level"] == "ok"
    rule = ("DOCKER-USER", "-d", OUTSIDE4, "-j", "DROP")
    lab.bed.run("iptables", "-I", *rule)
    try:
        found = checked("fine", 1)
    finally:
        lab.bed.run("iptables", "-D", *rule)
    assert "DOCKER-USER" in found["fine to the outside, IPv4"]["text"]
    assert found["fine to the outside, IPv4"]["remedy"] == "ovsnet trace other/fine outside"
    stage.container("alien", "bridge")
    lab.bed.docker("stop", "fine")
    for name, sentence in (
        ("alien", "alien is on no network of ovsnet's, but on bridge"),
        ("fine", "fine does not run: it is exited with code 137, on other"),
        ("nobody", "is neither a network nor a container"),
    ):
        result = lab.bed.try_ovsnet("check", name)
        assert result.code == 1
        assert sentence in " ".join(result.err.split())
    lab.bed.docker("rm", "--force", "fine", "alien")
