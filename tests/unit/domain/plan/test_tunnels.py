"""QinQ: which networks and containers may have tags below their own, and what they get."""

from typing import Any

import pytest

from ovsdriver.domain.plan.bridges import tunnels
from ovsdriver.domain.plan.bridges.vlan_planning import choose
from ovsdriver.domain.plan.inputs import Defaults, PlanInputs
from ovsdriver.domain.plan.planning import plan
from ovsdriver.domain.plan.port_planning import with_options
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.requests import EndpointOptions
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.uplinks import KnownNic
from ovsdriver.errors import DriverError, InvalidOptionError, UnsupportedError
from tests.builders import RED, a_network, an_endpoint, endpoint_options, new_network

DEFAULTS = Defaults(bridge="br-ovsnet", datapath=None, vlans=(1, 4094), mtu=1500)
TUNNEL = VlanMode.DOT1Q_TUNNEL
CUSTOMERS = (VlanTag(7), VlanTag(8))


def planned(*, two_tags: bool = True, **options: Any) -> Any:
    said = {"vlan_mode": TUNNEL, "vlan": VlanTag(30), "uplink": ("eth1",)} | options
    around = PlanInputs(
        networks=(),
        pools=(),
        bridge=None,
        routes=(),
        datapaths=("netdev",),
        two_tags=two_tags,
        nics={"eth1": KnownNic(name="eth1", mtu=1500)},
    )
    new = new_network(RED, **said)
    return plan(new, choose(new, around, DEFAULTS, "br-eth1"), around, DEFAULTS)


def test_a_tunnel_has_a_service_tag_and_the_customers_tags() -> None:
    made = planned(cvlans=CUSTOMERS)
    assert (made.segment.tag, made.port.tunnels, made.port.cvlans) == (30, True, CUSTOMERS)
    assert not planned(vlan_mode=None).port.tunnels


def test_a_tunnels_mtu_leaves_room_for_a_customers_tag() -> None:
    assert planned().mtu == 1496
    with pytest.raises(InvalidOptionError, match="ip link set eth1 mtu 1504"):
        planned(mtu=1500)
    assert planned(uplink=()).mtu == 1500


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        pytest.param(
            {"vlan": VlanTag(0)}, InvalidOptionError, "needs a service tag", id="without a tag"
        ),
        pytest.param(
            {"vlan_mode": None, "cvlans": CUSTOMERS},
            InvalidOptionError,
            "ovs.cvlans=7-8 is about tags inside",
            id="customers without a tunnel",
        ),
        pytest.param(
            {"two_tags": False}, UnsupportedError, "other_config:vlan-limit=2", id="one tag"
        ),
    ],
)
def test_what_cannot_be_a_tunnel_is_refused(
    options: dict[str, Any], error: type[DriverError], words: str
) -> None:
    with pytest.raises(error, match=words):
        planned(**options)


@pytest.mark.parametrize(
    ("limit", "two"), [(None, False), ("1", False), ("x", False), ("0", True), ("2", True)]
)
def test_two_tags_are_looked_at_as_open_vswitch_is_set(limit: str | None, two: bool) -> None:
    assert tunnels.looks_at_two({} if limit is None else {"vlan-limit": limit}) is two


def test_containers_of_a_tunnel_have_tunnel_ports() -> None:
    network = a_network(vlan_mode=TUNNEL, cvlans=CUSTOMERS, mode=Mode.FLAT)
    endpoint = with_options(an_endpoint(), EndpointOptions(), network)
    port = desired.attachment(network, endpoint, owner="ovsnet").port
    assert (port.vlan_mode, port.tag, port.trunks, port.cvlans) == (TUNNEL, 1, (), CUSTOMERS)


def test_one_container_may_have_a_tunnel_or_none() -> None:
    options = endpoint_options(vlan_mode=TUNNEL, cvlans=CUSTOMERS)
    endpoint = with_options(an_endpoint(), options, a_network())
    assert (endpoint.port.vlan_mode, endpoint.port.cvlans) == (TUNNEL, CUSTOMERS)
    network = a_network(vlan_mode=TUNNEL, cvlans=CUSTOMERS)
    endpoint = with_options(an_endpoint(), endpoint_options(vlan_mode=VlanMode.ACCESS), network)
    assert (endpoint.port.vlan_mode, endpoint.port.cvlans) == (VlanMode.ACCESS, ())
