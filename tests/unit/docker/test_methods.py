"""The method tables, through the real server, above services that remember."""

import asyncio
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import Lease, LeaseKind, PoolId
from ovsdriver.docker import methods
from ovsdriver.domain.records.model import PortMapping, Transport
from ovsdriver.errors import UnavailableError
from tests.unit.wire.conversation import Plugin, plugin
from tests.unit.wire.shapes import NEEDED, assert_well_formed

NETWORK = "b" * 64
ENDPOINT = "e" * 64
PLACE = {"NetworkID": NETWORK, "EndpointID": ENDPOINT}

NO_ARGUMENTS = {
    "Plugin.Activate",
    "NetworkDriver.GetCapabilities",
    "IpamDriver.GetCapabilities",
    "IpamDriver.GetDefaultAddressSpaces",
}
NEED_NOTHING = {
    "NetworkDriver.AllocateNetwork": {"NetworkID": NETWORK},
    "NetworkDriver.FreeNetwork": {"NetworkID": NETWORK},
    "NetworkDriver.DiscoverNew": {"DiscoveryType": 1},
    "NetworkDriver.DiscoverDelete": {"DiscoveryType": 1},
    "NetworkDriver.EndpointOperInfo": PLACE,
}
NEED_SERVICES = {
    "NetworkDriver.GwAllocCheck": {"Options": {}},
    "NetworkDriver.CreateNetwork": {"NetworkID": NETWORK},
    "NetworkDriver.DeleteNetwork": {"NetworkID": NETWORK},
    "NetworkDriver.CreateEndpoint": PLACE,
    "NetworkDriver.DeleteEndpoint": PLACE,
    "NetworkDriver.Join": {**PLACE, "SandboxKey": "/run/docker/netns/1"},
    "NetworkDriver.Leave": PLACE,
    "NetworkDriver.ProgramExternalConnectivity": PLACE,
    "NetworkDriver.RevokeExternalConnectivity": PLACE,
    "IpamDriver.RequestPool": {"Pool": "10.0.0.0/24"},
    "IpamDriver.ReleasePool": {"PoolID": "p"},
    "IpamDriver.RequestAddress": {"PoolID": "p"},
    "IpamDriver.ReleaseAddress": {"PoolID": "p", "Address": "10.0.0.5"},
}


@pytest.fixture
async def served(tmp_path: Path):
    async with plugin(tmp_path) as running:
        yield running


async def ok(served: Plugin, call: str, body: object = None, *, name: str = "ovsnet") -> object:
    answer = await served.post(call, body, name=name)
    assert answer.status == 200, answer.raw
    assert_well_formed(call, answer.json)
    return answer.json


def test_every_call_of_both_protocols_is_in_the_table():
    calls = methods.both_kinds(methods.Backend())
    assert set(calls) == set(NEEDED)
    assert set(calls) == NO_ARGUMENTS | set(NEED_NOTHING) | set(NEED_SERVICES)
    assert {name for name, call in calls.items() if not call.arguments} == NO_ARGUMENTS


async def test_one_socket_is_both_kinds_and_the_other_an_ipam(served: Plugin):
    assert await ok(served, "Plugin.Activate") == {"Implements": ["NetworkDriver", "IpamDriver"]}
    for name in ("ovsipam", "ovsipam-blue"):
        assert await ok(served, "Plugin.Activate", name=name) == {"Implements": ["IpamDriver"]}


async def test_an_ipam_socket_has_no_network_calls(served: Plugin):
    answer = await served.post("NetworkDriver.GetCapabilities", name="ovsipam")
    assert answer.status == 404
    assert answer.error == 'no such call: "NetworkDriver.GetCapabilities"'


async def test_capabilities(served: Plugin):
    assert await ok(served, "NetworkDriver.GetCapabilities") == {
        "Scope": "local",
        "ConnectivityScope": "local",
        "GwAllocChecker": True,
    }
    assert "RequiresMACAddress" not in (await ok(served, "IpamDriver.GetCapabilities"))


