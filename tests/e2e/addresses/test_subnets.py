"""Subnets as Docker's users get them: chosen, typed, several, very small and very large."""

import re
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Stage
from tests.e2e.wire import Wire, pools
from tests.e2e.world import until

pytestmark = pytest.mark.docker

SETTINGS = """
spaces = ["blue"]
exclude = ["172.24.2.0/24", "fd00:24:0:2::/64"]

[[pools]]
base = "172.24.0.0/21"
size = 24

[[pools]]
base = "10.200.0.0/21"
size = 22

[[pools]]
base = "fd00:24::/61"
size = 64
"""

RESOLVERS = "/run/systemd/resolve/resolv.conf"
"""Where systemd-resolved writes the name servers that it asks."""

MACVLAN = ("-o", "parent=wan0")
"""What Docker's macvlan driver needs."""


@pytest.fixture(scope="module")
def chooser() -> Iterator[Bed]:
    """A bed with small default pools, of whose subnets the host itself uses the first ones."""
    with Bed(settings=SETTINGS) as bed:
        servers = "nameserver 172.24.0.53\nnameserver fd00:24::53\n"
        # in the world's own /run, on every machine
        bed.run("install", "-D", "/dev/stdin", RESOLVERS, stdin=servers)
        bed.ip("route", "add", "172.24.1.0/24", "via", OUTSIDE4, "table", "77")
        bed.ip("-6", "route", "add", "fd00:24:0:1::/64", "via", OUTSIDE6, "table", "77")
        yield bed


@pytest.fixture
def bed(chooser: Bed) -> Iterator[Bed]:
    yield chooser
    assert pools(chooser) == []


@pytest.fixture
def stage(bed: Bed) -> Iterator[Stage]:
    stage = Stage(bed)
    yield stage
    stage.clear()


@pytest.fixture
def wire(bed: Bed) -> Iterator[Wire]:
    """A caller whose pools are released afterwards."""
    wire = Wire(bed)
    yield wire
    for each in pools(bed):
        wire.release_pool(each["pool"]["id"])


def refusal(bed: Bed, *options: str, driver: str = "ovsnet") -> str:
    """Return what the user reads whose network is refused by our IPAM."""
    create = ("network", "create", "--driver", driver, "--ipam-driver", "ovsipam")
    return bed.docker_refuses(*create, *options, "refused")


@pytest.mark.parametrize("driver", ["ovsnet", "bridge"])
def test_an_automatic_subnet_is_the_next_one_that_nobody_uses(
    bed: Bed, stage: Stage, driver: str
) -> None:
    """In the way: name server, a route of another table, what is excluded, and other networks."""
    one = stage.network("one", "--ipv6", driver=driver)
    assert (one.subnet(), one.subnet(6)) == ("172.24.3.0/24", "fd00:24:0:3::/64")
    foreign = ("--subnet", "172.24.4.0/23", "--ipv6", "--subnet", "fd00:24:0:4::/63")
    bed.docker("network", "create", *foreign, "by-docker-itself")
    two = stage.network("two", "--ipv6", driver=driver)
    assert (two.subnet(), two.subnet(6)) == ("172.24.6.0/24", "fd00:24:0:6::/64")
    a, b = stage.container("ann", two), stage.container("bob", two)
    assert (a.address(two), a.address(two, 6)) == ("172.24.6.2", "fd00:24:0:6::2")
    for family in (4, 6):
        a.reaches(b.address(two, family), who="bob")
    bed.docker("network", "rm", "one")
    assert stage.network("three", driver=driver).subnet() == "172.24.3.0/24"


def test_addresses_of_the_host_and_what_it_throws_away_are_passed_over(
    bed: Bed, stage: Stage
) -> None:
    """Of a route that leads nowhere only as long as there is another subnet."""
    own = ("172.24.3.9/32", "fd00:24:0:3::9/128")
    thrown = ("172.24.4.0/25", "fd00:24:0:4::/64", "172.16.0.0/12", "10.200.0.0/21")
    for each in own:
        bed.ip("address", "add", each, "dev", "lo")
    for each in thrown[:2]:
        bed.ip("route", "add", "blackhole", each)
    try:
        one = stage.network("one", "--ipv6")
        assert (one.subnet(), one.subnet(6)) == ("172.24.5.0/24", "fd00:24:0:5::/64")
        for each in thrown[2:]:
            bed.ip("route", "add", "unreachable", each)
        assert stage.network("two", driver="bridge").subnet() == "172.24.4.0/24"
        for each in ("172.24.6.0/23", "10.200.0.0/21"):
            bed.ip("route", "add", each, "via", OUTSIDE4, "table", "78")
        text = refusal(bed)
        assert "10.200.0.0/21 (route via wan0), 172.24.6.0/23 (route via wan0)" in text
        # the name server and the host's own address
        assert "172.24.2.0/24 (excluded by the configuration) and 2 more" in text
    finally:
        for each in own:
            bed.ip("address", "del", each, "dev", "lo")
        for each in thrown:
            bed.attempt("ip", "route", "del", each)
        bed.attempt("ip", "route", "flush", "table", "78")


