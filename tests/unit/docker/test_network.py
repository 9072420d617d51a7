import base64

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.docker import network
from ovsdriver.domain.records.model import Mode, PortMapping, Transport, Way
from ovsdriver.domain.records.requests import Joined
from ovsdriver.errors import DriverError, InvalidOptionError, InvalidRequestError
from ovsdriver.words.fields import Fields

NETWORK = "b" * 64
ENDPOINT = "e" * 64


def creation(generic: object = None, **more: object) -> Fields:
    options = {"com.docker.network.generic": generic, **more.pop("options", {})}
    return Fields({"NetworkID": NETWORK, "Options": options, **more})


def endpoint(interface: object = None, options: object = None) -> network.EndpointCreation:
    return network.endpoint_creation(
        Fields(
            {
                "NetworkID": NETWORK,
                "EndpointID": ENDPOINT,
                "Interface": interface,
                "Options": options,
            }
        )
    )


def refusal(read, *arguments: object) -> str:
    with pytest.raises(DriverError) as caught:
        read(*arguments)
    assert caught.value.status == 400
    return str(caught.value)


def test_a_network_is_read_with_its_subnets_ipv4_first():
    new = network.new_network(
        creation(
            {"ovs.mode": "flat"},
            IPv6Data=[{"AddressSpace": "s", "Pool": "fd00::/64", "Gateway": "fd00::1/64"}],
            IPv4Data=[
                {
                    "AddressSpace": "s",
                    "Pool": "10.1.0.0/24",
                    "Gateway": "10.1.0.1/24",
                    "AuxAddresses": {"a": "10.1.0.9/24", "b": "10.1.0.7/24"},
                }
            ],
        )
    )
    assert new.id == NETWORK
    assert new.options.mode is Mode.FLAT
    four, six = new.subnets
    assert (four.space, four.cidr, four.gateway) == (
        "s",
        IPNetwork("10.1.0.0/24"),
        IPAddress("10.1.0.1"),
    )
    assert four.auxiliary == (IPAddress("10.1.0.9"), IPAddress("10.1.0.7"))
    assert (six.cidr, six.gateway, six.auxiliary) == (
        IPNetwork("fd00::/64"),
        IPAddress("fd00::1"),
        (),
    )


@pytest.mark.parametrize("empty", [None, [], {}], ids=["null", "list", "object"])
def test_a_network_without_options_subnets_or_gateway_is_read(empty):
    body = {"NetworkID": NETWORK, "Options": empty if isinstance(empty, dict) else None}
    new = network.new_network(Fields(body))
    assert new.subnets == ()
    assert not new.internal
    subnet = {"Pool": "0.0.0.0/0", "AuxAddresses": None}
    (only,) = network.new_network(creation(IPv4Data=[subnet])).subnets
    assert (only.cidr, only.gateway, only.space) == (IPNetwork("0.0.0.0/0"), None, "")


def test_host_bits_of_another_ipams_pool_are_dropped():
    (subnet,) = network.new_network(creation(IPv4Data=[{"Pool": "10.1.0.7/24"}])).subnets
    assert str(subnet.cidr) == "10.1.0.0/24"


def test_internal_is_read_where_docker_puts_it():
    options = {"com.docker.network.internal": True}
    assert network.new_network(creation(options=options)).internal
    assert not network.new_network(
        creation(options={"com.docker.network.internal": False})
    ).internal


def test_an_internal_network_cannot_be_nat():
    options = {"com.docker.network.internal": True}
    assert "--internal" in refusal(
        network.new_network, creation({"ovs.mode": "nat"}, options=options)
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"IPv4Data": [{"Pool": "10.0.0"}]}, 'IPv4Data[0].Pool: "10.0.0" is not a subnet'),
        ({"IPv4Data": [{"Gateway": "10.0.0.1/24"}]}, "IPv4Data[0].Pool: missing"),
        ({"IPv4Data": [{"Pool": "fd00::/64"}]}, "is not IPv4"),
        ({"IPv6Data": [{"Pool": "10.0.0.0/24"}]}, "is not IPv6"),
        (
            {"IPv4Data": [{"Pool": "10.0.0.0/24", "Gateway": "10.0.0.1"}]},
            'IPv4Data[0].Gateway: "10.0.0.1" is not an address with a prefix length',
        ),
        (
            {"IPv4Data": [{"Pool": "10.0.0.0/24", "AuxAddresses": {"x": "y"}}]},
            'IPv4Data[0].AuxAddresses.x: "y"',
        ),
        ({"IPv4Data": {}}, "IPv4Data: an object, not a list"),
        ({"IPv4Data": ["10.0.0.0/24"]}, "IPv4Data[0]: a text"),
        ({"NetworkID": ""}, "NetworkID: missing"),
        ({"NetworkID": 5}, "NetworkID: a number, not a text"),
        ({"Options": []}, "Options: a list, not an object"),
        ({"Options": {"com.docker.network.generic": {"ovs.vlan": 5}}}, "ovs.vlan: a number"),
        ({"Options": {"com.docker.network.internal": "true"}}, "not true or false"),
    ],
)
def test_a_malformed_network_is_refused_with_the_place(data, words):
    assert words in refusal(network.new_network, Fields({"NetworkID": NETWORK, **data}))


