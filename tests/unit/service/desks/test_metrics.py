"""What Prometheus reads, over services that run and a Docker that calls."""

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ovsdriver.admin import asks
from ovsdriver.admin.desk import Desk
from ovsdriver.docker import methods
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.wires.observed import Traffic
from ovsdriver.errors import UnavailableError
from ovsdriver.metrics import Metrics
from ovsdriver.service.forgotten.purge import Purged
from tests.builders import BLUE, FIRST, RED, SECOND
from tests.unit.service.conftest import Host

SENT = Traffic(received_bytes=700, received_packets=7, sent_bytes=30, sent_packets=3)
"""By the host's end of a pair, which receives what the container sends."""


def desk_of(host: Host, *, by_container: bool = True, ready: bool = True) -> Desk:
    backend = methods.Backend()

    async def purge_unread() -> Purged:
        raise AssertionError

    desk = Desk(
        owner="ovsnet",
        switch=host.switch,
        engine=host.engine,
        metrics=Metrics(),
        by_container=by_container,
        degraded=lambda: backend.degraded,
        closed=backend.closed,
        purge_unread=purge_unread,
    )
    if ready:
        desk.ready(host.admin)
    return desk


class Scrape:
    """The series of one scrape: their values by name and labels."""

    def __init__(self, text: str) -> None:
        self.series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.series, f"twice: {key}"
                self.series[key] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        return self.series.get((name, frozenset(labels.items())))

    def labels(self, name: str) -> list[Mapping[str, str]]:
        return [dict(labels) for found, labels in self.series if found == name]


async def scrape(desk: Desk) -> Scrape:
    return Scrape((await desk.metrics()).decode())


async def named(host: Host, network: str, name: str, **containers: str) -> None:
    host.engine.add_network(NetworkId(network), name)
    for container, endpoint in containers.items():
        host.engine.add_endpoint(EndpointId(endpoint), NetworkId(network), container)
    await host.witness.read()


@pytest.fixture
async def web(host: Host) -> Host:
    await host.create_network()
    await host.run_container()
    await named(host, RED, "lab", web=FIRST)
    return host


async def test_what_a_container_sends_its_host_end_has_received(web: Host) -> None:
    web.links.passed[names.host_link(EndpointId(FIRST))] = SENT
    found = await scrape(desk_of(web))
    of_web = {"network": "lab", "container": "web"}
    assert found.value("ovsnet_endpoint_transmit_bytes_total", **of_web) == 700
    assert found.value("ovsnet_endpoint_transmit_packets_total", **of_web) == 7
    assert found.value("ovsnet_endpoint_receive_bytes_total", **of_web) == 30
    assert found.value("ovsnet_endpoint_receive_packets_total", **of_web) == 3
    assert found.value("ovsnet_endpoint_receive_dropped_packets_total", **of_web) == 0
    assert found.value("ovsnet_endpoint_up", **of_web) == 1


async def test_what_is_in_a_container_is_counted_there_and_not_turned(host: Host) -> None:
    await host.create_network()
    await host.run_container(said={"ovs.port": "internal"})
    await named(host, RED, "lab", web=FIRST)
    host.links.passed[names.internal_link(EndpointId(FIRST))] = SENT
    found = await scrape(desk_of(host))
    of_web = {"network": "lab", "container": "web"}
    assert found.value("ovsnet_endpoint_transmit_bytes_total", **of_web) == 30
    assert found.value("ovsnet_endpoint_receive_bytes_total", **of_web) == 700


async def test_series_end_with_their_endpoint_and_their_network(web: Host) -> None:
    desk = desk_of(web)
    assert (await scrape(desk)).labels("ovsnet_endpoint_up")
    await web.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    await web.endpoints.delete(NetworkId(RED), EndpointId(FIRST))
    found = await scrape(desk)
    assert {name for name, labels in found.series if ("container", "web") in labels} == set()
    assert found.value("ovsnet_network_endpoints", network="lab", state="attached") == 0
    await web.networks.delete(NetworkId(RED))
    assert not [
        name for name, labels in (await scrape(desk)).series if ("network", "lab") in labels
    ]


