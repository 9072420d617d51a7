"""Mirrors: when they and their ports come, stay and go."""

from typing import Any

import pytest

from ovsdriver.domain.records import names
from ovsdriver.domain.wires.observed import ObservedMirror
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, FIRST, RED, SECOND
from tests.unit.service.conftest import Host


def mirrors(host: Host, bridge: str = "br-ovsnet") -> tuple[ObservedMirror, ...]:
    found = host.switch.bridge(bridge)
    return found.mirrors if found is not None else ()


async def sink(host: Host) -> None:
    """Run a container that gets copies, on a network of its own."""
    await host.create_network(BLUE)
    await host.run_container(SECOND, BLUE, "/netns/two", said={"ovs.sink": "ids"})


async def test_a_network_is_mirrored_to_a_container_that_asks_for_it(host: Host) -> None:
    await host.create_network(said={"ovs.mirror": "sink:ids", "ovs.vlan": "30"})
    assert mirrors(host) == ()
    await sink(host)
    (mirror,) = mirrors(host)
    assert (mirror.vlans, mirror.everything) == ((30,), True)
    assert mirror.output == names.host_link(SECOND)  # type: ignore[arg-type]
    await host.endpoints.leave(BLUE, SECOND)
    assert mirrors(host) == ()


async def test_a_container_is_mirrored_while_it_runs(host: Host) -> None:
    await sink(host)
    await host.create_network()
    await host.run_container(said={"ovs.mirror": "sink:ids"})
    (mirror,) = mirrors(host)
    assert mirror.sources == mirror.destinations == (names.host_link(FIRST),)  # type: ignore[arg-type]
    assert not mirror.everything
    await host.endpoints.leave(RED, FIRST)
    await host.endpoints.delete(RED, FIRST)
    assert mirrors(host) == ()


async def test_a_nic_is_taken_for_mirrors_and_given_back(host: Host) -> None:
    host.links.add_link("eth2", mtu=1500)
    before = await host.nics.state("eth2")
    await host.create_network(said={"ovs.mirror": "nic:eth2"})
    port = host.switch.port("eth2")
    assert port is not None
    assert port.tag == 4095
    assert len(mirrors(host)) == 1
    assert await host.nics.state("eth2") != before
    assert not (await host.reconciler.reconcile()).beyond
    await host.networks.delete(RED)  # type: ignore[arg-type]
    assert host.switch.port("eth2") is None
    assert await host.nics.state("eth2") == before
    assert not any(key.startswith("mirror") for key in host.state.notes())


@pytest.mark.parametrize(
    ("details", "why"),
    [
        ({}, "no such link"),
        ({"addresses": ("192.0.2.7/24",)}, "routes of this host"),
        ({"master": True}, "a part of br9"),
    ],
)
async def test_a_nic_that_is_used_or_not_there_is_refused(
    host: Host, details: dict[str, Any], why: str
) -> None:
    if details:
        host.links.add_link("br9", kind="bridge")
        host.links.add_link("eth2")
        for address in details.get("addresses", ()):
            host.links.add_address("eth2", address)
        if details.get("master"):
            host.links.set_link("eth2", master_index=host.links.index_of("br9"))
    with pytest.raises((UnsupportedError, ConflictError), match=why):
        await host.create_network(said={"ovs.mirror": "nic:eth2"})
    assert not host.state.networks()


async def test_a_tunnel_has_no_way_from_the_userspace_datapath(host: Host) -> None:
    with pytest.raises(UnsupportedError, match="userspace datapath"):
        await host.create_network(said={"ovs.mirror": "gre:192.0.2.9"})


async def test_what_somebody_removed_comes_back_and_what_is_left_goes(host: Host) -> None:
    await sink(host)
    await host.create_network(said={"ovs.mirror": "sink:ids"})
    await host.reconciler.reconcile()
    await host.switch.ensure_mirrors("br-ovsnet", ())
    dry = await host.reconciler.look()
    repairs = await host.reconciler.reconcile()
    assert repairs.mended == dry.found
    assert any("mirrors" in each for each in repairs.mended)
    assert len(mirrors(host)) == 1
    assert not (await host.reconciler.reconcile()).mended


async def test_who_is_mirrored_to_nobody_is_told(host: Host) -> None:
    await host.create_network(said={"ovs.mirror": "sink:ids"})
    assert any("ovs.sink=ids" in each for each in (await host.reconciler.reconcile()).beyond)


@pytest.mark.parametrize(
    ("network", "mirrored", "looks"),
    [
        pytest.param({"ovs.icc": "false"}, {}, {}, id="network"),
        pytest.param({}, {"ovs.protected": "true"}, {"ovs.protected": "true"}, id="endpoints"),
    ],
)
async def test_who_gets_no_copies_since_both_are_kept_apart_is_told(
    host: Host, network: dict[str, str], mirrored: dict[str, str], looks: dict[str, str]
) -> None:
    await host.create_network(said={"ovs.mirror": "sink:ids", **network})
    await host.run_container(SECOND, sandbox="/netns/two", said={"ovs.sink": "ids", **looks})
    assert not (await host.reconciler.reconcile()).beyond
    await host.run_container(said=mirrored)
    (told,) = (await host.reconciler.reconcile()).beyond
    assert "keeps copies from it" in told


async def test_a_mirror_is_changed_while_containers_run(host: Host) -> None:
    await sink(host)
    await host.create_network()
    await host.run_container()
    await host.changes.network(RED, OtherOptions(typed={"ovs.mirror": "sink:ids"}))  # type: ignore[arg-type]
    assert len(mirrors(host)) == 1
    await host.changes.network(RED, OtherOptions(typed={"ovs.mirror": ""}))  # type: ignore[arg-type]
    assert mirrors(host) == ()
    await host.changes.endpoint(FIRST, OtherOptions(typed={"ovs.mirror": "sink:ids"}))  # type: ignore[arg-type]
    assert len(mirrors(host)) == 1
    await host.changes.endpoint(FIRST, OtherOptions(typed={"ovs.mirror": ""}))  # type: ignore[arg-type]
    assert mirrors(host) == ()


async def test_who_looks_is_not_looked_at(host: Host) -> None:
    await host.create_network()
    with pytest.raises(InvalidOptionError, match="contradict"):
        await host.run_container(said={"ovs.sink": "a", "ovs.mirror": "sink:b"})


async def test_a_purge_takes_mirrors_and_gives_nics_back(host: Host) -> None:
    host.links.add_link("eth2", mtu=1500)
    before = await host.nics.state("eth2")
    await host.create_network(said={"ovs.mirror": "nic:eth2"})
    await host.purge.run(switch_wait_s=1)
    assert await host.nics.state("eth2") == before
    assert host.switch.bridge("br-ovsnet") is None
