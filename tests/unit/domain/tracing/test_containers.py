"""The sentence that matters: why two containers do or do not talk."""

from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.tracing import containers as tracing
from ovsdriver.domain.tracing.containers import Bridged, End, FarPlace, Inside
from ovsdriver.domain.tracing.hops import Question, Verdict

INSIDE = Inside(
    up=True,
    addresses=tuple(map(IPNetwork, ("10.0.0.2/24", "10.0.0.3/24", "10.1.0.3/24"))),
    way=IPNetwork("10.0.0.0/24"),
    through_this=True,
)
WEB = End(
    name="web",
    network="lab",
    network_id="a" * 64,
    state="attached",
    fault="",
    addresses=(IPNetwork("10.0.0.2/24"),),
    bridge="br-ovsnet",
    vlan=10,
    mode="nat",
    isolate=False,
    icc=True,
    protected=False,
    sink=False,
    inside=INSIDE,
)
DB = replace(WEB, name="db", addresses=(IPNetwork("10.0.0.3/24"),))
AWAY = replace(
    DB, network="other", network_id="b" * 64, vlan=20, addresses=(IPNetwork("10.1.0.3/24"),)
)
PING = Question()
FORWARDED = Bridged(actions="2")


def told(a: End, b: End, asked: Question = PING, bridged: Bridged | None = FORWARDED) -> str:
    return tracing.verdict(a, b, asked, tracing.trace(a, b, asked, bridged))


def test_nothing_stands_against_two_containers_of_one_network() -> None:
    steps = tracing.trace(WEB, DB, Question(), FORWARDED)
    assert all(step.verdict is Verdict.PASS for step in steps)
    assert "web reaches db (icmp)" in told(WEB, DB)
    assert any("datapath actions: 2" in step.sentence for step in steps)


def test_patches_lead_from_one_bridge_to_another_unless_they_are_pulled() -> None:
    there = replace(DB, bridge="br-core", network="core")
    near = replace(WEB, joined=frozenset({"br-core"}), icc=False)
    assert "web reaches db" in told(near, there)
    pulled = replace(WEB, pulled=frozenset({"br-core"}))
    assert "ovs.patch_link=up" in told(pulled, there)


def test_a_pulled_uplink_is_why_nobody_on_the_wire_is_reached() -> None:
    flat = replace(WEB, mode="flat", has_wire=True)
    target = IPAddress("10.0.0.9")
    assert [each.verdict for each in tracing.on_its_own_network(flat, target)] == [Verdict.UNSURE]
    pulled = replace(flat, wire_pulled=True)
    for hops in (tracing.on_its_own_network(pulled, target), tracing.without_gateway(pulled)):
        (hop,) = hops
        assert "ovs.uplink_link=up" in hop.sentence


def inside(**changes: Any) -> Inside:
    return replace(INSIDE, **changes)


@pytest.mark.parametrize(
    ("a", "b", "bridged", "why"),
    [
        pytest.param(replace(WEB, state="created"), DB, None, "is not plugged in", id="stopped"),
        pytest.param(
            replace(WEB, state="broken", fault="no such device"),
            DB,
            None,
            "no such device",
            id="broken",
        ),
        pytest.param(WEB, replace(DB, sink=True), None, "mirrored packets", id="a sink"),
        pytest.param(
            WEB,
            replace(DB, addresses=(IPNetwork("fd00::3/64"),)),
            None,
            "web has IPv4 and db IPv6",
            id="no common family",
        ),
        pytest.param(
            replace(WEB, inside=inside(up=False)), DB, None, "of web on lab is down", id="down"
        ),
        pytest.param(
            WEB, replace(DB, inside=inside(addresses=())), None, "10.0.0.3/24 inside", id="lost"
        ),
        pytest.param(
            replace(WEB, inside=inside(way=None)), DB, None, "no route to 10.0.0.3", id="no route"
        ),
        pytest.param(
            replace(WEB, icc=False), replace(DB, icc=False), None, "ovs.icc=true", id="no icc"
        ),
        pytest.param(
            replace(WEB, protected=True),
            replace(DB, protected=True),
            None,
            "ovs.protected=false",
            id="protected",
        ),
        pytest.param(WEB, replace(DB, vlan=11), None, "ovs.vlan=", id="another VLAN"),
        pytest.param(WEB, DB, Bridged(actions="drop"), "br-ovsnet drops it", id="a flow"),
    ],
)
def test_the_first_thing_that_stands_against_it_is_told(
    a: End, b: End, bridged: Bridged | None, why: str
) -> None:
    said = told(a, b, bridged=bridged)
    assert said.startswith("web does not reach db (icmp): ")
    assert why in said


@pytest.mark.parametrize(("listens", "reaches"), [(True, True), (False, False), (None, True)])
def test_somebody_must_listen_on_a_port(listens: bool | None, reaches: bool) -> None:
    asked = Question(protocol="tcp", port=5432)
    said = told(WEB, replace(DB, inside=inside(listens=listens)), asked)
    assert said.startswith("web reaches" if reaches else "web does not reach db (tcp/5432): nobody")


