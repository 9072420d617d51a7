"""Words of other drivers: what they become here, or what to type instead."""

import pytest

from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.errors import InvalidOptionError
from ovsdriver.words import options


@pytest.mark.parametrize(
    ("parent", "uplink", "vlan"),
    [("eth0.30", "eth0", 30), ("eth0", "eth0", 0), ("wan.a.7", "wan.a", 7)],
)
def test_the_parent_of_macvlan_is_an_uplink_with_its_vlan(
    parent: str, uplink: str, vlan: int
) -> None:
    found = options.network({"parent": parent}, internal=False)
    assert (found.uplink, found.port.vlan) == ((uplink,), VlanTag(vlan))
    assert found.typed == {"ovs.uplink": uplink, "ovs.vlan": str(vlan or "none")}


@pytest.mark.parametrize(("mode", "icc"), [("bridge", True), ("Private", False)])
def test_modes_of_macvlan_say_whether_containers_reach_each_other(mode: str, icc: bool) -> None:
    found = options.network({"Parent": "eth0.30", "macvlan_mode": mode}, internal=False)
    assert found.icc is icc


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"macvlan_mode": "vepa"}, "only bridge and private"),
        ({"ipvlan_mode": "l2"}, "leave it out"),
        ({"bridge": "br0"}, "-o ovs.bridge=br0"),
        ({"bridge": "$(reboot)"}, "cannot be a bridge's name"),
        ({"ipv6": "true"}, "docker network create --ipv6"),
        ({"lease_timeout": "10s"}, "--ip-range"),
        ({"parent": "eth0.30", "ovs.vlan": "40"}, "means ovs.vlan=30"),
        ({"parent": "eth0.4095"}, "not a VLAN id"),
        ({"parrent": "eth0.30"}, "no such option"),
        ({"kathara.link": "A"}, "no such option"),
    ],
)
def test_what_is_not_certain_is_refused_with_what_to_type(
    typed: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        options.network(typed, internal=False)
    assert words in str(refused.value)


def test_katharas_words_of_endpoints_are_its_mac_and_labels() -> None:
    typed = {"kathara.mac_addr": "02:00:00:00:00:07", "kathara.iface": "0", "kathara.link": "A"}
    found = options.endpoint(typed)
    assert found.mac is not None
    assert mac_text(found.mac) == "02:00:00:00:00:07"
    assert found.ignored == ("kathara.iface", "kathara.link")