def test_default_pools_are_used_up_in_their_order_each_with_its_size(
    bed: Bed, stage: Stage
) -> None:
    found = [stage.network(f"n{number}", driver="bridge").subnet() for number in range(7)]
    assert found == [
        *(f"172.24.{third}.0/24" for third in (3, 4, 5, 6, 7)),
        *("10.200.0.0/22", "10.200.4.0/22"),
    ]
    for driver in ("ovsnet", "bridge"):
        text = refusal(bed, driver=driver)
        assert "no free subnet is left in the default pools 172.24.0.0/21, 10.200.0.0/21" in text
        assert "address space ovsnet has 7 IPv4 pools" in text
        for in_the_way in (
            "172.24.0.53/32 (name server)",
            "172.24.1.0/24 (route via wan0)",
            "172.24.2.0/24 (excluded by the configuration)",
        ):
            assert in_the_way in text, text
    bed.docker("network", "rm", "n1")
    assert stage.network("again").subnet() == "172.24.4.0/24"


@pytest.mark.parametrize("driver", ["ovsnet", "bridge"])
def test_a_network_may_name_the_size_of_its_automatic_subnet(
    bed: Bed, stage: Stage, driver: str
) -> None:
    size = ("--ipam-opt", "ipam.prefix=26")
    networks = [stage.network(name, *size, driver=driver) for name in ("one", "two")]
    assert [each.subnet() for each in networks] == ["172.24.0.64/26", "172.24.0.128/26"]
    assert [each["usage"]["capacity"] for each in pools(bed)] == [62, 62]
    a = stage.container("ann", networks[0])
    assert a.endpoint("one")["IPPrefixLen"] == 26
    assert a.address("one") == "172.24.0.66"
    for value, said in (("20", "no default pool is that large"), ("7", "8 to 32"), ("x", '"x"')):
        text = refusal(bed, "--ipam-opt", f"ipam.prefix={value}", driver=driver)
        assert "ipam.prefix" in text
        assert said in text
    both = ("--ipv6", "--ipam-opt", "ipam.prefix=26,72")
    dual = stage.network("dual", *both, driver=driver)
    assert (dual.subnet(), dual.subnet(6)) == ("172.24.0.192/26", "fd00:24:0:0:100::/72")
    six_named = stage.network("six", "--ipv6", "--subnet", "fd00:77::/64", *size, driver=driver)
    assert six_named.subnet() == "172.24.3.0/26"
    four_named = ("--ipv6", "--ipam-opt", "ipam.prefix=72")
    mixed = stage.network("mixed", *four_named, subnet="10.77.2.0/24", driver=driver)
    assert mixed.subnet(6) == "fd00:24:0:0:200::/72"
    contradiction = ("--subnet", "10.77.1.0/24", *size)
    assert "ipam.prefix=26 contradicts subnet 10.77.1.0/24" in refusal(bed, *contradiction)


def test_every_space_has_all_of_the_default_pools(bed: Bed, stage: Stage) -> None:
    isolated = ("-o", "ovs.mode=isolated")
    usual = stage.network("usual", *isolated)
    green = ("--ipam-opt", "ipam.space=green", "-o", "ovs.space=green")
    optional = stage.network("optional", *isolated, *green)
    named = stage.network("named", *isolated, ipam="ovsipam-blue")
    assert {each.subnet() for each in (usual, optional, named)} == {"172.24.3.0/24"}
    assert [each["pool"]["space"] for each in pools(bed)] == ["ovsnet", "green", "blue"]
    assert [each["gateway"] for each in pools(bed)] == [None] * 3
    text = refusal(bed, "--subnet", "172.24.3.128/25", *green)
    assert "172.24.3.128/25 overlaps 172.24.3.0/24 in address space green" in text


