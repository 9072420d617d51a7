from operator import attrgetter
from pathlib import Path

import pytest
from netaddr import EUI, IPAddress

from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options.port_options import PortKind, VlanMode
from ovsdriver.domain.records.requests import EndpointOptions, NetworkOptions, TypedGateway
from ovsdriver.domain.records.segments import BondMode, Datapath, Lacp
from ovsdriver.errors import InvalidOptionError
from ovsdriver.words import options
from ovsdriver.words.options import PoolOptions, Scope
from tests.builders import endpoint_options, network_options
from tests.option_examples import typed


def network(internal: bool = False, **typed: str) -> NetworkOptions:
    return options.network(
        {key.replace("__", "."): v for key, v in typed.items()}, internal=internal
    )


def network_refusal(typed: dict[str, str], *, internal: bool = False) -> str:
    with pytest.raises(InvalidOptionError) as caught:
        options.network(typed, internal=internal)
    return str(caught.value)


def test_without_options_a_network_has_the_defaults():
    assert options.network({}, internal=False) == NetworkOptions()


def test_every_network_option_arrives_in_its_field():
    typed = {
        "ovs.bridge": "br-Lab",
        "ovs.vlan": "100",
        "ovs.shared": "true",
        "ovs.space": "Blue",
        "ovs.mode": "flat",
        "ovs.isolate": "true",
        "ovs.icc": "false",
        "ovs.gateway": "10.0.0.1, fd00::1",
        "ovs.mtu": "1400",
        "ovs.port": "veth",
        "ovs.datapath": "netdev",
        "ovs.ifprefix": "net",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
    }
    assert options.network(typed, internal=False) == network_options(
        bridge="br-Lab",
        vlan=100,
        shared=True,
        space="Blue",
        mode=Mode.FLAT,
        isolate=True,
        icc=False,
        gateways=TypedGateway(addresses=(IPAddress("10.0.0.1"), IPAddress("fd00::1"))),
        mtu=1400,
        kind=PortKind.VETH,
        datapath=Datapath.NETDEV,
        interface_prefix="net",
        masquerade=False,
        typed=typed,
    )


def test_every_endpoint_option_arrives_in_its_field():
    typed = {
        "ovs.mac": "02:00:00:00:00:01",
        "ovs.mtu": "1300",
        "ovs.port": "Internal",
        "com.docker.network.endpoint.ifname": "lan0.5",
        "ovs.vlan": "40",
        "ovs.vlan_mode": "native-tagged",
        "ovs.trunks": "10,20-22",
        "ovs.ofport": "77",
        "ovs.protected": "true",
    }
    assert options.endpoint(typed) == endpoint_options(
        mac=EUI("02:00:00:00:00:01"),
        mtu=1300,
        kind=PortKind.INTERNAL,
        interface="lan0.5",
        vlan=40,
        vlan_mode=VlanMode.NATIVE_TAGGED,
        trunks=(10, 20, 21, 22),
        ofport=77,
        protected=True,
        typed=typed,
    )


def test_the_options_of_an_uplink_arrive_in_their_fields():
    typed = {
        "ovs.uplink": "eth1, eth2+eth3",
        "ovs.bond": "Balance-SLB",
        "ovs.lacp": "passive",
        "ovs.uplink_move": "yes",
        "ovs.vlan_mode": "dot1q-tunnel",
        "ovs.cvlans": "7,8-9",
    }
    assert options.network(typed, internal=False) == network_options(
        uplink=("eth1", "eth2", "eth3"),
        bond=BondMode.BALANCE_SLB,
        lacp=Lacp.PASSIVE,
        uplink_move=True,
        vlan_mode=VlanMode.DOT1Q_TUNNEL,
        cvlans=(7, 8, 9),
        typed=typed,
    )


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"ovs.uplink": "eth1+eth1"}, "names a NIC twice"),
        ({"ovs.uplink": "eth1+"}, "cannot be a NIC's name"),
        ({"ovs.uplink": "a-very-long-name-1"}, "a NIC's name has at most 15"),
        ({"ovs.bond": "lacp"}, "none of `active-backup`, `balance-slb`, `balance-tcp`"),
        ({"ovs.lacp": "fast"}, "none of `off`, `passive`, `active`"),
        ({"ovs.vlan_mode": "trunk"}, "none of `access`, `dot1q-tunnel`"),
        ({"ovs.uplnk": "eth1"}, "did you mean `ovs.uplink`?"),
    ],
)
def test_a_wrong_uplink_is_refused_with_what_would_be_right(typed, words):
    assert words in network_refusal(typed)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"ovs.vlan_mode": "native"}, "none of `access`, `trunk`, `native-tagged`"),
        ({"ovs.trunks": "10;all"}, '"all" is not a VLAN id: 1 to 4094; write it like 10+20-30'),
        ({"ovs.ofport": "0"}, "not an OpenFlow port number: 1 to 65279"),
        ({"ovs.ofport": "65280"}, "not an OpenFlow port number: 1 to 65279"),
        ({"ovs.protected": "maybe"}, "neither `true` nor `false`"),
        ({"ovs.port": "tap"}, "none of `veth`, `internal`"),
    ],
)
def test_a_wrong_value_of_an_endpoint_is_refused_with_what_would_be_right(typed, words):
    with pytest.raises(InvalidOptionError) as caught:
        options.endpoint(typed)
    assert words in str(caught.value)