@pytest.mark.parametrize(
    ("name", "local", "shared"),
    [
        ("ovsnet", "ovsnet", "ovsnet-global"),
        ("ovsipam", "ovsnet", "ovsnet-global"),
        ("ovsipam-blue", "blue", "blue-global"),
        ("ovsipam-red", "segment:red", "segment:red"),
    ],
)
async def test_the_socket_decides_the_default_address_space(
    served: Plugin, name: str, local: str, shared: str
):
    assert await ok(served, "IpamDriver.GetDefaultAddressSpaces", name=name) == {
        "LocalDefaultAddressSpace": local,
        "GlobalDefaultAddressSpace": shared,
    }
    await ok(served, "IpamDriver.RequestPool", {"Pool": "10.0.0.0/24"}, name=name)
    assert served.ipam.requests[-1].space == local


async def test_a_container_from_its_first_address_to_its_last(served: Plugin):
    pool = await ok(served, "IpamDriver.RequestPool", {"Pool": "10.0.0.0/24"})
    assert isinstance(pool, dict)
    gateway = {"RequestAddressType": "com.docker.network.gateway"}
    assert await ok(
        served, "IpamDriver.RequestAddress", {"PoolID": pool["PoolID"], "Options": gateway}
    ) == {"Address": "10.0.0.1/24", "Data": {}}
    assert len(served.ipam.gateways()) == 1
    data = [{"AddressSpace": "ovsnet", "Pool": "10.0.0.0/24", "Gateway": "10.0.0.1/24"}]
    assert (
        await ok(served, "NetworkDriver.CreateNetwork", {"NetworkID": NETWORK, "IPv4Data": data})
        == {}
    )
    assert served.networks.created[NETWORK].subnets[0].gateway == IPAddress("10.0.0.1")
    assert await ok(
        served, "IpamDriver.RequestAddress", {"PoolID": pool["PoolID"], "Address": ""}
    ) == {"Address": "10.0.0.2/24", "Data": {}}
    interface = {"Address": "10.0.0.2/24", "AddressIPv6": "", "MacAddress": ""}
    assert await ok(served, "NetworkDriver.CreateEndpoint", {**PLACE, "Interface": interface}) == {
        "Interface": {"MacAddress": "0a:0f:0a:00:00:05"}
    }
    assert served.endpoints.created[ENDPOINT].addresses == (IPNetwork("10.0.0.2/24"),)
    ports = {"com.docker.network.portmap": [{"Proto": 6, "Port": 80, "HostPort": 8080}]}
    assert await ok(
        served,
        "NetworkDriver.Join",
        {**PLACE, "SandboxKey": "/run/docker/netns/1", "Options": ports},
    ) == {
        "InterfaceName": {"SrcName": "ovceeeeeeeeeeee", "DstPrefix": "eth"},
        "DisableGatewayService": False,
        "Gateway": "10.0.0.2",
    }
    assert served.endpoints.joined == {ENDPOINT: "/run/docker/netns/1"}
    mapping = PortMapping(protocol=Transport.TCP, port=80, host_port=8080)
    assert served.endpoints.asked == {ENDPOINT: (mapping,)}
    assert served.endpoints.published == {}
    assert (
        await ok(served, "NetworkDriver.ProgramExternalConnectivity", {**PLACE, "Options": ports})
        == {}
    )
    assert served.endpoints.published == {ENDPOINT: (mapping,)}
    assert await ok(served, "NetworkDriver.EndpointOperInfo", PLACE) == {"Value": {}}
    assert await ok(served, "NetworkDriver.RevokeExternalConnectivity", PLACE) == {}
    assert await ok(served, "NetworkDriver.Leave", PLACE) == {}
    assert await ok(served, "NetworkDriver.DeleteEndpoint", PLACE) == {}
    assert served.endpoints.published == served.endpoints.joined == served.endpoints.created == {}
    release = {"PoolID": pool["PoolID"], "Address": "10.0.0.2"}
    assert await ok(served, "IpamDriver.ReleaseAddress", release) == {}
    assert [lease.kind for lease in served.ipam.leases.values()] == [LeaseKind.GATEWAY]
    assert await ok(served, "IpamDriver.ReleasePool", {"PoolID": pool["PoolID"]}) == {}
    assert await ok(served, "NetworkDriver.DeleteNetwork", {"NetworkID": NETWORK}) == {}
    assert served.ipam.pools == served.networks.created == {}


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("NetworkDriver.DeleteNetwork", {"NetworkID": NETWORK}),
        ("NetworkDriver.DeleteEndpoint", PLACE),
        ("NetworkDriver.Leave", PLACE),
        ("NetworkDriver.RevokeExternalConnectivity", PLACE),
        ("IpamDriver.ReleasePool", {"PoolID": "gone"}),
        ("IpamDriver.ReleaseAddress", {"PoolID": "gone", "Address": "10.0.0.5"}),
    ],
)
async def test_removing_what_is_not_known_succeeds(served: Plugin, call: str, body: object):
    assert await ok(served, call, body) == {}


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("NetworkDriver.CreateEndpoint", PLACE),
        ("NetworkDriver.Join", {**PLACE, "SandboxKey": "/run/docker/netns/1"}),
        ("NetworkDriver.ProgramExternalConnectivity", PLACE),
        ("IpamDriver.RequestAddress", {"PoolID": "gone"}),
    ],
)
async def test_an_unknown_id_is_never_a_404(served: Plugin, call: str, body: object):
    answer = await served.post(call, body)
    assert answer.status == 400
    assert "is not known" in answer.error