def test_local_and_global_default_spaces_know_nothing_of_each_other(
    bed: Bed, stage: Stage, wire: Wire
) -> None:
    """The global one is asked by swarm's managers only."""
    local, shared = wire.spaces()
    assert (local, shared) == ("ovsnet", "ovsnet-global")
    assert Wire(bed, "ovsipam-blue").spaces() == ("blue", "blue-global")
    network = stage.network("one", subnet="10.77.1.0/24")
    pool = wire.pool("10.77.1.0/24", space=shared)
    assert wire.address(pool, gateway=True) == "10.77.1.1"
    assert wire.address(pool) == "10.77.1.2"
    assert stage.container("ann", network).address(network) == "10.77.1.2"
    assert (
        "in address space ovsnet-global" in wire.request_pool("10.77.0.0/16", space=shared)["Error"]
    )
    bed.docker("rm", "--force", "ann")
    assert wire.refusal(pool, "10.77.1.2")
    assert wire.request_pool(space=shared)["Pool"] == "172.24.3.0/24"


def test_a_network_of_several_subnets_is_one_network(bed: Bed, stage: Stage) -> None:
    """Docker asks for addresses of one subnet only, unless one of another is typed.

    Which one that is, its client leaves to chance.
    """
    six = ("--ipv6", "--subnet", "fd00:77:1::/64", "--subnet", "fd00:77:2::/64")
    more = ("--subnet", "10.77.2.0/30", "--gateway", "10.77.2.2", "--gateway", "10.77.1.2")
    network = stage.network("two", *more, *six, subnet="10.77.1.0/30")
    configured = [each["Subnet"] for each in network.inspect()["IPAM"]["Config"]]
    first, second = (each for each in configured if "." in each)
    first6, second6 = (each for each in configured if ":" in each)
    assert {each["pool"]["subnet"] for each in pools(bed)} == {first, second, first6, second6}
    a = stage.container("ann", network)
    typed, typed6 = str(ip_network(second)[1]), str(ip_network(second6)[9])
    b = stage.container("bob", network, "--ip", typed, "--ip6", typed6)
    assert a.address(network) == str(ip_network(first)[1])
    assert a.address(network, 6) == str(ip_network(first6)[2])
    assert b.endpoint("two")["Gateway"] == str(ip_network(second)[2])
    for address in (typed, typed6):
        a.reaches(address, who="bob")
    for family in (4, 6):
        b.reaches(a.address(network, family), who="ann")
    for each in (a, b):
        each.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    text = bed.docker_refuses(*stage.run_command("cat", network))
    assert f"subnet {first} is full" in text
    taken = str(ip_network(second)[2])
    text = bed.docker_refuses(*stage.run_command("dan", network, "--ip", taken))
    assert f"{taken} is the gateway of {second}" in text


def test_a_subnet_that_is_refused_leaves_nothing_of_the_one_before_it(
    bed: Bed, stage: Stage
) -> None:
    """Docker releases the other subnet then, but not the gateway that it had taken of it.

    Engine 28 forgets the subnet as well, where the other one is of IPv4; who types it again has it.
    """
    stage.network("one", subnet="10.77.2.0/24")
    before = pools(bed)
    for second, said in (
        (("--subnet", "10.77.2.0/25"), "10.77.2.0/25 overlaps 10.77.2.0/24"),
        (("--ipv6", "--subnet", "fe80::/64"), "fe80::/10 is for link-local addresses"),
    ):
        assert said in refusal(bed, "--subnet", "10.77.1.0/24", *second)
        left = [each["pool"]["subnet"] for each in pools(bed) if each not in before]
        assert left in ([[]] if bed.engine < 28 else [[], ["10.77.1.0/24"]])
    assert stage.network("two", subnet="10.77.1.0/24").gateway() == "10.77.1.1"


def test_a_macvlan_network_has_several_subnets_as_well(bed: Bed, stage: Stage) -> None:
    more = (*MACVLAN, "--subnet", "10.77.2.0/24")
    network = stage.network("two", *more, subnet="10.77.1.0/24", driver="macvlan")
    a = stage.container("ann", network)
    b = stage.container("bob", network, "--ip", "10.77.2.9")
    # which subnet Docker asks first is left to chance
    assert a.endpoint("two")["Gateway"] == f"{a.address(network).rpartition('.')[0]}.1"
    assert b.endpoint("two")["Gateway"] == "10.77.2.1"