async def test_ids_are_labels_of_info_alone(web: Host) -> None:
    found = await scrape(desk_of(web))
    (info,) = found.labels("ovsnet_endpoint_info")
    endpoint = web.state.endpoint(EndpointId(FIRST))
    assert endpoint is not None
    assert info == {
        "network": "lab",
        "container": "web",
        "endpoint": FIRST,
        "mac": names.mac_text(endpoint.mac),
        "address": str(endpoint.addresses[0].ip),
        "bridge": "br-ovsnet",
        "vlan": info["vlan"],
        "port": names.host_link(EndpointId(FIRST)),
    }
    (network,) = found.labels("ovsnet_network_info")
    assert (network["id"], network["mode"]) == (RED, "nat")
    others = [
        value for name, labels in found.series if not name.endswith("_info") for _, value in labels
    ]
    assert not [value for value in others if value.startswith((RED[:12], FIRST[:12]))]


async def test_nothing_is_told_of_networks_before_docker_has_said_a_name(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    desk = desk_of(host)
    assert (await scrape(desk)).labels("ovsnet_network_info") == []
    host.engine.add_network(NetworkId(BLUE), "other")
    await host.witness.read()
    # Docker does not list it: that it is there is told, by the begin of its id
    found = await scrape(desk)
    assert [each["network"] for each in found.labels("ovsnet_network_info")] == [RED[:12]]
    assert found.labels("ovsnet_endpoint_up") == []
    assert found.value("ovsnet_network_endpoints", network=RED[:12], state="attached") == 1


async def test_names_stay_while_dockers_daemon_is_away(web: Host) -> None:
    desk = desk_of(web)
    await scrape(desk)
    web.witness._seen = None  # its daemon has ended
    found = await scrape(desk)
    assert found.value("ovsnet_endpoint_up", network="lab", container="web") == 1
    assert found.value("ovsnet_docker_connected") == 0


async def test_a_container_that_was_renamed_has_its_new_name(web: Host) -> None:
    desk = desk_of(web)
    await scrape(desk)
    await scrape(desk)
    web.engine.add_endpoint(EndpointId(FIRST), NetworkId(RED), "shop")
    await web.witness.read()
    found = await scrape(desk)
    assert [each["container"] for each in found.labels("ovsnet_endpoint_up")] == ["shop"]
    assert [each["container"] for each in found.labels("ovsnet_endpoint_info")] == ["shop"]


async def test_names_with_markup_are_escaped(host: Host) -> None:
    name = 'a"b\\c\nd'
    await host.create_network()
    await host.run_container()
    await named(host, RED, name, web=FIRST)
    found = await scrape(desk_of(host))
    assert found.value("ovsnet_endpoint_up", network=name, container="web") == 1


async def test_two_of_one_name_do_not_spoil_the_scrape(web: Host) -> None:
    await web.run_container(SECOND, sandbox="/netns/two")
    await named(web, RED, "lab", web=FIRST)
    web.engine.add_endpoint(EndpointId(SECOND), NetworkId(RED), "web")
    await web.witness.read()
    found = await scrape(desk_of(web))  # refuses a series that is there twice
    assert len(found.labels("ovsnet_endpoint_up")) == 1
    assert found.value("ovsnet_network_endpoints", network="lab", state="attached") == 2


async def test_an_endpoint_without_its_port_is_broken_and_not_up(web: Host) -> None:
    await web.switch.remove_port(names.host_link(EndpointId(FIRST)))
    found = await scrape(desk_of(web))
    assert found.value("ovsnet_endpoint_up", network="lab", container="web") == 0
    assert found.value("ovsnet_network_endpoints", network="lab", state="broken") == 1


async def test_a_link_that_is_down_is_not_up(web: Host) -> None:
    web.links.set_link(names.host_link(EndpointId(FIRST)), up=False)
    found = await scrape(desk_of(web))
    assert found.value("ovsnet_endpoint_up", network="lab", container="web") == 0
    assert found.value("ovsnet_network_endpoints", network="lab", state="broken") == 0


async def test_pools_tell_how_full_they_are(web: Host) -> None:
    found = await scrape(desk_of(web))
    network = web.state.network(NetworkId(RED))
    assert network is not None
    pool = {"pool": str(network.subnets[0].cidr), "space": "ovsnet", "network": "lab"}
    assert found.value("ovsnet_pool_addresses", **pool, state="leased") == 2
    assert found.value("ovsnet_pool_addresses", **pool, state="free") == 252
    assert found.value("ovsnet_pool_addresses", **pool, state="reserved") == 0


async def test_uplinks_are_told_as_the_host_sees_them(host: Host) -> None:
    host.links.add_link("eth1", up=True)
    await host.create_network(said={"ovs.uplink": "eth1", "ovs.vlan": "30", "ovs.mode": "flat"})
    await named(host, RED, "office")
    host.links.passed["eth1"] = SENT
    found = await scrape(desk_of(host))
    (labels,) = found.labels("ovsnet_uplink_up")
    assert labels["nic"] == "eth1"
    assert found.value("ovsnet_uplink_receive_bytes_total", **labels) == 700
    assert found.value("ovsnet_uplink_transmit_bytes_total", **labels) == 30


async def test_traffic_of_a_network_never_falls(web: Host) -> None:
    desk = desk_of(web, by_container=False)
    link = names.host_link(EndpointId(FIRST))

    async def sent() -> float | None:
        found = await scrape(desk)
        assert not [labels for _, labels in found.series if "container" in dict(labels)]
        return found.value("ovsnet_endpoint_transmit_bytes_total", network="lab")

    web.links.passed[link] = SENT
    assert await sent() == 700
    web.links.passed[link] = Traffic(received_bytes=50)  # made anew, and counts from nought
    assert await sent() == 750
    await web.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    await web.endpoints.delete(NetworkId(RED), EndpointId(FIRST))
    assert await sent() == 750
    web.links.broken = "the kernel is busy"
    assert await sent() is None
    web.links.broken = None
    assert await sent() == 750
    await web.networks.delete(NetworkId(RED))
    assert await sent() is None


async def test_while_degraded_there_is_what_the_process_knows_of_itself(host: Host) -> None:
    desk = desk_of(host, ready=False)
    found = await scrape(desk)
    assert found.value("ovsnet_openvswitch_connected") == 1
    assert found.value("ovsnet_degraded") in (0, 1)
    assert found.labels("ovsnet_build_info")
    assert found.value("ovsnet_docker_connected") is None


async def test_repairs_are_counted_by_what_they_are_of(web: Host) -> None:
    metrics = Metrics()
    web.reconciler._metrics = metrics
    await web.switch.remove_port(names.host_link(EndpointId(FIRST)))
    await web.reconciler.reconcile()
    found = Scrape(metrics.render().decode())
    assert found.value("ovsnet_repairs_total", kind="bridges and ports") == 1
    assert found.value("ovsnet_repair_failures_total", kind="bridges and ports") == 0
    assert found.value("ovsnet_repairs_total", kind="firewall") is not None


async def test_the_kernels_silence_costs_traffic_and_nothing_else(web: Host) -> None:
    web.links.broken = "no answer within 5 s"
    found = await scrape(desk_of(web))
    assert found.labels("ovsnet_endpoint_up") == []
    assert found.value("ovsnet_network_endpoints", network="lab", state="attached") == 1
    with pytest.raises(UnavailableError):
        await desk_of(web).answer(asks.ShowTraffic())


async def test_what_passed_is_told_to_people_with_names(web: Host) -> None:
    web.links.passed[names.host_link(EndpointId(FIRST))] = SENT
    told = await desk_of(web).answer(asks.ShowTraffic())
    (endpoint,) = told.endpoints
    assert (endpoint.network_name, endpoint.container) == ("lab", "web")
    assert endpoint.traffic == SENT.turned
    (gateway,) = told.gateways
    assert gateway.link == names.gateway_link(NetworkId(RED))