def test_an_option_that_is_null_counts_as_left_out():
    assert network.new_network(creation({"ovs.vlan": None})).options.port.vlan is None


def test_a_gateway_check_has_options_but_no_id():
    check = network.gateway_check(
        Fields({"Options": {"com.docker.network.generic": {"ovs.mode": "isolated"}}})
    )
    assert check.options.mode is Mode.ISOLATED
    assert not check.internal
    assert network.gateway_skips_reply(True) == {"SkipIPv4": True, "SkipIPv6": True}


def test_an_endpoint_is_read_with_both_addresses():
    read = endpoint({"Address": "10.1.0.5/24", "AddressIPv6": "fd00::5/64", "MacAddress": ""})
    assert (read.new.network, read.new.id) == (NETWORK, ENDPOINT)
    assert [str(address) for address in read.new.addresses] == ["10.1.0.5/24", "fd00::5/64"]
    assert read.new.mac is None
    assert not read.mac_sent


@pytest.mark.parametrize("interface", [None, {}, {"Address": "", "MacAddress": ""}])
def test_an_endpoint_without_addresses_is_read(interface):
    assert endpoint(interface).new.addresses == ()


def test_a_mac_that_docker_sent_is_not_in_the_reply():
    read = endpoint({"MacAddress": "02:42:00:00:00:44"}, {network.MAC: "AkIAAABE"})
    assert read.new.mac == EUI("02:42:00:00:00:44")
    assert network.endpoint_reply(read, None) == {"Interface": {}}
    assert network.endpoint_reply(read, read.new.mac) == {"Interface": {}}


def test_a_mac_in_base64_only_is_used_and_told():
    read = endpoint({}, {network.MAC: "AkIAAABE"})
    assert read.new.mac == EUI("02:42:00:00:00:44")
    assert network.endpoint_reply(read, None) == {"Interface": {"MacAddress": "02:42:00:00:00:44"}}


def test_a_mac_that_we_chose_is_in_the_reply_with_colons():
    chosen = EUI("0a-0f-0a-01-00-05")
    assert network.endpoint_reply(endpoint({"Address": "10.1.0.5/24"}), chosen) == {
        "Interface": {"MacAddress": "0a:0f:0a:01:00:05"}
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not base64!", "is not base64"),
        ("AkI", "is not base64"),
        (base64.b64encode(b"12345").decode(), "has 5 bytes"),
        (base64.b64encode(b"\xff" * 6).decode(), "is not the address of one interface"),
        (5, "a number, not a text"),
    ],
)
def test_a_malformed_mac_in_base64_is_refused(text, words):
    assert words in refusal(endpoint, {}, {network.MAC: text})


def test_an_endpoints_driver_options_are_told_from_the_engines_own():
    read = endpoint(
        {},
        {
            "ovs.mtu": "1400",
            "com.example.x": "1",
            "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}],
            "com.docker.network.endpoint.dnsservers": ["1.2.3.4"],
            "com.docker.network.portmap": [],
            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.ifname.log_martians=1",
            "com.docker.network.later": "x",
        },
    )
    assert read.new.options.port.mtu == 1400
    assert read.new.options.typed == {"ovs.mtu": "1400", "com.example.x": "1"}
    assert read.new.options.ignored == ("com.example.x",)


def test_dockers_name_of_the_mtu_works_for_endpoints():
    assert endpoint({}, {"com.docker.network.driver.mtu": "1300"}).new.options.port.mtu == 1300


def test_a_driver_option_that_is_no_text_is_refused():
    assert refusal(endpoint, {}, {"ovs.mtu": 1400}) == "Options.ovs.mtu: a number, not a text"


def test_two_macs_that_differ_are_refused():
    interface = {"MacAddress": "02:00:00:00:00:01"}
    assert endpoint(interface, {"ovs.mac": "02:00:00:00:00:01"}).new.mac is not None
    with pytest.raises(InvalidOptionError, match=r"ovs\.mac=02:00:00:00:00:02 contradicts"):
        endpoint(interface, {"ovs.mac": "02:00:00:00:00:02"})


def test_a_join_needs_an_absolute_path():
    place = {"NetworkID": NETWORK, "EndpointID": ENDPOINT}
    path = "/var/run/docker/netns/0123456789ab"
    assert network.join(Fields({**place, "SandboxKey": path})).sandbox == path
    for wrong in ("netns/x", "/run/\0"):
        assert "is not an absolute path" in refusal(
            network.join, Fields({**place, "SandboxKey": wrong})
        )
    assert refusal(network.join, Fields(place)) == "SandboxKey: missing; this call needs it"