def test_every_ipam_option_arrives_in_its_field():
    assert options.pool({"ipam.space": "blue", "ipam.prefix": "28"}) == PoolOptions(
        space="blue", prefix=(28, 28)
    )


@pytest.mark.parametrize(
    ("alias", "text", "field", "value"),
    [
        ("com.docker.network.driver.mtu", "1400", "port.mtu", 1400),
        ("com.docker.network.container_iface_prefix", "net", "interface_prefix", "net"),
        ("com.docker.network.bridge.name", "br5", "bridge", "br5"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "nat", "mode", Mode.NAT),
        ("com.docker.network.bridge.gateway_mode_ipv6", "isolated", "mode", Mode.ISOLATED),
        ("com.docker.network.bridge.enable_icc", "false", "icc", False),
        ("com.docker.network.bridge.enable_icc", "true", "icc", True),
        ("ovs.bridge.mode", "routed", "mode", Mode.ROUTED),
        ("ovs.bridge.name", "br5", "bridge", "br5"),
        ("ovs.bridge.vlan", "30", "port.vlan", 30),
        ("ovs.bridge.mtu", "9000", "port.mtu", 9000),
        ("ovs.bridge.mode", "flat", "mode", Mode.FLAT),
        ("ovs.bridge.userspace", "true", "datapath", Datapath.NETDEV),
        ("ovs.bridge.userspace", "false", "datapath", Datapath.SYSTEM),
        ("ovs.bridge.bind_interface", "eth1", "uplink", ("eth1",)),
        ("ovs.bridge.add_ports", "eth1", "uplink", ("eth1",)),
        (
            "ovs.bridge.controller",
            "tcp:127.0.0.1:6653,tcp:127.0.0.1:6654",
            "features.controllers",
            ("tcp:127.0.0.1:6653", "tcp:127.0.0.1:6654"),
        ),
    ],
)
def test_names_of_docker_and_dovesnap_mean_the_same(alias, text, field, value):
    assert attrgetter(field)(options.network({alias: text}, internal=False)) == value


def test_keys_are_matched_without_case_and_values_keep_theirs():
    read = options.network({"OVS.Bridge": "Br-X", "ovs.MODE": "NAT"}, internal=False)
    assert (read.bridge, read.mode) == ("Br-X", Mode.NAT)
    assert read.typed == {"OVS.Bridge": "Br-X", "ovs.MODE": "NAT"}


@pytest.mark.parametrize("text", ["0", "4095", "abc", "5000", "-1"])
def test_a_wrong_vlan_is_refused_with_the_range(text):
    assert network_refusal({"ovs.vlan": text}) == (
        f'ovs.vlan: "{text}" is not a VLAN id: 1 to 4094, or `none` for a segment without a tag'
    )


