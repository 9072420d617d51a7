"""Who reaches whom on a segment, and who looks on: what OVN and Open vSwitch are told."""

import pytest
from netaddr import IPAddress

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.wires.observed import ObservedMirror
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError
from ovsdriver.ports import SharedPort
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED, SECOND
from tests.unit.service.conftest import Host
from tests.unit.service.segments.on_blue import container, network, northbound

THIRD = "3" * 64


def port(host: Host, address: str = "10.50.0.2") -> SharedPort:
    lease = northbound(host).lease("blue", IPAddress(address))
    assert lease is not None
    assert lease.port is not None
    return lease.port


def mirrors(host: Host) -> tuple[ObservedMirror, ...]:
    return host.switch.bridges()["br-int"].mirrors


def link(endpoint: str) -> str:
    return names.host_link(EndpointId(endpoint))


async def test_without_icc_containers_are_kept_apart_by_ovn(member: Host) -> None:
    await network(member, **{"ovs.icc": "false"})
    await container(member)
    assert port(member).apart
    plugged = member.switch.port(link(FIRST))
    assert plugged is not None
    assert not plugged.protected
    assert northbound(member).segments()["blue"].options["icc"] == "false"


async def test_icc_is_what_the_segments_first_network_has_said(member: Host) -> None:
    northbound(member).rival = {"mtu": "1442", "guard": "true", "icc": "false"}
    await network(member)
    await container(member)
    assert port(member).apart
    await member.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.delay": "20ms"}))
    assert port(member).apart
    with pytest.raises(UnsupportedError, match=r"ovs\.icc hold on all its hosts"):
        await member.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.icc": "true"}))


async def test_who_says_another_icc_than_the_segment_has_is_refused(member: Host) -> None:
    northbound(member).rival = {"mtu": "1442", "guard": "true"}
    with pytest.raises(ConflictError, match=r"ovs\.icc=false: segment blue has ovs\.icc=true"):
        await network(member, **{"ovs.icc": "false"})


async def test_a_protected_container_is_opened_and_closed_while_it_runs(member: Host) -> None:
    await network(member)
    await container(member, **{"ovs.protected": "true"})
    assert port(member).apart
    for word, apart in (("false", False), ("true", True)):
        wish = OtherOptions(typed={"ovs.protected": word})
        await member.changes.endpoint(EndpointId(FIRST), wish)
        assert port(member).apart is apart


async def test_who_is_not_guarded_cannot_be_kept_apart(member: Host) -> None:
    with pytest.raises(InvalidOptionError, match=r"leave ovs\.guard=false out"):
        await network(member, **{"ovs.icc": "false", "ovs.guard": "false"})
    for pool in member.ipam.pools():
        await member.ipam.release_pool(pool.id)
    await network(member)
    with pytest.raises(InvalidOptionError, match=r"leave ovs\.protected out"):
        await container(member, **{"ovs.protected": "true", "ovs.guard": "false"})


async def test_a_network_is_mirrored_by_the_ports_that_it_has_here(member: Host) -> None:
    await network(member, **{"ovs.mirror": "sink:ids"})
    await container(member, FIRST, "/netns/one", **{"ovs.sink": "ids"})
    assert mirrors(member) == ()
    await container(member, SECOND, "/netns/two")
    await container(member, THIRD, "/netns/three")
    (mirror,) = mirrors(member)
    assert (mirror.output, mirror.everything, mirror.vlans) == (link(FIRST), False, ())
    assert mirror.sources == mirror.destinations == tuple(sorted([link(SECOND), link(THIRD)]))
    assert not (await member.reconciler.reconcile()).mended
    await member.endpoints.leave(NetworkId(RED), EndpointId(SECOND))
    (mirror,) = mirrors(member)
    assert mirror.sources == (link(THIRD),)
    await member.endpoints.leave(NetworkId(RED), EndpointId(THIRD))
    assert mirrors(member) == ()


async def test_a_mirror_of_others_ports_does_not_wait_for_one_that_is_being_plugged_in(
    member: Host,
) -> None:
    await network(member, **{"ovs.mirror": "sink:ids"})
    await container(member, FIRST, "/netns/one", **{"ovs.sink": "ids"})
    await container(member, SECOND, "/netns/two")
    await container(member, THIRD, "/netns/three")
    member.switch.drop_port(link(SECOND))
    (mirror,) = mirrors(member)
    assert mirror.sources == (link(THIRD),)
    await member.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.delay": "20ms"}))
    (mirror,) = mirrors(member)
    assert link(THIRD) in mirror.sources


async def test_copies_go_from_containers_that_ovn_keeps_apart(member: Host) -> None:
    await network(member, **{"ovs.mirror": "sink:ids", "ovs.icc": "false"})
    await container(member, FIRST, "/netns/one", **{"ovs.sink": "ids"})
    await container(member, SECOND, "/netns/two")
    assert not (await member.reconciler.reconcile()).beyond
