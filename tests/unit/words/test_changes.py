"""What is typed after ``ovsnet set``, and the values in force."""

from dataclasses import replace

import pytest
from netaddr import IPAddress

from ovsdriver.domain.plan.replanning import Touched
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.segments import BondMode, Lacp, Uplink
from ovsdriver.errors import InvalidOptionError, UnsupportedError
from ovsdriver.words import in_force, options
from ovsdriver.words.changes import OtherOptions
from ovsdriver.words.options import Scope
from tests.builders import a_network, a_segment, altered, an_endpoint

NETWORK = a_network(
    segment=a_segment(tag=7),
    options={"ovs.vlan": "7", "com.docker.network.driver.mtu": "1400", "com.example.rack": "3"},
)


def test_what_was_typed_is_read_again_with_the_changes_in_it() -> None:
    wish = OtherOptions(typed={"OVS.ICC": "false", "ovs.mtu": "1300", "ovs.vlan": ""})
    said, touched = wish.of_network(NETWORK)
    assert (said.icc, said.port.mtu, said.port.vlan) == (False, 1300, None)
    assert said.typed == {"com.example.rack": "3", "OVS.ICC": "false", "ovs.mtu": "1300"}
    assert touched == Touched(
        fields=frozenset({"icc", "port.mtu", "port.vlan"}), anew=frozenset({"port.vlan"})
    )


def test_another_name_of_an_option_takes_its_place() -> None:
    said, _ = OtherOptions(typed={"com.docker.network.driver.mtu": ""}).of_network(
        replace(NETWORK, options={"ovs.mtu": "1400"})
    )
    assert (said.port.mtu, said.typed) == (None, {})
    endpoint = an_endpoint(options={"com.docker.network.driver.mtu": "1400"})
    assert OtherOptions(typed={"ovs.mtu": "1300"}).of_endpoint(endpoint).port.mtu == 1300


@pytest.mark.parametrize("scope", [Scope.NETWORK, Scope.ENDPOINT])
def test_every_fixed_option_is_refused_with_what_to_do_instead(scope: Scope) -> None:
    for row in options.rows(scope):
        if not row.fixed:
            continue
        wish = OtherOptions(typed={row.name: ""})
        with pytest.raises(UnsupportedError, match=f"^{row.name}: cannot be changed") as refused:
            wish.of_network(NETWORK) if scope is Scope.NETWORK else wish.of_endpoint(an_endpoint())
        assert str(refused.value).endswith(row.fixed)


def test_every_option_has_its_value_in_force() -> None:
    """A new row needs an attribute of its name in the record, or a line in ``in_force``."""
    for scope, values in (
        (Scope.NETWORK, in_force.of_network(NETWORK)),
        (Scope.ENDPOINT, in_force.of_endpoint(NETWORK, an_endpoint())),
    ):
        names = {row.name for row in options.rows(scope)} - {
            "ovs.bridge.userspace",
            "ovs.bridge.add_ports",
        }
        assert values.keys() == names
    assert all(row.fixed for row in options.rows(Scope.IPAM)), "no command changes them"


def test_values_are_as_a_user_would_type_them() -> None:
    uplink = Uplink(nics=("eth1", "eth2"), bond=BondMode.BALANCE_SLB, lacp=Lacp.PASSIVE)
    values = in_force.of_network(
        altered(
            NETWORK,
            segment=a_segment(tag=0, uplink=uplink),
            vlan_mode=VlanMode.DOT1Q_TUNNEL,
            cvlans=(VlanTag(5), VlanTag(6)),
            mode6=Mode.ROUTED,
            bindings=(IPAddress("10.0.0.1"), IPAddress("fd00::1")),
        )
    )
    assert (
        values.items()
        >= {
            "ovs.bridge": "br-ovsnet",
            "ovs.vlan": "none",
            "ovs.vlan_mode": "dot1q-tunnel",
            "ovs.cvlans": "5-6",
            "ovs.shared": "false",
            "ovs.space": "ovsnet",
            "ovs.mode": "nat",
            "ovs.isolate": "false",
            "ovs.icc": "true",
            "ovs.gateway": "10.1.0.1",
            "ovs.mtu": "1500",
            "ovs.port": "veth",
            "ovs.uplink": "eth1+eth2",
            "ovs.bond": "balance-slb",
            "ovs.lacp": "passive",
            "ovs.uplink_move": "false",
            "ovs.datapath": "netdev",
            "ovs.ifprefix": "eth",
        }.items()
    )
    docker = "com.docker.network.bridge."
    assert values[f"{docker}gateway_mode_ipv4"] == "nat"
    assert values[f"{docker}gateway_mode_ipv6"] == "routed"
    assert values[f"{docker}host_binding_ipv4"] == "10.0.0.1,fd00::1"


def test_what_an_endpoint_has_from_its_network_is_shown_as_its_own() -> None:
    network = altered(NETWORK, mtu=1400)
    values = in_force.of_endpoint(network, an_endpoint(trunks=(VlanTag(5),)))
    assert (values["ovs.mtu"], values["ovs.vlan"], values["ovs.trunks"]) == ("1400", "7", "5")
    assert (values["ovs.vlan_mode"], values["ovs.ofport"]) == ("native-untagged", None)
    assert values["ovs.mac"] == "0a:0f:0a:01:00:02"
    trunk = an_endpoint(trunks=(VlanTag(5),), vlan_mode=VlanMode.TRUNK)
    assert in_force.of_endpoint(network, trunk)["ovs.vlan"] is None


def test_a_key_of_somebody_else_is_no_option() -> None:
    with pytest.raises(InvalidOptionError, match=r"com\.example\.rack.: no option of ovsnet's"):
        OtherOptions(typed={"com.example.rack": "4"}).of_network(NETWORK)