def test_a_join_brings_the_port_map_of_the_container():
    body = {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "SandboxKey": "/netns"}
    assert network.join(Fields(body)).ports == ()
    items = [{"Proto": 6, "Port": 80, "HostIP": "", "HostPort": 8095, "HostPortEnd": 8095}]
    options = {"com.docker.network.portmap": items, "com.docker.network.endpoint.exposedports": []}
    assert network.join(Fields({**body, "Options": options})).ports == (
        PortMapping(protocol=Transport.TCP, port=80, host_port=8095, host_port_end=8095),
    )


def test_a_join_reply_has_plain_gateways_and_only_those_that_exist():
    joined = Joined(
        source="ovc1",
        prefix="eth",
        gateway4=IPAddress("10.1.0.1"),
        disable_gateway_service=True,
    )
    assert network.join_reply(joined) == {
        "InterfaceName": {"SrcName": "ovc1", "DstPrefix": "eth"},
        "DisableGatewayService": True,
        "Gateway": "10.1.0.1",
    }
    both = Joined(source="o", prefix="e", gateway6=IPAddress("fd00::1"))
    assert network.join_reply(both)["GatewayIPv6"] == "fd00::1"
    assert "Gateway" not in network.join_reply(both)


def test_a_join_reply_names_the_interface_beside_its_prefix_where_that_was_asked_for():
    reply = network.join_reply(Joined(source="o", prefix="eth", name="lan0"))
    assert reply["InterfaceName"] == {"SrcName": "o", "DstPrefix": "eth", "DstName": "lan0"}


def test_a_join_reply_names_the_subnets_that_are_on_the_link():
    joined = Joined(source="o", prefix="e", on_link=(IPNetwork("10.2.0.0/24"),))
    assert network.join_reply(joined)["StaticRoutes"] == [
        {"Destination": "10.2.0.0/24", "RouteType": 1, "NextHop": ""}
    ]


def test_a_join_reply_names_what_is_behind_a_router_between_segments():
    way = Way(to=IPNetwork("fd51::/64"), via=IPAddress("fd50::1"))
    joined = Joined(source="o", prefix="e", ways=(way,))
    assert network.join_reply(joined)["StaticRoutes"] == [
        {"Destination": "fd51::/64", "RouteType": 0, "NextHop": "fd50::1"}
    ]


def publication(items: object) -> tuple[PortMapping, ...]:
    return network.publication(
        Fields(
            {
                "NetworkID": NETWORK,
                "EndpointID": ENDPOINT,
                "Options": {"com.docker.network.portmap": items},
            }
        )
    ).ports


def test_a_port_map_is_read():
    assert publication(
        [
            {
                "Proto": 17,
                "IP": "",
                "Port": 53,
                "HostIP": "127.0.0.1",
                "HostPort": 5353,
                "HostPortEnd": 5353,
            },
            {"Proto": 6, "Port": 80, "HostIP": "", "HostPort": 0, "HostPortEnd": 0},
            {"Proto": 132, "Port": 9, "HostIP": "::1"},
        ]
    ) == (
        PortMapping(
            protocol=Transport.UDP,
            port=53,
            host_address=IPAddress("127.0.0.1"),
            host_port=5353,
            host_port_end=5353,
        ),
        PortMapping(protocol=Transport.TCP, port=80),
        PortMapping(protocol=Transport.SCTP, port=9, host_address=IPAddress("::1")),
    )


@pytest.mark.parametrize("said", [None, False, True])
def test_another_endpoint_may_have_the_containers_ipv6(said):
    options = {"com.docker.network.driver.private.no_proxy_6to4": said}
    read = network.publication(Fields({"NetworkID": "n", "EndpointID": "e", "Options": options}))
    assert read.other_gateway6 is (said is True)


@pytest.mark.parametrize("items", [None, []])
def test_no_port_map_is_an_empty_one(items):
    assert publication(items) == ()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"Proto": 1, "Port": 80}, "portmap[0].Proto: 1 is neither 6 (TCP)"),
        ({"Port": 80}, "Proto: 0 is neither"),
        ({"Proto": 6}, "Port: 0 is not between 1 and 65535"),
        ({"Proto": 6, "Port": 70000}, "70000 is not between"),
        ({"Proto": 6, "Port": "80"}, "a text"),
        ({"Proto": 6, "Port": 80, "HostIP": "any"}, "is not an address"),
        ({"Proto": 6, "Port": 80, "HostPort": -1}, "-1 is not between"),
        ({"Proto": 6, "Port": 80, "HostPort": 9, "HostPortEnd": 8}, "8 is less than HostPort 9"),
    ],
)
def test_a_malformed_port_map_is_refused(item, words):
    with pytest.raises(InvalidRequestError) as caught:
        publication([item])
    assert words in str(caught.value)


def test_an_allocation_hands_the_users_options_on_and_refuses_wrong_ones():
    body = {"NetworkID": "x" * 25, "Options": {"ovs.vlan": "5"}, "IPv6Data": None}
    typed = network.allocation(Fields(body))
    assert network.allocation_reply(typed) == {"Options": {"ovs.vlan": "5"}}
    assert "did you mean `ovs.vlan`" in refusal(
        network.allocation, Fields({"NetworkID": "x", "Options": {"ovs.vlna": "5"}})
    )
