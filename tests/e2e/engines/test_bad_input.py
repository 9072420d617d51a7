"""What a Docker user reads who asked for something that cannot be, and that nothing stays of it."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.world import until

pytestmark = pytest.mark.docker

CREATE = ("network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam")


def refusal(bed: Bed, *options: str) -> str:
    """Return what the user reads who creates a network with options that are refused."""
    text = bed.docker_refuses(*CREATE, *options, "refused")
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(("-o", "ovs.vlna=5"), ("ovs.vlna", "ovs.vlan"), id="unknown-option"),
        pytest.param(("-o", "vlan=5"), ("vlan", "ovs.vlan"), id="option-without-prefix"),
        pytest.param(
            ("--ipam-opt", "ipam.spcae=x"), ("ipam.spcae", "ipam.space"), id="unknown-ipam-option"
        ),
        pytest.param(("-o", "ovs.vlan=0"), ("ovs.vlan", '"0"', "1 to 4094"), id="vlan-0"),
        pytest.param(("-o", "ovs.vlan=4095"), ("ovs.vlan", '"4095"', "1 to 4094"), id="vlan-4095"),
        pytest.param(("-o", "ovs.vlan=abc"), ("ovs.vlan", '"abc"', "1 to 4094"), id="vlan-abc"),
        pytest.param(("-o", "ovs.mtu=67"), ("ovs.mtu", '"67"', "68 to 65535"), id="mtu-67"),
        pytest.param(
            ("-o", "ovs.mtu=70000"), ("ovs.mtu", '"70000"', "68 to 65535"), id="mtu-70000"
        ),
        pytest.param(("-o", "ovs.mtu=1279", "--ipv6"), ("1280",), id="mtu-too-small-for-ipv6"),
        pytest.param(("-o", "ovs.mode=brigde"), ("brigde", "nat", "flat", "isolated"), id="mode"),
        pytest.param(
            ("--internal", "-o", "ovs.mode=nat"), ("--internal", "nat"), id="contradiction"
        ),
        pytest.param(("-o", "ovs.bridge=a/b"), ("ovs.bridge", "a/b"), id="bridge-name"),
        pytest.param(("-o", "ovs.bridge=a-name-that-is-too-long"), ("15",), id="long-bridge-name"),
        pytest.param(("-o", "ovs.port=tun"), ("ovs.port", "veth"), id="port-kind"),
        pytest.param(("-o", "ovs.space=nowhere"), ("nowhere",), id="space-without-pool"),
        pytest.param(("--subnet", "10.77.1.7/24"), ("10.77.1.",), id="host-bits"),
        pytest.param(
            ("--subnet", "10.77.1.0/24", "--gateway", "10.88.1.1"), ("10.88.1.1",), id="gateway"
        ),
        pytest.param(
            ("--subnet", "10.77.1.0/24", "--ip-range", "10.88.1.0/28"),
            ("10.88.1.0/28",),
            id="range",
        ),
        pytest.param(("--subnet", "192.0.2.0/25"), ("192.0.2.0/2", "wan0"), id="route-of-the-host"),
    ],
)
def test_a_network_is_refused_with_a_sentence(
    bed: Bed, stage: Stage, options: tuple[str, ...], said: tuple[str, ...]
) -> None:
    text = refusal(bed, *options)
    for words in said:
        assert words in text


def test_a_vlan_in_use_is_refused(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    text = refusal(bed, "-o", "ovs.vlan=100")
    assert "VLAN 100" in text
    assert network.id[:12] in text


def test_an_overlapping_subnet_is_refused_and_the_other_one_named(bed: Bed, stage: Stage) -> None:
    stage.network("one", subnet="10.77.0.0/16")
    for subnet in ("10.77.0.0/16", "10.77.5.0/24", "10.0.0.0/8"):
        text = refusal(bed, "--subnet", subnet)
        assert subnet in text
        assert "10.77.0.0/16" in text


def test_a_full_pool_says_how_many_addresses_it_has(bed: Bed, stage: Stage) -> None:
    network = stage.network("tiny", subnet="10.77.1.0/30")
    a = stage.container("ann", network)
    text = bed.docker_refuses(*stage.run_command("bob", network))
    assert "10.77.1.0/30" in text
    assert "2" in text
    bed.docker("rm", "--force", a.name)
    bed.docker("start", "bob")


def test_an_address_that_is_taken_is_refused(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    stage.container("ann", network, "--ip", "10.77.1.9")
    before = bed.ovs_vsctl("list-ports", "br-ovsnet")
    for address in ("10.77.1.9", "10.77.1.1"):
        text = bed.docker_refuses(*stage.run_command(f"b{address}", network, "--ip", address))
        assert address in text
    assert bed.ovs_vsctl("list-ports", "br-ovsnet") == before


@pytest.mark.parametrize("address", ["10.77.1.0", "10.77.1.255"])
def test_an_address_that_no_host_can_have_is_refused(bed: Bed, stage: Stage, address: str) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    text = bed.docker_refuses(*stage.run_command("ann", network, "--ip", address))
    assert address in text


def test_an_address_outside_of_the_subnet_is_refused(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    text = bed.docker_refuses(*stage.run_command("ann", network, "--ip", "10.99.0.5"))
    assert "10.99.0.5" in text


def test_unknown_options_of_an_endpoint_are_refused(bed: Bed, stage: Stage) -> None:
    stage.network("one", subnet="10.77.1.0/24")
    text = bed.docker_refuses(*stage.run_command("ann", "name=one,driver-opt=ovs.mtuu=1400"))
    assert "ovs.mtuu" in text
    assert "ovs.mtu" in text.replace("ovs.mtuu", "")


@pytest.fixture
def no_switch(bed: Bed) -> Iterator[None]:
    """Open vSwitch is down during the test."""
    bed.vswitchd.stop()
    bed.ovsdb.stop()
    yield
    bed.start_switch()


def test_without_open_vswitch_a_network_is_refused_with_a_sentence(
    bed: Bed, no_switch: None
) -> None:
    text = refusal(bed, "--subnet", "10.77.1.0/24")
    assert "Open vSwitch" in text


def test_without_vswitchd_a_container_is_refused_with_a_sentence(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    before = bed.ovs_vsctl("list-ports", "br-ovsnet")
    bed.vswitchd.stop()
    text = bed.docker_refuses(*stage.run_command("ann", network))
    assert "vswitchd" in text or "Open vSwitch" in text
    bed.start_vswitchd()
    bed.docker("start", "ann")
    stage.container("bob", network).reaches("10.77.1.2", who="ann")
    bed.docker("rm", "--force", "ann", "bob")
    until(lambda: bed.ovs_vsctl("list-ports", "br-ovsnet") == before, "no port is left")


def test_the_process_survives_what_is_no_request(bed: Bed) -> None:
    pid = bed.plugin.pid
    for body in ("", "nonsense", "[]", "null", '"text"', "{", '{"NetworkID": 5}', "[" * 100_000):
        answer = json.loads(bed.post("ovsnet", "NetworkDriver.CreateNetwork", body))
        assert answer["Err"]
        assert answer["Err"] == answer["Error"]
    big = bed.post("ovsnet", "NetworkDriver.CreateNetwork", '{"x": "' + "ann" * 10_000_000 + '"}')
    assert json.loads(big)["Err"]
    assert bed.activates("ovsnet")
    assert bed.plugin.pid == pid
    assert bed.plugin.running


def test_unknown_ids_are_refused_where_they_are_needed_and_accepted_where_they_end(
    bed: Bed,
) -> None:
    ids = json.dumps({"NetworkID": "f" * 64, "EndpointID": "e" * 64, "SandboxKey": "/x"})
    for call in ("CreateEndpoint", "Join", "ProgramExternalConnectivity"):
        answer = json.loads(bed.post("ovsnet", f"NetworkDriver.{call}", ids))
        assert "ffffffffffff" in answer["Err"], call
    for call in ("Leave", "DeleteEndpoint", "DeleteNetwork", "RevokeExternalConnectivity"):
        assert json.loads(bed.post("ovsnet", f"NetworkDriver.{call}", ids)) == {}, call
    pool = json.dumps({"PoolID": "nowhere", "Address": "10.0.0.5"})
    assert json.loads(bed.post("ovsipam", "IpamDriver.RequestAddress", pool))["Error"]
    for call in ("ReleaseAddress", "ReleasePool"):
        assert json.loads(bed.post("ovsipam", f"IpamDriver.{call}", pool)) == {}, call


def test_host_bits_and_addresses_outside_are_refused_by_the_ipam_itself(bed: Bed) -> None:
    """Docker refuses some of these before we hear of them; other callers need not."""
    request = {"AddressSpace": "ovsnet", "Pool": "10.77.1.7/24", "Options": {}, "V6": False}
    answer = json.loads(bed.post("ovsipam", "IpamDriver.RequestPool", json.dumps(request)))
    assert "10.77.1.7/24" in answer["Error"]
    assert "10.77.1.0/24" in answer["Error"]
    request["Pool"] = "10.77.1.0/24"
    pool = json.loads(bed.post("ovsipam", "IpamDriver.RequestPool", json.dumps(request)))["PoolID"]
    try:
        wanted = {"PoolID": pool, "Address": "10.99.0.5", "Options": None}
        answer = json.loads(bed.post("ovsipam", "IpamDriver.RequestAddress", json.dumps(wanted)))
        assert "10.99.0.5" in answer["Error"]
        assert "10.77.1.0/24" in answer["Error"]
    finally:
        bed.post("ovsipam", "IpamDriver.ReleasePool", json.dumps({"PoolID": pool}))