@pytest.mark.parametrize("text", ["67", "70000"])
def test_a_wrong_mtu_is_refused_with_the_range(text):
    assert network_refusal({"ovs.mtu": text}).startswith(f'ovs.mtu: "{text}" is not an MTU')


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("ovs.mode", "bridge", "none of `nat`, `routed`, `flat`, `isolated`, `gwbridge`"),
        ("ovs.port", "tap", "none of `veth`, `internal`"),
        ("ovs.datapath", "dpdk", "none of `system`, `netdev`"),
        ("ovs.shared", "maybe", "neither `true` nor `false`"),
        ("ovs.gateway", "10.0.0.1/24", "has a prefix length"),
        ("ovs.gateway", "10.0.0.1,10.0.0.2", "two addresses of one family"),
        ("ovs.gateway", "10.0.0.1,", "is not an address"),
        ("ovs.icc", "no-way", "neither `true` nor `false`"),
        ("ovs.isolate", "2", "neither `true` nor `false`"),
        ("com.docker.network.bridge.host_binding_ipv4", "localhost", "is not an address"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "nat-unprotected", "none of `nat`"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(key, text, words):
    refusal = network_refusal({key: text})
    assert refusal.startswith(f"{key}: ")
    assert words in refusal


GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv"


@pytest.mark.parametrize(
    ("four", "six", "expected"),
    [
        pytest.param("nat", "nat", (Mode.NAT, None), id="both-nat"),
        pytest.param("routed", "routed", (Mode.ROUTED, None), id="both-routed"),
        pytest.param("nat", "routed", (Mode.NAT, Mode.ROUTED), id="only-ipv6-routed"),
        pytest.param("routed", "nat", (Mode.ROUTED, Mode.NAT), id="only-ipv4-routed"),
        pytest.param("", "routed", (Mode.NAT, Mode.ROUTED), id="ipv4-not-said"),
        pytest.param("routed", "", (Mode.ROUTED, Mode.NAT), id="ipv6-not-said"),
        pytest.param("nat", "", (Mode.NAT, None), id="only-nat-said"),
        pytest.param("", "flat", (Mode.FLAT, None), id="flat-is-of-both"),
        pytest.param("isolated", "", (Mode.ISOLATED, None), id="isolated-is-of-both"),
    ],
)
def test_each_family_may_have_a_mode_of_its_own(four, six, expected):
    typed = {f"{GATEWAY_MODE}{n}": text for n, text in ((4, four), (6, six)) if text}
    read = options.network(typed, internal=False)
    assert (read.mode, read.mode6) == expected


@pytest.mark.parametrize("mode", ["routed", "nat"])
def test_a_mode_said_in_both_ways_is_one_mode(mode):
    read = options.network({"ovs.mode": mode, f"{GATEWAY_MODE}6": mode}, internal=False)
    assert (read.mode, read.mode6) == (mode, None)


@pytest.mark.parametrize("family", [4, 6])
def test_a_mode_said_in_two_ways_must_be_the_same(family):
    refusal = network_refusal({"ovs.mode": "nat", f"{GATEWAY_MODE}{family}": "routed"})
    assert f"ovs.mode=nat and {GATEWAY_MODE}{family}=routed contradict each other" in refusal


@pytest.mark.parametrize("other", ["flat", "isolated", "gwbridge"])
def test_only_nat_and_routed_can_be_mixed(other):
    refusal = network_refusal({f"{GATEWAY_MODE}4": "nat", f"{GATEWAY_MODE}6": other})
    assert f"{GATEWAY_MODE}6={other} cannot be had on one network" in refusal


@pytest.mark.parametrize("key", ["ovs.vlan", "ovs.shared", "com.docker.network.driver.mtu"])
def test_an_option_without_a_value_is_refused(key):
    assert network_refusal({key: ""}) == f"{key}: no value; write {key}=… or leave it out"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("ovs.vlna", "ovs.vlan"),
        ("OVS.VLNA", "ovs.vlan"),
        ("vlan", "ovs.vlan"),
        ("mtu", "ovs.mtu"),
        ("osv.vlan", "ovs.vlan"),
        ("ovs.bridge.nam", "ovs.bridge.name"),
        ("ovs.ifprefx", "ovs.ifprefix"),
        ("com.docker.network.driver.mtuu", "com.docker.network.driver.mtu"),
        ("com.docker.netwrok.driver.mtu", "com.docker.network.driver.mtu"),
        ("com.docker.network.bridge.nmae", "com.docker.network.bridge.name"),
        ("com.ovs.vlan", "ovs.vlan"),
        ("org.example.ovs.vlna", "ovs.vlan"),
        (
            "com.docker.network.bridge.enable_ip_masquerad",
            "com.docker.network.bridge.enable_ip_masquerade",
        ),
    ],
)
def test_a_slip_is_refused_with_the_nearest_name(key, meant):
    assert network_refusal({key: "1"}) == (
        f'"{key}": no such option of a network; did you mean `{meant}`?'
    )