@pytest.mark.parametrize("driver", ["ovsnet", "bridge"])
def test_a_subnet_of_two_addresses_has_a_gateway_and_a_container(
    bed: Bed, stage: Stage, driver: str
) -> None:
    six = ("--ipv6", "--subnet", "fd00:77::/127")
    network = stage.network("tiny", *six, subnet="10.77.1.0/31", driver=driver)
    ann = stage.container("ann", network)
    assert (ann.address(network), ann.address(network, 6)) == ("10.77.1.1", "fd00:77::1")
    until(lambda: all(map(ann.pings, ("10.77.1.0", "fd00:77::"))), "the gateways answer")
    text = bed.docker_refuses(*stage.run_command("bob", network))
    # with its name, if Docker was read meanwhile
    assert re.search(
        r"subnet 10.77.1.0/31 is full: of its 2 addresses 1 is held by a container( \(ann\))? and "
        r"1 by the gateway \(`ovsnet ipam leases 10.77.1.0/31`\); remove containers, or create a "
        "network with a larger subnet",
        text,
    )


@pytest.mark.parametrize("driver", ["ovsnet", "bridge"])
@pytest.mark.parametrize("subnet", ["10.77.1.0/32", "fd00:77::/128"])
def test_a_subnet_of_one_address_has_a_gateway_only(
    bed: Bed, stage: Stage, driver: str, subnet: str
) -> None:
    """Docker takes an address for a gateway in every subnet, whether one is needed or not."""
    six = ("--ipv6", "--subnet", "10.77.1.0/24") if ":" in subnet else ()
    network = stage.network("tiny", *six, subnet=subnet, driver=driver)
    text = bed.docker_refuses(*stage.run_command("ann", network))
    assert f"subnet {subnet} is full: of its 1 address 1 is held by the gateway (`ovs" in text


@pytest.mark.parametrize("driver", ["ovsnet", "macvlan"])
def test_the_largest_subnets_begin_at_their_lowest_addresses(
    bed: Bed, stage: Stage, driver: str
) -> None:
    six = ("--ipv6", "--subnet", "fd00:77::/48", *(MACVLAN if driver == "macvlan" else ()))
    network = stage.network("large", *six, subnet="10.0.0.0/8", driver=driver)
    last = ("--ip", "10.255.255.254", "--ip6", "fd00:77:0:ffff:ffff:ffff:ffff:ffff")
    a, b = stage.container("ann", network), stage.container("bob", network, *last)
    assert (a.address(network), a.address(network, 6)) == ("10.0.0.2", "fd00:77::2")
    assert (b.address(network), b.address(network, 6)) == (last[1], last[3])
    assert a.endpoint("large")["GlobalIPv6PrefixLen"] == 48
    for family in (4, 6):
        a.reaches(b.address(network, family), who="bob")
    sizes = [(each["usage"]["held"], each["usage"]["capacity"]) for each in pools(bed)]
    assert sizes == [(3, 2**24 - 2), (3, 2**80 - 1)]


@pytest.mark.parametrize(
    ("subnet", "addresses"),
    [
        pytest.param("10.77.1.0/32", ["10.77.1.0"], id="32"),
        pytest.param("10.77.1.0/31", ["10.77.1.0", "10.77.1.1"], id="31"),
        pytest.param("10.77.1.0/30", ["10.77.1.2"], id="30"),
        pytest.param("fd00:77::/128", ["fd00:77::"], id="128"),
        pytest.param("fd00:77::/127", ["fd00:77::", "fd00:77::1"], id="127"),
        pytest.param("fd00:77::/126", [f"fd00:77::{n}" for n in (2, 3)], id="126"),
    ],
)
def test_without_a_gateway_all_of_a_small_subnet_but_the_first_address_is_for_containers(
    wire: Wire, subnet: str, addresses: list[str]
) -> None:
    """An engine from 28 on takes none where the network driver says that it needs none."""
    pool = wire.pool(subnet)
    assert [wire.address(pool) for _ in addresses] == addresses
    assert f"subnet {subnet} is full" in wire.refusal(pool)
    wire.release_address(pool, addresses[0])
    assert wire.address(pool) == addresses[0]
    if addresses[0].endswith("2"):
        router = f"{addresses[0][:-1]}1"
        assert wire.address(pool, router) == router


@pytest.mark.parametrize("prefix", [48, 52, 56, 60, 63, 64])
def test_large_ipv6_subnets_give_their_lowest_and_their_last_address(
    wire: Wire, prefix: int
) -> None:
    subnet = ip_network(f"fd00:77::/{prefix}")
    pool = wire.pool(str(subnet))
    assert wire.address(pool) == "fd00:77::2"
    assert wire.address(pool, str(subnet[-1])) == str(subnet[-1])
    assert wire.address(pool) == "fd00:77::3"