async def test_an_endpoint_is_ended_before_its_address_is_free(served: Plugin):
    order = []

    async def end(pool: PoolId, address: IPAddress, /) -> None:
        order.append("end")

    async def free(pool: PoolId, address: IPAddress, /) -> bool:
        order.append("free")
        return True

    served.endpoints.release = end  # type: ignore[method-assign]
    served.ipam.release_address = free  # type: ignore[method-assign]
    await ok(served, "IpamDriver.ReleaseAddress", {"PoolID": "p", "Address": "10.0.0.5"})
    assert order == ["end", "free"]


async def test_an_address_stays_held_while_its_endpoint_cannot_be_ended(served: Plugin):
    async def end(pool: PoolId, address: IPAddress, /) -> None:
        raise UnavailableError("Open vSwitch does not answer")

    served.endpoints.release = end  # type: ignore[method-assign]
    key = (PoolId("p"), IPAddress("10.0.0.5"))
    served.ipam.leases[key] = Lease(pool=key[0], address=key[1], kind=LeaseKind.ENDPOINT)
    answer = await served.post("IpamDriver.ReleaseAddress", {"PoolID": "p", "Address": "10.0.0.5"})
    assert answer.status == 503
    assert key in served.ipam.leases


async def test_a_pool_that_goes_while_an_address_is_given_fails_the_request(served: Plugin):
    pool = await ok(served, "IpamDriver.RequestPool", {"Pool": "10.0.0.0/24"})
    assert isinstance(pool, dict)
    served.ipam.pool = lambda pool_id, /: None  # type: ignore[method-assign]
    answer = await served.post("IpamDriver.RequestAddress", {"PoolID": pool["PoolID"]})
    assert answer.status == 503
    assert "released meanwhile" in answer.error


async def test_a_gateway_check_asks_with_options_and_internal(served: Plugin):
    options = {
        "com.docker.network.internal": True,
        "com.docker.network.generic": {"ovs.bridge": "br5"},
    }
    assert await ok(served, "NetworkDriver.GwAllocCheck", {"Options": options}) == {
        "SkipIPv4": True,
        "SkipIPv6": True,
    }
    ((asked, internal),) = served.networks.checked
    assert (asked.bridge, internal) == ("br5", True)


async def test_a_second_name_for_the_same_network_option_is_refused_over_the_wire(served: Plugin):
    generic = {"ovs.mtu": "1400", "com.docker.network.driver.mtu": "1500"}
    answer = await served.post(
        "NetworkDriver.CreateNetwork",
        {"NetworkID": NETWORK, "Options": {"com.docker.network.generic": generic}},
    )
    assert answer.status == 400
    assert "contradict" in answer.error
    assert not served.networks.created


