from typing import Any

import pytest

from ovsdriver.domain.plan import port_planning
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options.features import Features
from ovsdriver.domain.wires import desired
from ovsdriver.errors import DriverError
from ovsdriver.words import access_words
from tests.builders import a_network, a_segment, an_endpoint, endpoint_options

ANY = access_words.parse("any")


def on(options: dict[str, Any], **network: Any) -> str:
    home = a_network(segment=a_segment(tag=5), **network)
    with pytest.raises(DriverError) as caught:
        port_planning.with_options(an_endpoint(), endpoint_options(**options), home)
    return str(caught.value)


def test_who_has_rules_is_guarded():
    home = a_network(segment=a_segment(tag=5), guard=False)
    end = port_planning.with_options(an_endpoint(), endpoint_options(allow=ANY), home)
    assert desired.port_options(home, end).guard
    assert desired.port_flows(home, end)
    judged = a_network(segment=a_segment(tag=5), guard=False, rules=("agent",))
    assert desired.port_options(judged, an_endpoint()).guard


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"guard": False}, "ovs.guard=false and ovs.allow contradict each other"),
        ({"trunks": (10,)}, "ovs.allow and ovs.trunks contradict each other"),
    ],
)
def test_rules_that_a_container_could_escape_are_refused(options, words):
    assert words in on({"allow": ANY, **options})


def test_flows_of_rules_need_a_version_of_openflow():
    older = Features(protocols=("OpenFlow10", "OpenFlow13"))
    assert "ovs.protocols=OpenFlow10+OpenFlow13" in on({"deny": ANY}, features=older)
    both = a_network(segment=a_segment(tag=5), features=Features(protocols=("OpenFlow14",)))
    assert port_planning.with_options(an_endpoint(), endpoint_options(deny=ANY), both)


def test_a_container_without_addresses_cannot_be_held_to_rules():
    with pytest.raises(DriverError, match="no address that it could be held to"):
        port_planning.with_options(
            an_endpoint(addresses=()), endpoint_options(deny=ANY), a_network()
        )


@pytest.mark.parametrize("rule", ["example.com", "host", "outside tcp/443"])
def test_what_only_a_gateway_can_judge_is_refused_without_one(rule):
    said = {"allow": access_words.parse(rule)}
    assert "has no gateway; name addresses" in on(said, mode=Mode.FLAT)
    assert "has no gateway; name addresses" in on(said, mode=Mode.ISOLATED)
    assert "the container's ovs.vlan has no gateway" in on({**said, "vlan": 77})


def test_containers_of_a_network_without_gateway_have_rules_about_addresses_and_each_other():
    flat = a_network(segment=a_segment(tag=5), mode=Mode.FLAT)
    rules = access_words.parse("10.0.0.0/8, container:web, from network:lab tcp/80, any icmp")
    assert port_planning.with_options(an_endpoint(), endpoint_options(allow=rules), flat)


def test_containers_that_leave_by_docker_are_not_judged():
    assert "leave by docker_gwbridge" in on({"deny": ANY}, mode=Mode.GWBRIDGE)
