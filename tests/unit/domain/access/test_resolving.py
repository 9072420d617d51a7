from typing import Any

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.access.policy import AccessPlan, Judgement, Policy, Reach, Zone
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Mode, Network
from ovsdriver.domain.records.options.access import AccessProtocol, RuleSet
from ovsdriver.domain.wires import desired
from ovsdriver.words import access_words
from tests.builders import BLUE, FIRST, RED, SECOND, a_network, a_segment, a_subnet, an_endpoint

THIRD = EndpointId("a3" * 32)


def network(network_id: str = RED, **options: Any) -> Network:
    return a_network(network_id, segment=a_segment(tag=5), **_read(options))


def endpoint(endpoint_id: str = FIRST, **options: Any) -> Endpoint:
    return an_endpoint(endpoint_id, **_read(options))


def _read(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: access_words.parse(said) if name in ("allow", "deny") else said
        for name, said in options.items()
    }


def a_set(name: str, *, allow: str = "", deny: str = "") -> dict[str, RuleSet]:
    rules = {k: access_words.parse(v) for k, v in (("allow", allow), ("deny", deny)) if v}
    return {name: RuleSet(name=name, **rules)}


def only(plan: AccessPlan) -> Policy:
    (policy,) = plan.policies
    assert {each.policy for each in plan.members} == {policy.key}
    return policy


def test_without_rules_there_is_nothing():
    assert desired.access([network()], [endpoint()]) == AccessPlan()


def test_a_member_has_the_gateway_the_mac_and_all_addresses_of_its_end():
    both = (IPNetwork("10.1.0.2/24"), IPNetwork("fd00::2/64"))
    (member,) = desired.access([network(allow="any")], [endpoint(addresses=both)]).members
    assert member.endpoint == FIRST
    assert member.network == RED
    assert member.gateway == names.gateway_link(RED)
    assert member.mac == endpoint().mac
    assert member.addresses == (IPAddress("10.1.0.2"), IPAddress("fd00::2"))


def test_who_does_not_pass_a_gateway_has_none():
    flat = network(mode=Mode.FLAT, allow="any")
    aside = [network(allow="any")], [endpoint(vlan=77)]
    assert desired.access([flat], [endpoint()]).members[0].gateway == ""
    assert desired.access(*aside).members[0].gateway == ""


def test_rules_become_reaches_of_the_side_that_they_are_about():
    said = endpoint(
        allow="example.com tcp/443, 10.9.0.0/16, outside udp/53, from host tcp/80-90",
        deny="10.9.1.0/24 icmp, from any udp",
    )
    policy = only(desired.access([network()], [said]))
    assert set(policy.to.allow) == {
        Reach(
            rule="to example.com tcp/443",
            names=("example.com",),
            protocol=AccessProtocol.TCP,
            first_port=443,
            last_port=443,
        ),
        Reach(rule="to 10.9.0.0/16", prefix=IPNetwork("10.9.0.0/16")),
        Reach(
            rule="to outside udp/53",
            zone=Zone.OUTSIDE,
            protocol=AccessProtocol.UDP,
            first_port=53,
            last_port=53,
        ),
    }
    assert policy.to.deny == (
        Reach(
            rule="to 10.9.1.0/24 icmp",
            prefix=IPNetwork("10.9.1.0/24"),
            protocol=AccessProtocol.ICMP,
        ),
    )
    assert policy.from_.allow == (
        Reach(
            rule="from host tcp/80-90",
            zone=Zone.HOST,
            protocol=AccessProtocol.TCP,
            first_port=80,
            last_port=90,
        ),
    )
    assert policy.from_.deny == (Reach(rule="from any udp", protocol=AccessProtocol.UDP),)
    assert policy.to.closed
    assert policy.from_.closed
    assert policy.asks_names


def test_a_side_is_closed_by_an_allow_alone():
    policy = only(desired.access([network(deny="10.0.0.0/8")], [endpoint(allow="from any")]))
    assert not policy.to.closed
    assert policy.from_.closed


def test_what_a_container_says_replaces_what_its_network_says_of_that_option():
    home = network(allow="10.0.0.0/8", deny="10.2.0.0/16")
    policy = only(desired.access([home], [endpoint(allow="10.3.0.0/16")]))
    assert [each.rule for each in policy.to.allow] == ["to 10.3.0.0/16"]
    assert [each.rule for each in policy.to.deny] == ["to 10.2.0.0/16"]


