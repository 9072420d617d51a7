"""What is known of a container's interface that nobody has seen."""

import pytest
from netaddr import IPNetwork

from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.wires.sandbox_link import never_seen
from tests.builders import a_network, a_subnet, altered, an_endpoint

DUAL = an_endpoint(
    addresses=(IPNetwork("10.1.0.2/24"), IPNetwork("fd00:1::2/64")), mtu=1400, sandbox="/s"
)
SUBNETS = (a_subnet(), a_subnet("10.2.0.0/24", "10.2.0.1"), a_subnet("fd00:1::/64", "fd00:1::1"))


def test_it_has_what_docker_was_told() -> None:
    seen = never_seen(a_network(subnets=SUBNETS), DUAL, sandbox="/s", prefix="lan")
    assert (seen.sandbox, seen.name, seen.mac, seen.mtu, seen.up) == (
        *("/s", "lan%d", DUAL.mac, 1400),
        True,
    )
    assert [str(each.address) for each in seen.held.addresses] == ["10.1.0.2/24", "fd00:1::2/64"]
    assert [str(each) for each in seen.gateways] == ["10.1.0.1", "fd00:1::1"]
    assert [str(each) for each in seen.on_link] == ["10.2.0.0/24"]
    assert seen.settings == {}


def test_it_has_the_name_that_docker_was_told_and_gives() -> None:
    assert never_seen(a_network(), DUAL, sandbox="/s", prefix="eth", named="lan0").name == "lan0"


def test_without_an_ipv6_address_it_has_no_ipv6_and_without_a_gateway_no_default_route() -> None:
    network = a_network(mode=Mode.ISOLATED, subnets=(a_subnet(gateway=None),), mtu=1300)
    seen = never_seen(network, altered(DUAL, addresses=DUAL.addresses[:1], mtu=None), **WHERE)
    assert seen.settings == {"ipv6/conf/disable_ipv6": "1"}
    assert (seen.gateways, seen.on_link, seen.mtu) == ((), (), 1300)


WHERE = {"sandbox": "/s", "prefix": "eth"}


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("eth", "eth%d"), ("abcdefghijklm", "abcdefghijklm%d"), ("abcdefghijklmn", "abcdefghijklmn0")],
)
def test_a_name_has_room_for_its_number(prefix: str, name: str) -> None:
    assert never_seen(a_network(), DUAL, sandbox="/s", prefix=prefix).name == name
    assert len(name) <= 15
