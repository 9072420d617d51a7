"""Which segment a network is on, by what was typed to Docker and to its IPAM driver."""

import pytest
from netaddr import IPNetwork

from ipam import PoolId
from ovsdriver.domain.plan.inputs import KnownPool
from ovsdriver.domain.plan.segment_planning import segment_meant
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.domain.records.requests import NetworkOptions, NewNetwork, OfferedSubnet
from ovsdriver.errors import InvalidOptionError
from tests.builders import RED

SUBNET = IPNetwork("10.50.0.0/24")


def new(*spaces: str, segment: str | None = None) -> NewNetwork:
    return NewNetwork(
        id=NetworkId(RED),
        subnets=tuple(OfferedSubnet(space=space, cidr=SUBNET) for space in spaces),
        options=NetworkOptions(segment=segment),
    )


def pool(space: str) -> KnownPool:
    return KnownPool(
        id=PoolId(f"{space}/1"), space=space, subnet=SUBNET, gateway=None, gateway_typed=False
    )


def test_the_driver_of_a_segment_says_which_it_is() -> None:
    pools = (pool("ovsnet"), pool("segment:blue"))
    assert segment_meant(new("segment:blue"), pools) == "blue"


def test_what_is_typed_to_the_ipam_is_understood_if_no_other_pool_can_be_meant() -> None:
    assert segment_meant(new("ovsnet"), (pool("segment:blue"),)) == "blue"
    assert segment_meant(new("ovsnet"), (pool("segment:blue"), pool("ovsnet"))) is None


def test_a_network_of_this_host_alone_is_on_no_segment() -> None:
    assert segment_meant(new("ovsnet"), (pool("ovsnet"),)) is None
    assert segment_meant(new(), ()) is None


def test_a_segment_that_is_typed_needs_its_own_addresses() -> None:
    assert segment_meant(new("ovsnet", segment="blue"), (pool("segment:blue"),)) == "blue"
    with pytest.raises(InvalidOptionError, match="ipam-opt ipam"):
        segment_meant(new("segment:blue", segment="red"), (pool("segment:blue"),))