def test_sets_and_options_add_up():
    sets = a_set("agent", allow="192.0.2.1", deny="any udp") | a_set("web", allow="from any tcp/80")
    said = endpoint(allow="10.0.0.0/8", rules=("agent", "web"))
    policy = only(desired.access([network()], [said], sets=sets))
    assert {each.rule for each in policy.to.allow} == {"to 10.0.0.0/8", "to 192.0.2.1"}
    assert [each.rule for each in policy.to.deny] == ["to any udp"]
    assert [each.rule for each in policy.from_.allow] == ["from any tcp/80"]


def test_a_set_that_is_not_there_closes_both_sides():
    policy = only(desired.access([network(rules=("agent",))], [endpoint()]))
    assert policy.to == policy.from_ == Judgement(closed=True)


def test_a_container_is_meant_at_all_its_addresses_on_networks_of_ours():
    blue = network(BLUE, subnets=(a_subnet("10.2.0.0/24", "10.2.0.1"),))
    peers = [
        endpoint(SECOND, addresses=(IPNetwork("10.1.0.9/24"), IPNetwork("fd00::9/64"))),
        endpoint(THIRD, network=BLUE, addresses=(IPNetwork("10.2.0.9/24"),)),
    ]
    called = {SECOND: "web", THIRD: "web"}
    said = endpoint(allow="container:web tcp/80")
    policy = only(desired.access([network(), blue], [said, *peers], called=called))
    assert {each.prefix for each in policy.to.allow} == {
        IPNetwork("10.1.0.9/32"),
        IPNetwork("fd00::9/128"),
        IPNetwork(peers[0].mac.ipv6_link_local()),
        IPNetwork("10.2.0.9/32"),
    }
    assert {each.rule for each in policy.to.allow} == {"to container:web tcp/80"}


def test_a_network_is_meant_with_all_its_subnets():
    subnets = (a_subnet("10.2.0.0/24", "10.2.0.1"), a_subnet("fd02::/64", None))
    blue = network(BLUE, subnets=subnets)
    called = {RED: "red", BLUE: "blue"}
    policy = only(
        desired.access([network(), blue], [endpoint(deny="from network:blue")], called=called)
    )
    assert {each.prefix for each in policy.from_.deny} == {each.cidr for each in subnets}


def test_a_network_has_all_link_local_addresses_for_who_is_on_it_and_none_for_others():
    six = (a_subnet("10.2.0.0/24", "10.2.0.1"), a_subnet("fd02::/64", None))
    networks = [network(deny="network:blue"), network(BLUE, deny="network:blue", subnets=six)]
    ends = [endpoint(), endpoint(SECOND, network=BLUE, addresses=(IPNetwork("10.2.0.9/24"),))]
    plan = desired.access(networks, ends, called={BLUE: "blue"})
    found = {each.key: {reach.prefix for reach in each.to.deny} for each in plan.policies}
    for member in plan.members:
        near = member.network == BLUE
        assert (IPNetwork("fe80::/10") in found[member.policy]) is near


def test_a_name_that_nobody_has_allows_nobody():
    gone = endpoint(SECOND, ended=True, addresses=(IPNetwork("10.1.0.9/24"),))
    called = {SECOND: "web"}
    said = endpoint(allow="container:web, network:lab")
    policy = only(desired.access([network()], [said, gone], called=called))
    assert policy.to == Judgement(closed=True)


def test_containers_whose_rules_say_the_same_share_a_policy():
    one = endpoint(allow="10.0.0.0/8, from any tcp/80", deny="any udp")
    other = endpoint(
        SECOND,
        allow="from any tcp/80, 10.0.0.0/8",
        rules=("udp",),
        addresses=(IPNetwork("10.1.0.3/24"),),
    )
    plan = desired.access([network()], [one, other], sets=a_set("udp", deny="any udp"))
    policy = only(plan)
    assert [each.endpoint for each in plan.members] == [FIRST, SECOND]
    assert len(policy.key) == 12
    assert int(policy.key, 16) >= 0
    differs = desired.access([network()], [endpoint(allow="10.0.0.0/8", deny="any udp")])
    assert only(differs).key != policy.key


def test_who_has_ended_is_no_member():
    assert desired.access([network(allow="any")], [endpoint(ended=True)]) == AccessPlan()
    assert desired.access([network(allow="any", ended=True)], [endpoint()]) == AccessPlan()
