"""Routers that are containers, routes, and addresses of this host, as they are planned."""

from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.firewall.nft_rules import render
from ovsdriver.domain.plan.inputs import HostRoute
from ovsdriver.domain.records.model import HostAccess, Mode, Network, StaticRoute
from ovsdriver.domain.records.requests import TypedGateway
from ovsdriver.domain.wires import desired
from ovsdriver.errors import ConflictError, DriverError, InvalidOptionError
from tests.builders import BLUE, OWNER, RED, a_network, a_subnet, an_endpoint, new_network
from tests.unit.domain.plan.test_planning import V4, V6, planned

LEG = IPNetwork("10.1.0.250/24")


def flat(*subnets: tuple[str, str], around: dict[str, Any] | None = None, **said: Any) -> Network:
    return planned(
        new_network(RED, *(subnets or (V4,)), **({"mode": Mode.FLAT} | said)), **(around or {})
    )


def test_this_host_s_address_is_a_closed_port_of_its_own_that_forwards_nothing() -> None:
    network = flat(host_addresses=(LEG,))
    assert network.host is HostAccess.NONE
    leg = desired.gateway(network, owner=OWNER)
    assert leg is not None
    assert (leg.addresses, leg.port.tag) == ((LEG,), network.segment.tag)
    plan = desired.firewall([network])
    (rules,) = plan.gateways
    assert [str(each) for each in rules.held] == ["10.1.0.0", "10.1.0.250", "10.1.0.255"]
    assert not plan.carries(4), "nothing else of the host forwards on its account"
    assert plan.legs == {rules.link}
    objects = render(plan, table="ovsnet")
    sets = {each["set"]["name"]: each["set"].get("elem") for each in objects if "set" in each}
    assert sets["legs"] == sets["silent"] == [rules.link]
    opened = flat(host_addresses=(LEG,), host=HostAccess.GATEWAY)
    assert desired.firewall([opened]).gateways[0].host is HostAccess.GATEWAY


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param({"mode": Mode.NAT}, "no address of its own on .* ovs.mode=nat", id="nat"),
        pytest.param({"mode": Mode.ISOLATED}, "use -o ovs.mode=flat", id="isolated"),
        pytest.param({"host_addresses": (IPNetwork("10.9.0.1/24"),)}, "in no subnet", id="outside"),
        pytest.param({"host_addresses": (IPNetwork("10.1.0.255/24"),)}, "no address", id="edge"),
        pytest.param({"host_addresses": (IPNetwork("10.1.0.9/8"),)}, "10.1.0.254/24", id="wider"),
        pytest.param(
            {"gateways": TypedGateway(addresses=(LEG.ip,))}, "which is a router", id="gateway"
        ),
    ],
)
def test_an_address_of_this_host_that_cannot_be_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidOptionError, match=why):
        flat(**({"host_addresses": (LEG,)} | said))


def test_this_host_is_on_a_subnet_once() -> None:
    route = HostRoute(destination=IPNetwork("10.1.0.0/16"), link="eth0")
    with pytest.raises(ConflictError, match=r"overlaps the host's route to .* via eth0"):
        flat(host_addresses=(LEG,), around={"routes": [route]})
    other = a_network(id=BLUE, mode=Mode.FLAT, subnets=(), host_addresses=(LEG,))
    with pytest.raises(ConflictError, match="the host is on both"):
        flat(host_addresses=(LEG,), around={"networks": [other]})
    with pytest.raises(DriverError, match="the host is on both"):
        planned(new_network(RED, V4), networks=[other])


def test_a_router_container_is_let_through_where_others_are_not() -> None:
    network = a_network(
        mode=Mode.FLAT, icc=False, subnets=(a_subnet(gateway="10.1.0.9"),), guard=True
    )
    router = an_endpoint(addresses=(IPNetwork("10.1.0.9/24"),))
    other = an_endpoint(addresses=(IPNetwork("10.1.0.8/24"),))
    assert network.is_gateway(router)
    assert not network.is_gateway(other)
    assert not desired.protected(network, router)
    assert desired.protected(network, other)
    assert any(
        flow.passes and flow.match.eth_type == 0x0800 and flow.match.ipv4_src is None
        and flow.match.ip_protocol is None
        for flow in desired.port_flows(network, router).flows
    )  # fmt: skip


def test_routes_without_a_router_go_by_the_gateway_of_their_family() -> None:
    six = StaticRoute(to=IPNetwork("fd51::/48"))
    gateway = TypedGateway(addresses=(IPAddress("10.1.0.9"), IPAddress("fd00:1::9")))
    assert flat(V4, V6, gateways=gateway, routes=(six,)).routes == (six,)
    with pytest.raises(InvalidOptionError, match="no gateway that leads there"):
        flat(V4, V6, routes=(six,))
    assert flat(gateways=TypedGateway(container="vpn")).gateway_container == "vpn"