@pytest.mark.parametrize("key", ["color", "ovs.wibble", "ipam.wibble", "foo.bar", "", "a b"])
def test_an_unknown_option_near_to_none_is_refused(key):
    refusal = network_refusal({key: "1"})
    assert refusal.startswith(f'"{key}": no such option of a network; ')


@pytest.mark.parametrize("text", ["eth1/8", "eth1,eth2", "eth1/8,eth2/9"])
def test_ports_of_dovesnap_that_are_no_uplink_are_refused_with_what_to_type(text):
    assert "write ovs.uplink=eth1, or" in network_refusal({"ovs.bridge.add_ports": text})


@pytest.mark.parametrize("key", ["ovs.bridge.dpid", "ovs.bridge.lbport", "ovs.bridge.dhcp"])
def test_what_only_dovesnap_can_do_is_refused_by_that_name(key):
    assert network_refusal({key: "1"}) == (
        f"{key}: an option of dovesnap's, not of ovsnet's; leave it out"
    )


@pytest.mark.parametrize(
    "key",
    [
        "com.example.rack",
        "io.podman.network",
        "com.example.ovs.rack",
        "com.docker.network.advertise_addr_nmsgs",
        "com.docker.network.windowsshim.dnsservers",
        "com.docker.compose.project",
    ],
)
def test_other_peoples_keys_are_ignored_and_named(key):
    read = options.network({key: "x", "ovs.vlan": "5"}, internal=False)
    assert read.ignored == (key,)
    assert read.port.vlan == 5


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("inhibit_ipv4", "ovs.mode=flat puts no address"),
        ("trusted_host_interfaces", "ovs.mode=routed"),
        ("firewalld_zone", "`ovsnet firewalld`"),
        ("default_bridge", "Docker's own network"),
    ],
)
def test_what_only_dockers_bridge_does_is_refused_with_what_there_is(key, words):
    name = f"com.docker.network.bridge.{key}"
    refusal = network_refusal({name: "true"})
    assert refusal.startswith(f"{name}: ovsnet does not do that; ")
    assert words in refusal
    assert len(refusal.split()) <= 30


@pytest.mark.parametrize("key", ["com.docker.network.host_ipv4", "com.docker.network.host_ipv6"])
def test_the_source_address_of_dockers_bridge_is_refused(key):
    refusal = network_refusal({key: "192.0.2.1"})
    assert refusal.startswith(f"{key}: ovsnet does not do that; what leaves has the address of")
    assert len(refusal.split()) <= 30


@pytest.mark.parametrize(
    ("typed", "parse", "words"),
    [
        ({"ipam.space": "b"}, options.network, "of the IPAM, not of a network"),
        ({"ovs.mac": "02:00:00:00:00:01"}, options.network, "of an endpoint, not of a network"),
    ],
)
def test_an_option_in_the_wrong_place_says_where_it_belongs(typed, parse, words):
    refusal = network_refusal(typed)
    assert words in refusal
    assert next(iter(typed)) + "=…" in refusal


def test_network_options_given_to_the_ipam_or_to_an_endpoint_say_where_they_belong():
    for parse in (options.pool, options.endpoint):
        with pytest.raises(InvalidOptionError, match=r"docker network create -o ovs\.bridge=…"):
            parse({"ovs.bridge": "br5"})
    with pytest.raises(InvalidOptionError, match=r"--ipam-opt ipam\.space=…"):
        options.endpoint({"IPAM.Space": "b"})
    with pytest.raises(InvalidOptionError, match=r"driver-opt=ovs\.mac=…"):
        options.pool({"ovs.mac": "02:00:00:00:00:01"})


def test_unknown_options_of_endpoints_and_the_ipam_are_refused():
    with pytest.raises(InvalidOptionError, match=r"endpoint; did you mean `ovs\.mac`\?"):
        options.endpoint({"ovs.mca": "1"})
    with pytest.raises(InvalidOptionError, match=r"the IPAM; did you mean `ipam\.prefix`\?"):
        options.pool({"ipam.perfix": "24"})


