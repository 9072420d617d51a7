"""Words about ways out: what is a route, and what is refused with which sentence."""

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import StaticRoute
from ovsdriver.words.routes import gateway, routes, routes_text


def test_routes_are_read_as_they_are_written() -> None:
    text = "10.51.0.0/16 via 10.9.0.2+fd51::/48"
    found = routes(text)
    assert found == (
        StaticRoute(to=IPNetwork("10.51.0.0/16"), via=IPAddress("10.9.0.2")),
        StaticRoute(to=IPNetwork("fd51::/48"), via=None),
    )
    assert routes_text(found) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0/0 via 10.0.0.1", "say ovs.gateway for that"),
        ("10.5.0.1/16", "write 10.5.0.0/16"),
        ("10.5.0.0/16 via fd00::1", "mixes IPv4 and IPv6"),
        ("10.5.0.0/16, 10.5.0.0/16 via 10.0.0.1", "names 10.5.0.0/16 twice"),
        ("127.0.0.0/8 via 10.0.0.1", "is never routed"),
        ("224.0.0.0/4", "is never routed"),
        ("fe80::/10 via fd00::1", "is never routed"),
    ],
)
def test_what_is_no_route_is_refused_with_what_to_type(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        routes(text)


def test_a_gateway_is_an_address_or_a_container() -> None:
    assert gateway("Container:vpn").container == "vpn"
    assert gateway("10.9.0.254,fd00::1").addresses == (
        IPAddress("10.9.0.254"),
        IPAddress("fd00::1"),
    )
    with pytest.raises(ValueError, match="two addresses of one family"):
        gateway("10.9.0.254,10.9.0.253")
