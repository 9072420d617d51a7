"""From a plan to the objects of the table."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.firewall.nft_rules import render
from ovsdriver.domain.records.model import HostAccess, Mode, NetworkId, Publication, Transport
from ovsdriver.domain.traffic.firewall import ACCEPT_MARK, FirewallPlan, GatewayRules, Guard, plain

GOLDEN = Path(__file__).parent / "table.jsonl"
PUBLISHED = Path(__file__).parent / "published.jsonl"


def gateway(number: int, *, mode: Mode = Mode.NAT, link: str = "", **changes: Any) -> GatewayRules:
    return GatewayRules(
        network=NetworkId(f"{number:064x}"),
        link=link or f"ovg{number:012x}",
        mode=mode,
        subnets=(IPNetwork(f"10.66.{number}.0/24"), IPNetwork(f"fd66:{number}::/64")),
        held=(IPAddress(f"10.66.{number}.1"), IPAddress(f"fd66:{number}::1")),
        **changes,
    )


def plan(*gateways: GatewayRules, published: tuple[Publication, ...] = ()) -> FirewallPlan:
    return FirewallPlan(gateways=gateways, published=published)


def publication(
    host: str, host_port: int, address: str, protocol: Transport = Transport.TCP
) -> Publication:
    return Publication(
        protocol=protocol,
        host=IPAddress(host),
        host_port=host_port,
        address=IPAddress(address),
        port=80,
    )


def sets(objects: Any) -> dict[str, list[Any]]:
    found = [each["set"] for each in objects if "set" in each]
    return {each["name"]: each.get("elem", []) for each in found}


def rules(objects: Any, chain: str) -> list[Any]:
    return [each["rule"] for each in objects if each.get("rule", {}).get("chain") == chain]


def test_the_whole_table_is_as_it_was_reviewed() -> None:
    """To accept a change: read it, then write the new text into table.jsonl."""
    objects = render(
        plan(
            gateway(1),
            gateway(2, masquerade=False, host=HostAccess.GATEWAY),
            gateway(3, mode=Mode.ROUTED, icc=False, host=HostAccess.NONE),
            gateway(4, mode=Mode.NAT, mode6=Mode.ROUTED),
            gateway(5, mode=Mode.ROUTED, isolate=True),
        ),
        table="ovsnet",
        outside={"br0"},
        guard=Guard(ipv4=frozenset({"br0", "eth1"}), ipv6_everywhere=True),
        bridges={"br0", "docker0"},
    )
    assert [json.dumps(each) for each in objects] == GOLDEN.read_text().splitlines()


def test_the_rules_of_published_ports_are_as_they_were_reviewed() -> None:
    """To accept a change: read it, then write the new text into published.jsonl."""
    gateways = (gateway(1), gateway(2))
    with_ports = render(
        plan(
            *gateways,
            published=(
                publication("0.0.0.0", 8080, "10.66.1.2"),
                publication("192.0.2.1", 53, "10.66.1.2", Transport.UDP),
                publication("::", 8080, "fd66:1::2"),
                publication("2001:db8::1", 9899, "fd66:1::2", Transport.SCTP),
            ),
        ),
        table="ovsnet",
    )
    without = [json.dumps(each) for each in render(plan(*gateways), table="ovsnet")]
    more = [text for each in with_ports if (text := json.dumps(each)) not in without]
    assert more == PUBLISHED.read_text().splitlines()
    assert len(with_ports) == len(without) + len(more), "they only add"


def test_rules_do_not_grow_with_published_ports() -> None:
    few = render(plan(gateway(1), published=(publication("::", 1, "fd66::2"),)), table="ovsnet")
    ports = tuple(publication("0.0.0.0", n, "10.66.1.2") for n in range(1, 500))
    assert len(render(plan(gateway(1), published=ports), table="ovsnet")) == len(few)


def test_without_gateways_there_is_nothing_to_make() -> None:
    guard = Guard(ipv4=frozenset({"eth0"}))
    assert not render(FirewallPlan(outside_bridges=("br0",)), table="ovsnet", guard=guard)


def test_rules_do_not_grow_with_networks() -> None:
    few = render(plan(gateway(1)), table="ovsnet")
    many = render(plan(*(gateway(n) for n in range(1, 200))), table="ovsnet")
    assert len(few) == len(many)
    assert len(sets(many)["gateways"]) == 199


def test_a_network_without_masquerade_is_in_no_set_that_is_translated() -> None:
    found = sets(render(plan(gateway(1), gateway(2, masquerade=False)), table="ovsnet"))
    assert found["gateways"] == ["ovg000000000001", "ovg000000000002"]
    assert found["masqueraded4"] == found["masqueraded6"] == ["ovg000000000001"]


@pytest.mark.parametrize("family", [4, 6])
def test_only_routed_networks_are_in_sets_that_open_them(family: int) -> None:
    routed = Mode.ROUTED
    gateways = (gateway(1), gateway(2, mode=routed), gateway(3, mode=routed, isolate=True))
    found = sets(render(plan(*gateways), table="ovsnet"))
    assert found[f"reachable{family}"] == ["ovg000000000002", "ovg000000000003"]
    assert found[f"mutual{family}"] == ["ovg000000000002"]
    assert found[f"masqueraded{family}"] == ["ovg000000000001"]


@pytest.mark.parametrize(
    ("mode", "mode6", "reachable", "masqueraded"),
    [
        pytest.param(Mode.NAT, Mode.ROUTED, 6, 4, id="ipv6-routed"),
        pytest.param(Mode.ROUTED, Mode.NAT, 4, 6, id="ipv4-routed"),
    ],
)
def test_a_network_of_two_modes_is_routed_in_one_family_only(
    mode: Mode, mode6: Mode, reachable: int, masqueraded: int
) -> None:
    found = sets(render(plan(gateway(1, mode=mode, mode6=mode6)), table="ovsnet"))
    names = (*("reachable4", "reachable6"), *("masqueraded4", "masqueraded6"))
    filled = {name for name in names if found[name]}
    assert filled == {f"reachable{reachable}", f"masqueraded{masqueraded}"}


def test_containers_that_are_to_be_apart_do_not_meet_at_their_gateway() -> None:
    routed = Mode.ROUTED
    gateways = (gateway(1, mode=routed), gateway(2, mode=routed, icc=False), gateway(3, icc=False))
    objects = render(plan(*gateways), table="ovsnet")
    assert sets(objects)["apart"] == [{"concat": ["ovg000000000002", "ovg000000000002"]}]
    texts = [json.dumps(rule["expr"]) for rule in rules(objects, "from_gateway")]
    drop = next(number for number, text in enumerate(texts) if "@apart" in text)
    assert drop < min(number for number, text in enumerate(texts) if "@mutual" in text)


def test_what_is_closed_of_the_host_is_said_in_sets() -> None:
    gateways = [gateway(n, host=host) for n, host in enumerate(HostAccess, start=1)]
    found = sets(render(plan(*gateways), table="ovsnet"))
    assert found["narrow"] == ["ovg000000000002", "ovg000000000003"]
    assert found["silent"] == ["ovg000000000003"]


def test_each_gateway_s_addresses_are_known_and_whose_they_are() -> None:
    found = sets(render(plan(gateway(2), gateway(1)), table="ovsnet"))
    assert found["held4"] == ["10.66.1.1", "10.66.2.1"]
    assert found["own6"] == [
        {"concat": ["ovg000000000001", "fd66:1::1"]},
        {"concat": ["ovg000000000002", "fd66:2::1"]},
    ]


def test_the_order_of_networks_makes_no_difference() -> None:
    one, two = gateway(1), gateway(2)
    assert render(plan(one, two), table="t") == render(plan(two, one), table="t")


@pytest.mark.parametrize("chain", ["from_gateway", "to_gateway"])
def test_what_is_not_accepted_is_dropped(chain: str) -> None:
    last = rules(render(plan(gateway(1)), table="ovsnet"), chain)[-1]
    assert last["expr"] == [{"drop": None}]


def test_nothing_is_accepted_without_the_mark() -> None:
    objects = render(plan(gateway(1)), table="ovsnet")
    accepting = [
        e["rule"] for e in objects if "rule" in e and {"accept": None} in e["rule"]["expr"]
    ]
    (accept,) = accepting
    assert accept["chain"] == "allow"
    assert f"{ACCEPT_MARK}" in json.dumps(accept["expr"][0])


def test_there_is_no_guard_where_none_is_needed() -> None:
    chains = [e["chain"]["name"] for e in render(plan(gateway(1)), table="t") if "chain" in e]
    assert "guard" not in chains


@pytest.mark.parametrize(
    ("guard", "families", "passed_on"),
    [
        pytest.param(Guard(ipv4=frozenset({"br0"})), ["ipv4"], ["br0"], id="ipv4"),
        pytest.param(Guard(ipv6=frozenset({"eth0"})), ["ipv6"], [], id="ipv6"),
        pytest.param(
            Guard(ipv4=frozenset({"eth0"}), ipv6=frozenset({"br0"})),
            ["ipv4", "ipv6"],
            ["br0"],
            id="both",
        ),
        pytest.param(
            Guard(ipv6_everywhere=True), ["ipv6", "ipv6"], ["br0", "br1"], id="ipv6-everywhere"
        ),
    ],
)
def test_a_guard_drops_what_it_names_and_lets_bridges_pass_frames_on(
    guard: Guard, families: list[str], passed_on: list[str]
) -> None:
    objects = render(plan(gateway(1)), table="t", guard=guard, bridges={"br0", "br1"})
    dropping = [r for r in rules(objects, "guard") if {"drop": None} in r["expr"]]
    assert [rule["expr"][0]["match"]["right"] for rule in dropping] == families
    assert sets(objects)["bridged"] == [{"concat": [b, b]} for b in passed_on]


hostile = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["*", "ovg*", "@gateways", "$x", "a b", 'a"b', "a\\*", "lo; drop", "", "../x"]),
)


@given(name=hostile, where=st.sampled_from(["gateway", "outside", "guard"]))
def test_a_name_is_either_an_element_as_it_is_or_refused(name: str, where: str) -> None:
    gateways = [gateway(1, link=name) if where == "gateway" and name else gateway(1)]
    outside = [name] if where == "outside" else []
    guard = Guard(ipv4=frozenset({name})) if where == "guard" else Guard()

    def rendered() -> Any:
        return render(plan(*gateways), table="ovsnet", outside=outside, guard=guard)

    if where == "gateway" and not name:
        return
    if not plain(name):
        with pytest.raises(ValueError, match="cannot be written into a rule"):
            rendered()
        return
    objects = rendered()
    set_name = {"gateway": "gateways", "outside": "outside", "guard": "guarded4"}[where]
    assert sets(objects)[set_name] == [name]
    without_sets = json.dumps([each for each in objects if "set" not in each])
    reference = render(
        plan(gateway(1)), table="ovsnet", guard=Guard(ipv4=frozenset({"eth0"})) if guard else None
    )
    assert without_sets == json.dumps([each for each in reference if "set" not in each])


@pytest.mark.parametrize("name", ["eth0", "ovg0123456789ab", "br-lan", "eth0.100", "wg_0", "a+b"])
def test_usual_names_are_plain(name: str) -> None:
    assert plain(name)


@pytest.mark.parametrize(
    "name", ["", "*", "eth*", "@eth", "a b", "a/b", 'a"', "a\\", "x" * 16, "é", "eth0\n"]
)
def test_names_that_nftables_could_take_for_something_else_are_not(name: str) -> None:
    assert not plain(name)