def test_an_option_and_its_alias_may_say_the_same():
    read = options.network(
        {"ovs.mtu": "1400", "com.docker.network.driver.mtu": "1400"}, internal=False
    )
    assert read.port.mtu == 1400


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"ovs.mtu": "1400"}, {"com.docker.network.driver.mtu": "1500"}),
        ({"ovs.vlan": "5"}, {"OVS.VLAN": "6"}),
        ({"ovs.bridge": "a"}, {"com.docker.network.bridge.name": "A"}),
        ({"ovs.datapath": "system"}, {"ovs.bridge.userspace": "true"}),
        ({"ovs.icc": "true"}, {"com.docker.network.bridge.enable_icc": "false"}),
    ],
)
def test_an_option_that_contradicts_its_alias_is_refused(first, second):
    refusal = network_refusal(first | second)
    for each in (first, second):
        for key, text in each.items():
            assert f"{key}={text}" in refusal
    assert "contradict" in refusal


@pytest.mark.parametrize("mode", ["nat", "routed", "gwbridge"])
def test_internal_contradicts_a_way_out(mode):
    assert f"--internal contradicts ovs.mode={mode}" in network_refusal(
        {"ovs.mode": mode.upper()}, internal=True
    )


def test_internal_leaves_other_modes_to_the_plan():
    assert options.network({"ovs.mode": "flat"}, internal=True).mode is Mode.FLAT


def test_each_name_stands_once_in_each_scope():
    for scope in Scope:
        names = [name for row in options.rows(scope) for name in (row.name, *row.aliases)]
        assert len(names) == len(set(names))
        assert all(name == name.lower() for name in names)


def test_each_field_of_a_row_exists():
    nothing = {
        Scope.NETWORK: NetworkOptions(),
        Scope.ENDPOINT: EndpointOptions(),
        Scope.IPAM: PoolOptions(),
    }
    for row in options.rows():
        attrgetter(row.field)(nothing[row.scope])


def test_the_markdown_tables_have_a_line_for_each_row():
    lines = [line for line in options.markdown().splitlines() if line.startswith("| `")]
    assert len(lines) == len(options.rows())
    assert all(line.count(" | ") == 5 for line in lines)
    assert "`com.docker.network.driver.mtu`" in next(x for x in lines if "`ovs.mtu`" in x)


@pytest.mark.parametrize("row", options.rows(), ids=lambda row: f"{row.scope.value}-{row.name}")
def test_the_example_of_an_option_fills_it(row):
    internal = "--internal" in row.example
    read = {
        Scope.NETWORK: options.network(typed(row, Scope.NETWORK), internal=internal),
        Scope.ENDPOINT: options.endpoint(typed(row, Scope.ENDPOINT)),
        Scope.IPAM: options.pool(typed(row, Scope.IPAM)),
    }
    assert not any(each.ignored for each in read.values())
    filled = attrgetter(row.field)
    assert filled(read[row.scope]) != filled(type(read[row.scope])())
    assert filled(read[row.scope]) == row.parse(typed(row)[row.name])


@pytest.mark.parametrize(
    "row",
    [*options.rows(Scope.NETWORK), *options.rows(Scope.ENDPOINT)],
    ids=lambda row: f"{row.scope.value}-{row.name}",
)
def test_a_value_is_written_as_it_can_be_typed(row):
    value = row.parse(typed(row)[row.name])
    assert row.parse(row.text(value)) == value


def test_the_drivers_readme_has_the_table_as_it_is_in_the_code():
    readme = (Path(__file__).parents[3] / "ovsdriver" / "README.md").read_text(encoding="utf-8")
    after = readme.partition("<!-- options: made by `ovsnet options --markdown` -->\n")[2]
    table = after.partition("<!-- /options -->")[0]
    assert table.strip() == options.markdown().strip()


def test_the_default_host_address_of_published_ports_may_be_of_either_family_or_both():
    key = "com.docker.network.bridge.host_binding_ipv4"
    read = options.network({key: "127.0.0.1, ::1"}, internal=False)
    assert list(map(str, read.bindings)) == ["127.0.0.1", "::1"]
    assert "two addresses of one family" in network_refusal({key: "127.0.0.1,127.0.0.2"})
