import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import EUI, IPNetwork

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from tests.builders import FIRST, RED, a_segment, an_endpoint

IDS = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.mark.slow
@given(IDS)
def test_link_names_fit_the_kernel_and_keep_twelve_digits_of_the_id(docker_id: str) -> None:
    made = {
        names.host_link(EndpointId(docker_id)),
        names.container_link(EndpointId(docker_id)),
        names.gateway_link(NetworkId(docker_id)),
        names.probe_link(NetworkId(docker_id)),
    }
    assert len(made) == 4
    assert all(len(name) <= 15 and docker_id[:12] in name for name in made)


@given(IDS)
def test_an_internal_port_has_the_name_that_docker_gives_the_first_of_its_prefix(
    docker_id: str,
) -> None:
    made = names.internal_link(EndpointId(docker_id))
    assert len(made) == 15
    assert docker_id[:11] in made
    assert made.endswith("0")


def test_a_mac_follows_its_ipv4_address_on_every_segment() -> None:
    address = IPNetwork("10.1.0.2/24")
    assert names.mac_text(names.mac_for(address, a_segment(tag=1))) == "0a:0f:0a:01:00:02"
    assert names.mac_for(address, a_segment(tag=1)) == names.mac_for(address, a_segment(tag=2))


def test_writing_a_mac_leaves_it_as_it_was() -> None:
    shared = EUI("0a-0f-0a-01-00-02")
    assert names.mac_text(shared) == "0a:0f:0a:01:00:02"
    assert str(shared) == "0A-0F-0A-01-00-02"


def test_a_mac_of_an_ipv6_address_follows_segment_and_address() -> None:
    address = IPNetwork("fd00::2/64")
    one, two = (names.mac_for(address, a_segment(tag=tag)) for tag in (1, 2))
    assert one == names.mac_for(address, a_segment(tag=1))
    assert one != two


@pytest.mark.parametrize(
    "mac",
    [
        pytest.param(names.mac_for(IPNetwork("255.255.255.254/31"), a_segment()), id="ipv4"),
        pytest.param(names.mac_for(IPNetwork("fd00::2/64"), a_segment()), id="ipv6"),
        pytest.param(names.mac_for_endpoint(FIRST), id="no address"),
        pytest.param(names.mac_for_probe(RED), id="probing port"),
    ],
)
def test_macs_of_ours_are_unicast_and_locally_administered(mac: EUI) -> None:
    assert mac.words[0] & 0b11 == 0b10


def test_every_row_of_an_endpoint_carries_mark_ids_and_address() -> None:
    ids = names.endpoint_ids("ovsnet", an_endpoint(), a_segment())
    assert ids == {
        "ovsnet-owner": "ovsnet",
        "ovsnet-network": "a1" * 32,
        "ovsnet-endpoint": "e1" * 32,
        "ovsnet-address": "10.1.0.2/24",
        "attached-mac": "0a:0f:0a:01:00:02",
        "iface-id": "e1" * 32,
    }


def test_a_link_s_mark_is_told_from_another_instance_s() -> None:
    mark = names.alias("ovsnet", FIRST)
    assert names.owned_alias("ovsnet", mark)
    assert not names.owned_alias("ovsnet2", mark)
    assert not names.owned_alias("ovs", mark)