def test_what_cannot_be_looked_into_does_not_stand_against_it() -> None:
    assert "web reaches db" in told(replace(WEB, inside=None), replace(DB, inside=None))


@pytest.mark.parametrize(
    ("end", "published", "verdict", "by"),
    [
        (replace(WEB, mode="isolated", closed="ovs.mode=isolated"), False, "stop", "ovs.mode=isol"),
        (replace(WEB, mode="isolated", closed="--internal"), True, "stop", "--internal of lab"),
        (replace(WEB, mode="flat"), False, "stop", "ovs.mode=flat of lab"),
        (replace(WEB, mode="flat", has_wire=True), False, "unsure", "ovs.mode=flat of lab"),
        (replace(WEB, mode="gwbridge"), False, "stop", "ovs.mode=gwbridge of lab"),
        (replace(WEB, mode="gwbridge"), True, "unsure", "ovs.mode=gwbridge of lab"),
    ],
)
def test_without_a_gateway_the_mode_says_how_far_it_gets(
    end: End, published: bool, verdict: str, by: str
) -> None:
    (hop,) = tracing.without_gateway(end, published=published)
    assert hop.verdict == verdict
    assert hop.by.startswith(by)


def test_a_network_that_is_closed_is_why_there_is_no_route() -> None:
    lost = replace(WEB, closed="--internal", inside=inside(way=None))
    hop = next(tracing.inside(lost, IPAddress("192.0.2.9")))
    assert hop.by == "--internal of lab"
    assert "docker network connect NETWORK web" in hop.sentence


def test_an_address_that_nobody_has_may_be_on_the_wire() -> None:
    target = IPAddress("10.0.0.77")
    (hop,) = tracing.on_its_own_network(WEB, target)
    assert "nobody on lab has 10.0.0.77" in hop.sentence
    (hop,) = tracing.on_its_own_network(replace(WEB, has_wire=True), target)
    assert hop.verdict is Verdict.UNSURE


def test_a_container_that_left_its_vlan_does_not_reach_its_gateway() -> None:
    assert not list(tracing.in_gateways_vlan(WEB))
    (hop,) = tracing.in_gateways_vlan(replace(WEB, vlan=30, home_vlan=10))
    assert "ovs.vlan=" in hop.sentence


def test_a_flow_of_ours_is_named_by_its_option() -> None:
    guarded = Bridged(actions="drop", by="ovs.guard of lab/web")
    hop = next(tracing.at_the_bridge(WEB, guarded, "db"))
    assert hop.by == "ovs.guard of lab/web"
    assert "ovs.guard=false" in hop.sentence
    hop = next(tracing.at_the_bridge(WEB, Bridged(actions="drop"), "db"))
    assert hop.by == "a flow of br-ovsnet"


def test_segments_are_told_apart_though_all_are_on_one_bridge() -> None:
    blue = {"bridge": "br-int", "vlan": 0, "mode": "gwbridge", "segment": "blue"}
    web, db = replace(WEB, **blue), replace(DB, **blue)
    assert "web reaches db" in told(web, db)
    assert any(
        "both are on segment blue" in each.sentence for each in tracing.trace(web, db, PING, None)
    )
    red = replace(db, segment="red", network="other", network_id="b" * 64)
    assert "lab and other are not one segment" in told(web, red, bridged=None)
    assert not tracing.together(web, replace(AWAY, bridge="br-int", vlan=0))


BLUE = replace(WEB, bridge="br-int", vlan=0, mode="gwbridge", segment="blue")
FAR = FarPlace(address=IPAddress("10.0.0.9"), container="db", host="host3", hears=True)


def test_containers_of_two_hosts_that_ovn_keeps_apart_are_told_why() -> None:
    def why(a: End, to: FarPlace) -> str:
        return tracing.verdict(a, to, PING, tracing.trace_far(a, to, PING, None))

    protected = replace(BLUE, protected=True)
    assert "both have ovs.protected=true" in why(protected, replace(FAR, apart=True))
    assert "may reach db" in why(protected, FAR)
    assert "may reach db" in why(BLUE, replace(FAR, apart=True))
    closed = why(replace(BLUE, icc=False), FAR)
    assert "ovs.icc=false keeps all containers of segment blue apart" in closed


@pytest.mark.parametrize(
    ("to", "bridged", "why"),
    [
        (FAR, Bridged(actions="tnl_push(5)"), "web may reach db on host3"),
        (FAR, Bridged(actions="drop"), "bridge br-int drops it; `ovn-trace blue`"),
        (replace(FAR, hears=False), None, "host host3 does not answer"),
        (replace(FAR, hears=None), None, "web may reach db on host3"),
        (FarPlace(address=IPAddress("10.0.0.9")), None, "nobody has 10.0.0.9 on segment blue"),
        (replace(FAR, address=IPAddress("fd00::9")), None, "web has IPv4 only"),
    ],
)
def test_a_container_of_another_host_is_traced_as_far_as_this_one_knows(
    to: FarPlace, bridged: Bridged | None, why: str
) -> None:
    steps = tracing.trace_far(BLUE, to, PING, bridged)
    assert why in tracing.verdict(BLUE, to, PING, steps)
