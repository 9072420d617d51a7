from dataclasses import replace

import pytest
from netaddr import EUI

from ovsdriver.admin import by_name
from ovsdriver.domain.records.model import Endpoint, EndpointId, Mode, Network, NetworkId
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.records.segments import VlanSegment
from ovsdriver.errors import ConflictError, UnknownObjectError
from ovsdriver.ports import EngineEndpoint, EngineView

LAB = NetworkId("1ab0" * 16)
DMZ = NetworkId("1ab1" * 16)
WEB = EndpointId("3eb0" * 16)

NAMES = {LAB: "lab", DMZ: "", "cafe" * 16: "1ab"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(LAB, LAB, id="whole-id"),
        pytest.param("lab", LAB, id="name"),
        pytest.param("1ab1", DMZ, id="begin-of-an-id"),
        pytest.param("1AB1", DMZ, id="begin-in-capitals"),
        pytest.param("1ab", "cafe" * 16, id="a-name-before-a-begin"),
    ],
)
def test_a_thing_is_found_by(text: str, found: str):
    assert by_name.find(text, NAMES) == found


RED = NetworkId("2ed0" * 16)
NETWORKS = {LAB: "lab", DMZ: "dmz", RED: ""}
DB = EndpointId("db00" * 16)
ENDPOINTS = [
    (by_name.Target(network=network, endpoint=EndpointId(endpoint)), name)
    for endpoint, network, name in (
        (WEB, LAB, "web"),
        (DB, LAB, "db"),
        ("db11" * 16, DMZ, "db"),
        ("e400" * 16, RED, "lab"),
        ("e500" * 16, RED, ""),
    )
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("dmz", by_name.Target(network=DMZ), id="a network"),
        pytest.param("2ed0", by_name.Target(network=RED), id="the begin of a network's id"),
        pytest.param("web", by_name.Target(network=LAB, endpoint=WEB), id="a container"),
        pytest.param("3eb", by_name.Target(network=LAB, endpoint=WEB), id="the begin of one's id"),
        pytest.param("lab/db", by_name.Target(network=LAB, endpoint=DB), id="one of two networks"),
        pytest.param("1ab0/db00", by_name.Target(network=LAB, endpoint=DB), id="both by ids"),
    ],
)
def test_a_network_or_a_container_is_found_by(text: str, found: by_name.Target) -> None:
    assert by_name.target(text, NETWORKS, ENDPOINTS) == found


@pytest.mark.parametrize("text", ["", "/", "lab/", "nobody", "lab/nobody", "nobody/db", "dmz/web"])
def test_what_is_neither_network_nor_container_is_refused(text: str) -> None:
    with pytest.raises(UnknownObjectError, match=r"ovsnet (network|endpoint) ls"):
        by_name.target(text, NETWORKS, ENDPOINTS)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        pytest.param("db", "lab/db00db00db00, dmz/db11db11db11", id="on two networks"),
        pytest.param("lab", "1ab01ab01ab0, 2ed02ed02ed0/e400e400e400", id="a network and another"),
        pytest.param("e", "2ed02ed02ed0/e400e400e400, 2ed02ed02ed0/e500e500e500", id="ids"),
    ],
)
def test_what_fits_several_is_refused_with_what_to_type(text: str, ways: str) -> None:
    with pytest.raises(ConflictError, match=f"fits several: {ways}; type one of these"):
        by_name.target(text, NETWORKS, ENDPOINTS)


@pytest.mark.parametrize("text", ["", "labs", "2", "LAB"])
def test_what_fits_nothing_is_refused(text: str):
    with pytest.raises(UnknownObjectError, match="`ovsnet network ls`"):
        by_name.find(text, NAMES)


def test_a_begin_that_fits_two_is_refused_with_both():
    with pytest.raises(ConflictError, match="1ab01ab01ab0, 1ab11ab11ab1; type more digits"):
        by_name.find("1a", NAMES)


def test_a_name_that_two_have_is_refused():
    with pytest.raises(ConflictError):
        by_name.find("lab", {LAB: "lab", DMZ: "lab"})


NETWORK = Network(
    id=LAB, segment=VlanSegment(bridge="br-ovsnet", tag=VlanTag(7)), mode=Mode.NAT, engine="ENGINE"
)
ENDPOINT = Endpoint(id=WEB, network=LAB, mac=EUI("0a:0f:0a:00:00:05"), sandbox="/s")
FORGOTTEN = EngineView(id="ENGINE", version="26", networks={}, endpoints={})


def test_a_network_that_docker_has_forgotten_may_go():
    assert by_name.refusal(NETWORK, [], FORGOTTEN) is None
    assert by_name.refusal(replace(NETWORK, engine=""), [], FORGOTTEN) is None


def test_a_network_with_endpoints_that_ended_may_go():
    ended = [replace(ENDPOINT, ended=True), replace(ENDPOINT, sandbox=None)]
    assert by_name.refusal(NETWORK, ended, FORGOTTEN) is None


@pytest.mark.parametrize(
    ("network", "endpoints", "view", "words"),
    [
        pytest.param(NETWORK, [], None, "Docker does not answer", id="docker-silent"),
        pytest.param(
            NETWORK,
            [],
            replace(FORGOTTEN, networks={LAB: "lab"}),
            r"`docker network rm lab`, which removes it here too",
            id="docker-has-it",
        ),
        pytest.param(
            NETWORK, [], replace(FORGOTTEN, id="OTHER"), "another Docker daemon", id="other-docker"
        ),
        pytest.param(
            NETWORK, [ENDPOINT], FORGOTTEN, "1 endpoint: 3eb03eb03eb0; end", id="live-sandbox"
        ),
        pytest.param(
            NETWORK,
            [replace(ENDPOINT, sandbox=None)],
            replace(
                FORGOTTEN,
                endpoints={WEB: EngineEndpoint(endpoint=WEB, network=LAB, container="web")},
            ),
            "3eb03eb03eb0",
            id="endpoint-in-docker",
        ),
    ],
)
def test_a_network_that_may_be_needed_is_refused_with_what_to_type(
    network: Network, endpoints: list[Endpoint], view: EngineView | None, words: str
):
    text = by_name.refusal(network, endpoints, view)
    assert text is not None
    assert words in text
    assert LAB[:12] in text
    assert "--force" in text


def test_of_many_endpoints_a_few_are_named():
    many = [replace(ENDPOINT, id=EndpointId(f"{n:064x}")) for n in range(9)]
    text = by_name.refusal(NETWORK, many, FORGOTTEN)
    assert text is not None
    assert "9 endpoints" in text
    assert "and 4 more" in text