async def test_options_that_are_other_peoples_are_told_in_the_log(
    served: Plugin, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    generic = {"com.example.rack": "r1", "com.docker.compose.project": "shop"}
    body = {"NetworkID": NETWORK, "Options": {"com.docker.network.generic": generic}}
    await ok(served, "NetworkDriver.CreateNetwork", body)
    (record,) = [record for record in caplog.records if record.msg == "options.ignored"]
    assert record.event_fields == {  # type: ignore[attr-defined]
        "keys": "com.example.rack, com.docker.compose.project"
    }


async def test_an_allocation_is_echoed_for_every_node(served: Plugin):
    body = {"NetworkID": "x" * 25, "Options": {"ovs.vlan": "7"}, "IPv6Data": None}
    assert await ok(served, "NetworkDriver.AllocateNetwork", body) == {"Options": {"ovs.vlan": "7"}}


@pytest.mark.parametrize("state", ["starting", "degraded"])
async def test_what_needs_no_service_is_answered_at_once(tmp_path: Path, state: str):
    async with plugin(tmp_path, ready=False) as served:
        if state == "degraded":
            served.backend.degrade("the store is broken")
        for call in NO_ARGUMENTS:
            await ok(served, call)
        for call, body in NEED_NOTHING.items():
            await ok(served, call, body)


@pytest.mark.parametrize("call", NEED_SERVICES)
async def test_a_degraded_process_refuses_with_its_sentence(tmp_path: Path, call: str):
    async with plugin(tmp_path, ready=False) as served:
        served.backend.degrade("/var/lib/ovsnet/state.db is corrupt; restore it")
        answer = await served.post(call, NEED_SERVICES[call])
        assert answer.status == 503
        assert answer.error == "/var/lib/ovsnet/state.db is corrupt; restore it"
        assert served.backend.degraded == answer.error


async def test_a_call_that_comes_while_we_start_waits_and_is_served(tmp_path: Path):
    async with plugin(tmp_path, ready=False) as served:
        call = asyncio.create_task(served.post("NetworkDriver.CreateNetwork", {"NetworkID": "n"}))
        await asyncio.sleep(0.05)
        assert not call.done()
        served.backend.ready(served.services())
        assert (await call).status == 200
        assert "n" in served.networks.created


async def test_a_call_that_waits_for_a_process_that_then_degrades_gets_the_sentence(tmp_path: Path):
    async with plugin(tmp_path, ready=False) as served:
        call = asyncio.create_task(served.post("NetworkDriver.CreateNetwork", {"NetworkID": "n"}))
        await asyncio.sleep(0.05)
        served.backend.degrade("broken")
        assert (await call).error == "broken"


async def test_a_start_that_takes_too_long_is_told(tmp_path: Path):
    async with plugin(tmp_path, ready=False, wait_s=0.05) as served:
        answer = await served.post("NetworkDriver.CreateNetwork", {"NetworkID": "n"})
        assert answer.status == 503
        assert answer.error.startswith("ovsnet is still starting after 0.05 s; try again")


async def test_a_bad_request_does_not_wait_for_the_start(tmp_path: Path):
    async with plugin(tmp_path, ready=False, wait_s=3600) as served:
        answer = await served.post("NetworkDriver.CreateNetwork", {"NetworkID": 5})
        assert answer.status == 400


async def test_a_process_can_degrade_while_it_serves(served: Plugin):
    served.backend.degrade("the disk is gone")
    answer = await served.post("NetworkDriver.CreateNetwork", {"NetworkID": "n"})
    assert (answer.status, answer.error) == (503, "the disk is gone")


async def test_a_degraded_process_can_become_ready(tmp_path: Path):
    async with plugin(tmp_path, ready=False) as served:
        served.backend.degrade("broken")
        served.backend.ready(served.services())
        assert served.backend.degraded == ""
        await ok(served, "NetworkDriver.CreateNetwork", {"NetworkID": "n"})
