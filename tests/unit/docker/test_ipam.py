import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Lease, LeaseKind, Pool, PoolId, PoolRequest
from ovsdriver.docker import ipam
from ovsdriver.errors import DriverError
from ovsdriver.words.fields import Fields

SPACES = ipam.Spaces(local="ovsnet", shared="ovsnet-global")


def pool_request(**members: object) -> PoolRequest:
    return ipam.pool_request(Fields(members), SPACES)[0]


def refusal(read, *arguments: object) -> str:
    with pytest.raises(DriverError) as caught:
        read(*arguments)
    assert caught.value.status == 400
    return str(caught.value)


def pool_refusal(**members: object) -> str:
    return refusal(ipam.pool_request, Fields(members), SPACES)


@pytest.mark.parametrize("options", [None, {}], ids=["compose", "cli"])
def test_an_automatic_pool_has_no_subnet(options):
    assert pool_request(
        AddressSpace="ovsnet", Pool="", SubPool="", Options=options, V6=False
    ) == PoolRequest(space="ovsnet", family=4)
    assert pool_request(AddressSpace="ovsnet", V6=True, Options=options).family == 6


def test_a_pool_with_a_range_is_read():
    assert pool_request(
        AddressSpace="ovsnet", Pool="10.0.0.0/16", SubPool="10.0.5.0/24"
    ) == PoolRequest(
        space="ovsnet", subnet=IPNetwork("10.0.0.0/16"), window=IPNetwork("10.0.5.0/24")
    )


def test_the_family_is_that_of_the_subnet_even_if_docker_does_not_say_v6():
    assert pool_request(Pool="fd00::/64", V6=True).family == 6
    assert pool_request(Pool="fd00::/64").family == 6


def test_host_bits_are_left_for_the_ipam_to_refuse():
    assert str(pool_request(Pool="10.0.0.7/24").subnet) == "10.0.0.7/24"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"Pool": "10.0.0"}, 'Pool: "10.0.0" is not a subnet'),
        ({"Pool": "10.0.0.0/24", "SubPool": "x"}, 'SubPool: "x" is not a subnet'),
        ({"SubPool": "10.0.0.0/25"}, "needs the --subnet"),
        ({"Pool": "10.0.0.0/24", "V6": True}, 'is not IPv6, which "V6" asks for'),
        ({"Pool": "10.0.0.0/24", "SubPool": "fd00::/80"}, "is not IPv4, as the subnet is"),
        ({"Pool": 5}, "Pool: a number, not a text"),
        ({"V6": "true"}, "V6: a text"),
        ({"Options": {"ipam.prefix": 24}}, "Options.ipam.prefix: a number"),
        ({"Options": {"ipam.prefix": "0"}}, "is not a prefix length: 1 to 127"),
        ({"Options": {"ipam.prefix": "64,26"}}, '"64" is not a prefix length of IPv4'),
        ({"Options": {"ipam.prefix": "26,"}}, '"" is not a prefix length of IPv6'),
        ({"Options": {"ipam.prefix": "26,64,26"}}, '"64,26" is not a prefix length of IPv6'),
        ({"Options": {"pool": "gold"}}, '"pool": no such option of the IPAM'),
        ({"Options": {"ovs.bridge": "br"}}, "an option of a network, not of the IPAM"),
    ],
)
def test_a_malformed_pool_is_refused_with_the_place(members, words):
    assert words in pool_refusal(**members)


def test_without_an_address_space_the_sockets_own_is_meant():
    assert pool_request(Pool="10.0.0.0/24").space == "ovsnet"


def test_the_space_that_docker_repeats_is_taken():
    assert pool_request(AddressSpace="blue").space == "blue"


def test_an_option_names_the_space_and_swarms_twin_of_it():
    options = {"ipam.space": "red"}
    assert pool_request(AddressSpace="ovsnet", Options=options).space == "red"
    assert pool_request(AddressSpace="ovsnet-global", Options=options).space == "red-global"


@pytest.mark.parametrize(("text", "four", "six"), [("26", 26, 26), ("26,64", 26, 64)])
def test_each_family_has_its_own_prefix_length_where_two_are_named(text, four, six):
    options = {"ipam.prefix": text}
    assert pool_request(Options=options, V6=False).prefix == four
    assert pool_request(Options=options, V6=True).prefix == six


@pytest.mark.parametrize(
    ("subnet", "text", "prefix"),
    [
        ("fd00::/64", "26", None),
        ("10.0.0.0/24", "72", None),
        ("10.0.0.0/24", "26", 26),
        ("fd00::/64", "72", 72),
        ("fd00::/64", "26,72", 72),
    ],
)
def test_a_length_for_the_other_family_is_none_for_a_named_subnet(subnet, text, prefix):
    assert pool_request(Options={"ipam.prefix": text}, Pool=subnet).prefix == prefix


