"""Policies and members as objects of nftables; ``tests/contract`` tries them on the kernel."""

import json

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.firewall.access_rules import (
    Kind,
    commented,
    name_sets,
    of_member,
    of_policy,
    skeleton,
)
from ovsdriver.adapters.firewall.access_shape import Shape, difference, printed
from ovsdriver.domain.access.policy import Judgement, Member, Policy, Reach, Zone
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.access import AccessProtocol

TABLE = "ovsnet.rules"
KEY = "0123456789ab"
WEB = Reach(
    rule="to 10.1.0.0/16 tcp/443",
    prefix=IPNetwork("10.1.0.0/16"),
    protocol=AccessProtocol.TCP,
    first_port=443,
    last_port=443,
)
HOST = Reach(rule="to host", zone=Zone.HOST)
NAME = Reach(rule="to api.example.com tcp", names=("api.example.com",), protocol=AccessProtocol.TCP)


def policy(*allow: Reach, closed: bool = True) -> Policy:
    return Policy(key=KEY, to=Judgement(allow=allow, closed=closed))


def member(*addresses: str) -> Member:
    return Member(
        endpoint=EndpointId("e" * 64),
        network=NetworkId("a" * 64),
        policy=KEY,
        gateway="ovg000000000001",
        mac=EUI("02:42:00:00:00:02"),
        addresses=tuple(map(IPAddress, addresses)),
    )


def listed(shape: Shape) -> list[dict[str, object]]:
    """Return a shape as libnftables would list it."""
    sets = [
        {kind: {**described, "handle": 1, "elem": list(shape.elements[name].values())}}
        for name, each in shape.sets.items()
        for kind, described in each.items()
    ]
    rules = [rule for each in shape.rules.values() for rule in each]
    return json.loads(json.dumps([*sets, *shape.chains.values(), *rules]))  # type: ignore[no-any-return]


def test_a_policy_is_as_many_rules_whatever_number_it_has() -> None:
    many = [
        Reach(rule=f"to 10.0.{number}.0/24", prefix=IPNetwork(f"10.0.{number}.0/24"))
        for number in range(200)
    ]
    few, all_ = of_policy(policy(*many[:2]), TABLE), of_policy(policy(*many), TABLE)
    assert few.rules == all_.rules
    assert len(all_.elements[f"to_allow4_{KEY}"]) == 200


def test_a_side_that_says_nothing_is_no_packets_business() -> None:
    shape = of_policy(policy(WEB), TABLE)
    assert list(shape.chains) == [f"to_{KEY}"]
    judged = frozenset(Kind.of(policy(WEB)).judged)
    frame = skeleton(TABLE, judged)
    assert "from4" not in json.dumps(frame.rules)
    assert "@to4" in json.dumps(frame.rules)
    assert "outward" not in json.dumps(frame.rules["forward"])


def test_what_a_policy_says_of_the_host_is_judged_apart_and_is_the_last_word() -> None:
    shape = of_policy(policy(WEB, HOST), TABLE)
    apart = [next(iter(each["rule"]["expr"][-1])) for each in shape.rules[f"to_host_{KEY}"]]
    general = [next(iter(each["rule"]["expr"][-1])) for each in shape.rules[f"to_{KEY}"]]
    assert apart == ["accept", "accept", "drop"]
    assert general == ["return", "drop"]


def test_a_member_is_known_by_its_addresses_and_on_its_link_by_the_local_one() -> None:
    found = of_member(member("10.77.1.2", "fd00:77::2"), Kind.of(policy(HOST)))
    to_host = {"jump": {"target": f"to_host_{KEY}"}}
    assert found["members6"].keys() == {"fd00:77::2", "fe80::42:ff:fe00:2"}
    assert found["to4"] == {"10.77.1.2": ["10.77.1.2", {"jump": {"target": f"to_{KEY}"}}]}
    assert found["host_to6"] == {"fd00:77::2": ["fd00:77::2", to_host]}
    ((place, verdict),) = found["link_to6"].values()
    assert (place["concat"], verdict) == (["ovg000000000001", "fe80::42:ff:fe00:2"], to_host)
    assert not any("6" in name for name in of_member(member("10.77.1.2"), Kind.of(policy(HOST))))


def test_addresses_of_names_go_by_themselves_and_are_no_difference() -> None:
    shape = of_policy(policy(NAME), TABLE)
    four, six = name_sets(policy(NAME))
    assert (four.family, six.family) == (4, 6)
    assert dict(four.rules) == {"api.example.com": NAME.rule}
    standing = listed(shape)
    for each in standing:
        if each.get("set", {}).get("name") == four.name:  # type: ignore[attr-defined]
            each["set"]["elem"] = [{"elem": {"val": "192.0.2.1", "timeout": 60}}]  # type: ignore[index]
    assert difference(printed(standing), shape, table=TABLE) == []


@pytest.mark.parametrize("reaches", [(WEB,), (WEB, HOST), (NAME,), ()])
def test_what_was_written_is_no_difference(reaches: tuple[Reach, ...]) -> None:
    shape = of_policy(policy(*reaches), TABLE)
    assert difference(printed(listed(shape)), shape, table=TABLE) == []


def test_what_leads_to_a_chain_goes_before_the_chain_and_its_sets_after() -> None:
    frame = skeleton(TABLE, frozenset(Kind.of(policy(WEB)).judged))
    before, after = Shape(), Shape()
    for shape in (before, after):
        shape.join(frame)
    before.join(of_policy(policy(WEB), TABLE))
    before.elements = {**frame.elements, **of_policy(policy(WEB), TABLE).elements}
    before.elements |= {
        name: dict(each)
        for name, each in of_member(member("10.77.1.2"), Kind.of(policy(WEB))).items()
    }
    commands = difference(before, after, table=TABLE)
    assert commands is not None
    order = [(verb, next(iter(each[verb]))) for each in commands for verb in each]
    assert order[-3:] == [("flush", "chain"), ("delete", "chain"), ("delete", "set")]
    assert ("delete", "element") in order[: order.index(("delete", "chain"))]


def test_another_definition_cannot_be_changed_to() -> None:
    one, other = Shape(), Shape()
    one.sets["x"] = {"set": {"name": "x", "type": "ipv4_addr"}}
    other.sets["x"] = {"set": {"name": "x", "type": "ipv6_addr"}}
    assert difference(one, other, table=TABLE) is None


def test_a_long_rule_is_cut_to_what_an_element_can_carry() -> None:
    assert len(commented("to " + "ä" * 200).encode()) <= 120
