"""Which of Docker's networks may have a pool of a segment; those of spaces are tried elsewhere."""

import pytest
from netaddr import IPNetwork

from ipam import Pool, PoolId
from ovsdriver.service.forgotten.pool_claims import Claims
from tests.builders import RED
from tests.fakes.engine import FakeEngine

SUBNET = "10.50.0.0/24"


@pytest.mark.parametrize(
    ("ipam", "options", "spaces"),
    [
        pytest.param("ovsipam", {}, ["ovsnet"], id="the-default-space"),
        pytest.param("ovsipam", {"ipam.segment": "blue"}, ["segment:blue"], id="typed"),
        pytest.param("ovsipam", {"IPAM.Segment": "blue"}, ["segment:blue"], id="in-capitals"),
        pytest.param("ovsipam-blue", {}, ["blue", "segment:blue"], id="a-driver-of-either"),
        pytest.param("ovsipam", {"ipam.space": "blue"}, ["blue"], id="a-space"),
        pytest.param("strange", {}, ["ovsnet", "blue", "segment:blue"], id="any"),
    ],
)
async def test_a_network_has_a_pool_of_the_space_that_was_typed(
    ipam: str, options: dict[str, str], spaces: list[str]
) -> None:
    engine = FakeEngine()
    engine.add_network(RED, "lab")
    engine.add_subnet(RED, SUBNET, ipam=ipam, options=options)
    claims = Claims(await engine.read(), ())
    found = [
        space
        for space in ("ovsnet", "blue", "segment:blue")
        if claims.possible(Pool(id=PoolId("p"), space=space, subnet=IPNetwork(SUBNET)))
    ]
    assert found == spaces
