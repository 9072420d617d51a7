"""The name servers that a host is to its containers: where they are, and what they say."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.adapters.store import storefile
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, Mode, Network
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.ports import State
from ovsdriver.ports.northbound import SegmentPool, SharedName
from ovsdriver.service.segments.servers import SegmentServers
from ovsdriver.world import open_store
from tests.builders import BLUE, FIRST, OWNER, RED, SECOND, a_network, a_subnet, an_endpoint
from tests.fakes.links import FakeLinks
from tests.fakes.name_servers import FakeNameServers
from tests.fakes.northbound import FakeNorthbound
from tests.fakes.switch import FakeSwitch, foreign_bridge

PORT = names.server_link("blue")


def network(network_id: str, segment: str, subnet: str = "10.50.0.0/24") -> Network:
    return a_network(
        network_id,
        segment=OvnSegment(segment=segment),
        mode=Mode.GWBRIDGE,
        subnets=(a_subnet(subnet, None, f"segment:{segment}/4/aaaa"),),
    )


class Host:
    """With a network on segment blue, and its server."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.northbound = FakeNorthbound()
        self.links = FakeLinks(owner=OWNER)
        self.switch = FakeSwitch(OWNER)
        self.switch.put_bridge(foreign_bridge("br-int"))
        self.network = network(RED, "blue")
        self.start()

    def start(self) -> None:
        """Begin anew, as a process does."""
        self.served = FakeNameServers(self.links)
        self.servers = SegmentServers(
            owner=OWNER,
            state=self.state,
            northbound=self.northbound,
            switch=self.switch,
            links=self.links,
            servers=self.served,
            tso_of=lambda network: "",
        )

    async def begin(self) -> None:
        await self.state.put_network(self.network)
        await self.servers.ensure_network(self.network)

    async def container(self, endpoint: str, address: str, network_id: str = RED) -> None:
        record = an_endpoint(
            endpoint,
            network=network_id,
            addresses=(IPNetwork(f"{address}/24"),),
            sandbox="/netns/one",
        )
        await self.state.put_endpoint(record)

    async def name(self, segment: str, name: str, *addresses: str) -> None:
        pool = SegmentPool(id=PoolId(f"segment:{segment}/4/bbbb"), host="host2")
        await self.northbound.hold(segment, IPNetwork("10.50.0.0/24"), pool)
        await self.northbound.put_name(
            SharedName(
                segment=segment,
                endpoint=EndpointId(f"{segment}{name}"),
                host="host2",
                names=(name,),
                addresses=tuple(map(IPAddress, addresses)),
            )
        )

    async def mend(self) -> list[str]:
        seen = await self.servers.look(mend=True)
        assert not seen.failed
        return list(seen.mended)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with open_store(storefile.MEMORY) as store:
        made = Host(store.state)
        await made.begin()
        yield made


async def test_a_segment_s_server_is_behind_the_port_that_each_host_has(host: Host) -> None:
    port = host.switch.port(PORT)
    assert port is not None
    assert port.bridge == "br-int"
    assert port.external_ids["iface-id"] == "blue/dns"
    assert port.external_ids[names.OWNER_KEY] == OWNER
    assert not await host.mend()


async def test_it_goes_with_the_network_of_the_host(host: Host) -> None:
    await host.state.put_network(replace(host.network, ended=True))
    await host.servers.remove_network(host.network)
    assert host.switch.port(PORT) is None
    assert PORT not in await host.links.links()
    assert not host.served.running()


async def test_a_purge_removes_it_whatever_the_records_say(host: Host) -> None:
    await host.servers.clear()
    assert host.switch.port(PORT) is None
    assert PORT not in await host.links.links()


async def test_a_new_process_plugs_it_in_again(host: Host) -> None:
    host.served.end()
    host.start()
    host.switch.calls.clear()
    (mended,) = await host.mend()
    assert "name server" in mended
    assert host.served.running()
    assert host.switch.calls == [f"ensure_port {PORT}"]
    assert not await host.mend()


async def test_what_it_loses_is_mended(host: Host) -> None:
    host.links.drop_link(PORT)
    assert await host.mend()
    await host.switch.remove_port(PORT)
    assert await host.mend()
    assert host.switch.port(PORT) is not None
    assert not await host.mend()


async def test_a_port_of_a_segment_that_was_left_is_removed(host: Host) -> None:
    await host.state.forget_network(host.network.id)
    host.served.end()
    host.start()
    (mended,) = await host.mend()
    assert "segment blue, which this host has left" in mended
    assert host.switch.port(PORT) is None


async def test_names_of_the_segment_are_answered_and_others_asked_outside(host: Host) -> None:
    await host.container(FIRST, "10.50.0.5")
    await host.name("blue", "db", "10.50.0.9", "fd50::9")
    assert host.served.ask("blue", "10.50.0.5", "DB") == ["10.50.0.9", "fd50::9"]
    assert host.served.ask("blue", "10.50.0.5", "other") == ["outside"]


async def test_only_containers_of_this_host_are_heard(host: Host) -> None:
    await host.name("blue", "db", "10.50.0.9")
    assert host.served.ask("blue", "10.50.0.5", "db") is None


async def test_names_of_another_segment_are_for_containers_that_are_on_it_too(host: Host) -> None:
    await host.state.put_network(network(BLUE, "red", "10.51.0.0/24"))
    await host.container(FIRST, "10.50.0.5")
    await host.name("red", "db", "10.51.0.9")
    assert host.served.ask("blue", "10.50.0.5", "db") == ["outside"]
    await host.container(SECOND, "10.51.0.5", BLUE)
    assert host.served.ask("blue", "10.50.0.5", "db") == ["10.51.0.9"]