def test_other_peoples_options_are_named():
    body = Fields({"Options": {"com.docker.network.ipam.serial": "true", "ipam.prefix": "28"}})
    request, ignored = ipam.pool_request(body, SPACES)
    assert request.prefix == 28
    assert ignored == ("com.docker.network.ipam.serial",)


def test_a_pool_reply_has_its_id_and_subnet():
    pool = Pool(id=PoolId("p1"), space="s", subnet=IPNetwork("10.0.0.0/24"))
    assert ipam.pool_reply(pool) == {"PoolID": "p1", "Pool": "10.0.0.0/24", "Data": {}}


@pytest.mark.parametrize(
    ("members", "request_"),
    [
        pytest.param(
            {"Address": "", "Options": {"RequestAddressType": "com.docker.network.gateway"}},
            AddressRequest(pool=PoolId("p1"), kind=LeaseKind.GATEWAY),
            id="gateway",
        ),
        pytest.param(
            {
                "Address": "10.0.0.1",
                "Options": {"RequestAddressType": "com.docker.network.gateway"},
            },
            AddressRequest(
                pool=PoolId("p1"), kind=LeaseKind.GATEWAY, address=IPAddress("10.0.0.1")
            ),
            id="typed-gateway",
        ),
        pytest.param(
            {"Address": "", "Options": None}, AddressRequest(pool=PoolId("p1")), id="engine-26"
        ),
        pytest.param(
            {"Address": "", "Options": {"com.docker.network.endpoint.name": "c1"}},
            AddressRequest(pool=PoolId("p1"), name="c1"),
            id="engine-29",
        ),
        pytest.param(
            {
                "Address": "fd00::5",
                "Options": {
                    "com.docker.network.ipam.serial": "true",
                    "com.docker.network.endpoint.macaddress": "02:00:00:00:00:77",
                },
            },
            AddressRequest(pool=PoolId("p1"), address=IPAddress("fd00::5")),
            id="wanted-in-swarm",
        ),
    ],
)
def test_an_address_request_is_read(members, request_):
    assert ipam.address_request(Fields({"PoolID": "p1", **members})) == request_


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "PoolID: missing"),
        ({"PoolID": "p1", "Address": "10.0.0.5/24"}, "has a prefix length"),
        ({"PoolID": "p1", "Address": "five"}, 'Address: "five" is not an address'),
        ({"PoolID": "p1", "Options": {ipam.NAME: "a\nb"}}, "is not a container's name"),
        ({"PoolID": "p1", "Options": {ipam.NAME: "a" * 256}}, "is not a container's name"),
        ({"PoolID": "p1", "Options": {ipam.NAME: 5}}, "a number, not a text"),
    ],
)
def test_a_malformed_address_request_is_refused(members, words):
    assert words in refusal(ipam.address_request, Fields(members))


def test_an_address_is_answered_with_the_prefix_length_of_its_pool():
    pool = Pool(
        id=PoolId("p1"), space="s", subnet=IPNetwork("10.0.0.0/16"), window=IPNetwork("10.0.5.0/24")
    )
    lease = Lease(pool=pool.id, address=IPAddress("10.0.5.7"), kind=LeaseKind.ENDPOINT)
    assert ipam.address_reply(lease, pool) == {"Address": "10.0.5.7/16", "Data": {}}


def test_a_release_needs_pool_and_address():
    assert ipam.release(Fields({"PoolID": "p1", "Address": "10.0.0.5"})) == ipam.Release(
        pool=PoolId("p1"), address=IPAddress("10.0.0.5")
    )
    assert "Address: missing" in refusal(ipam.release, Fields({"PoolID": "p1", "Address": ""}))
    assert "PoolID: missing" in refusal(ipam.release, Fields({"Address": "10.0.0.5"}))


# Segments

BLUE = ipam.Spaces(local="segment:blue", shared="segment:blue")


@pytest.mark.parametrize("asked", ["segment:blue", "", "blue"])
def test_the_driver_of_a_segment_needs_no_options(asked: str):
    read, _ = ipam.pool_request(Fields({"AddressSpace": asked}), BLUE)
    assert read.space == "segment:blue"


def test_a_segment_that_is_typed_beats_the_drivers():
    options = {"ipam.segment": "red"}
    read, _ = ipam.pool_request(Fields({"AddressSpace": "segment:blue", "Options": options}), BLUE)
    assert read.space == "segment:red"


@pytest.mark.parametrize(
    ("key", "text"),
    [("ipam.space", "team1"), ("ipam.quarantine", "1h"), ("ipam.limit", "5")],
)
def test_what_a_segment_does_not_have_its_driver_refuses(key: str, text: str):
    members = {"AddressSpace": "segment:blue", "Options": {key: text}}
    assert "on a segment" in refusal(ipam.pool_request, Fields(members), BLUE)
