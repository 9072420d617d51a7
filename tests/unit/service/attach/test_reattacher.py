"""Running containers get back what was destroyed of their network."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.on_link import Held, HeldAddress, HeldRoute
from ovsdriver.domain.records.options.port_options import PortKind
from ovsdriver.domain.records.requests import Joined
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import Veth
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from tests.builders import BLUE, FIRST, RED, SECOND
from tests.fakes.links import FakeInside, FakeSandbox
from tests.unit.service.conftest import OWNER, Host

GATEWAY = names.gateway_link(RED)
VETH, TAP = names.host_link(FIRST), names.internal_link(FIRST)
SANDBOX = "/netns/one"
HELD = Held(
    addresses=(HeldAddress(address=IPNetwork("10.1.0.2/24"), permanent=True, message="aa"),),
    routes=(HeldRoute(text="default", gateway=IPAddress("10.1.0.1"), message="bb"),),
)


async def run_container(host: Host, **network: Any) -> SandboxLink:
    """Run one, let Docker and its people change it, have it looked at; returns how it is."""
    await host.create_network(**network)
    await host.run_container()
    changed = {"name": "eth0", "mtu": 1400, "held": HELD, "settings": {"ipv4/conf/proxy_arp": "1"}}
    host.links.set_inside(SANDBOX, **changed)
    await host.watch.look()
    return inside(host).link


def inside(host: Host, name: str = "eth0") -> FakeInside:
    return host.links.sandboxes[SANDBOX].links[name]


async def test_more_than_is_kept_of_a_link_is_said_when_it_is_seen_and_when_it_is_lost(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await run_container(host)
    assert (host.watch.excesses(), caplog.messages) == ({}, [])

    host.links.set_inside(SANDBOX, "eth0", held=replace(HELD, more_routes=500, more_addresses=7))
    await host.watch.look()
    await host.watch.look()
    what = "7 of the 8 addresses of eth0 and 500 of the 501 routes of eth0"
    assert host.watch.excesses() == {FIRST: what}
    assert caplog.messages == ["sandbox.excess"]

    host.links.drop_link(VETH)
    await host.reconciler.reconcile()
    assert "sandbox.not-restored" in caplog.messages
    assert [vars(each)["what"] for each in caplog.records if "what" in vars(each)] == [
        what,
        f"{what}: more than are kept",
    ]


async def all_is_mended(host: Host, why: str) -> None:
    found = await host.reconciler.reconcile()
    assert [each for each in found.mended if why in each], found
    assert (found.failed, found.beyond, host.reconciler.lost) == ((), (), {})
    again = await host.reconciler.reconcile()
    assert (again.mended, again.failed, again.beyond) == ((), (), ())


async def test_a_pair_that_was_deleted_by_hand_is_made_again_as_it_was(host: Host) -> None:
    before = await run_container(host)
    host.links.drop_link(VETH)
    assert host.links.sandboxes[SANDBOX].links == {}

    await all_is_mended(host, f"its link {VETH} is gone")

    assert inside(host).link == before
    assert (await host.links.links())[VETH].peer_index == before.index
    assert host.links.announced == [(SANDBOX, "eth0")]
    assert host.links.sandboxes[SANDBOX].tx_offload == {before.mac: False}


async def test_a_pair_is_made_again_though_the_process_began_after_it_was_lost(host: Host) -> None:
    before = await run_container(host)
    again = await host.restart()
    again.links.drop_link(VETH)
    await all_is_mended(again, f"its link {VETH} is gone")
    assert inside(again).link == before
    await again.stop()


async def test_a_pair_that_was_made_and_not_moved_is_moved(host: Host) -> None:
    before = await run_container(host)
    endpoint, network = host.state.endpoint(EndpointId(FIRST)), host.state.network(NetworkId(RED))
    assert endpoint is not None
    assert network is not None
    attachment = desired.attachment(network, endpoint, owner=OWNER, tso_of=network.segment.bridge)
    assert isinstance(attachment.link, Veth)
    host.links.drop_link(VETH)
    await host.links.ensure_veth(attachment.link)  # by a repair that was too quick
    await host.watch.look()
    await all_is_mended(host, f"its link {VETH} is not in its container")
    assert inside(host).link == before


async def test_a_link_that_was_set_down_is_set_up_again(host: Host) -> None:
    before = await run_container(host)
    host.links.set_link(VETH, up=False)
    await all_is_mended(host, f"its link {VETH} is down")
    assert (await host.links.links())[VETH].up
    assert inside(host).link == before


async def test_a_pair_whose_bridge_is_lost_too_comes_back_with_it(host: Host) -> None:
    before = await run_container(host)
    host.links.drop_link(VETH)
    host.switch.drop_bridge("br-ovsnet")
    await all_is_mended(host, "is gone")
    assert inside(host).link == before
    port = host.switch.port(VETH)
    assert port is not None
    assert port.tag == 1


@pytest.mark.parametrize("family", [4, 6])
async def test_what_was_never_seen_is_made_as_docker_makes_it(host: Host, family: int) -> None:
    await host.create_network(family=family)
    address = await host.run_container()
    host.links.drop_link(VETH)
    host.links.sandboxes[SANDBOX].links["eth0"] = FakeInside(
        link=SandboxLink(sandbox=SANDBOX, name="eth0", mac=EUI(1), mtu=1500), port="other"
    )

    found = await host.reconciler.reconcile()

    assert found.failed == ()
    network = host.state.network(NetworkId(RED))
    assert network is not None
    link = inside(host, "eth1").link
    assert [each.address.ip for each in link.held.addresses] == [address]
    assert link.settings == ({"ipv6/conf/disable_ipv6": "1"} if family == 4 else {})


@pytest.mark.parametrize(("version", "name"), [("29.8.0", "lan0"), ("29.7.1", "eth0")])
async def test_what_was_never_seen_has_the_name_that_was_asked_for_where_docker_gives_it(
    host: Host, version: str, name: str
) -> None:
    host.engine.version = version
    await host.witness.read()
    await host.create_network()
    await host.run_container(said={"com.docker.network.endpoint.ifname": "lan0"})
    host.links.drop_link(VETH)
    assert (await host.reconciler.reconcile()).failed == ()
    assert inside(host, name).link.name == name


async def test_nothing_is_put_into_a_sandbox_that_is_gone(host: Host) -> None:
    await run_container(host)
    host.links.drop_link(VETH)
    host.links.sandboxes[SANDBOX].alive = False
    found = await host.reconciler.reconcile()
    assert found.mended == ()
    assert "its container has ended, which Docker has not told" in found.beyond[0]
    assert VETH not in await host.links.links()


async def test_a_container_that_is_stopped_gets_nothing_back(host: Host) -> None:
    await run_container(host)
    host.links.drop_link(VETH)
    await host.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    found = await host.reconciler.reconcile()
    assert (found.mended, found.failed, found.beyond) == ((), (), ())
    assert host.links.sandboxes[SANDBOX].links == {}
    await host.endpoints.delete(NetworkId(RED), EndpointId(FIRST))
    assert host.state.sandbox_link(EndpointId(FIRST)) is None


async def test_a_device_that_vswitchd_made_anew_replaces_the_dead_one(host: Host) -> None:
    before = await run_container(host, kind=PortKind.INTERNAL)
    host.links.add_tap(TAP)  # after a restart
    host.links.set_inside(SANDBOX, "eth0", mtu=1300)  # nobody has looked since

    await all_is_mended(host, "has made a new device")

    assert inside(host).carrier
    assert inside(host).link == replace(before, mtu=1300)
    assert TAP not in await host.links.links()


@pytest.mark.parametrize("left", [True, False], ids=["dead device left", "device deleted"])
async def test_an_internal_port_that_was_removed_is_made_again(host: Host, left: bool) -> None:
    before = await run_container(host, kind=PortKind.INTERNAL)
    if left:
        inside(host).carrier = False
    else:
        host.links.drop_tap(TAP)
    host.switch.drop_port(TAP)

    await all_is_mended(host, "was removed")

    assert inside(host).link == before
    assert host.switch.port(TAP) is not None
    assert TAP not in await host.links.links()


async def test_a_device_that_its_container_deleted_is_made_again(host: Host) -> None:
    before = await run_container(host, kind=PortKind.INTERNAL)
    host.links.drop_tap(TAP)
    poked: list[None] = []
    host.watch.on_missing(lambda: poked.append(None))
    assert (await host.reconciler.reconcile()).mended == ()  # nobody knows

    await host.watch.look()
    await host.watch.look()

    assert len(poked) == 1
    await all_is_mended(host, "is gone from the container")
    assert inside(host).link == before
    await host.watch.look()
    assert host.watch.missing == frozenset()


async def test_an_interface_whose_name_is_taken_by_now_is_told(host: Host) -> None:
    await run_container(host)
    host.links.drop_link(VETH)
    other = FakeInside(
        link=SandboxLink(sandbox=SANDBOX, name="eth0", mac=EUI(1), mtu=1500), port="other"
    )
    host.links.sandboxes[SANDBOX].links["eth0"] = other
    found = await host.reconciler.reconcile()
    assert found.mended == ()
    assert "eth0 is another interface by now" in found.failed[0]
    assert "another interface" in host.reconciler.lost[EndpointId(FIRST)]
    del host.links.sandboxes[SANDBOX].links["eth0"]
    await all_is_mended(host, "was cut short")


STEPS = [
    pytest.param("links", "ensure_veth", PortKind.VETH, id="before the pair"),
    pytest.param("switch", "ensure_port", PortKind.VETH, id="before the port"),
    pytest.param("links", "restore", PortKind.VETH, id="before the move"),
    pytest.param("switch", "ensure_port", PortKind.INTERNAL, id="before the internal port"),
    pytest.param("links", "ensure_tap", PortKind.INTERNAL, id="before the tap is settled"),
    pytest.param("links", "restore", PortKind.INTERNAL, id="before the swap"),
]


@pytest.mark.parametrize(("part", "step", "kind"), STEPS)
async def test_it_is_gone_on_with_wherever_it_was_cut_short(
    host: Host, failing: Callable[[Any, str], None], part: str, step: str, kind: PortKind
) -> None:
    before = await run_container(host, kind=kind)
    if kind is PortKind.VETH:
        host.links.drop_link(VETH)
    else:
        host.links.drop_tap(TAP)
        host.switch.drop_port(TAP)
    failing(getattr(host, part), step)
    assert (await host.reconciler.reconcile()).failed
    again = await host.restart()
    await all_is_mended(again, "")
    assert inside(again).link == before
    await again.stop()


@pytest.mark.parametrize("kind", PortKind)
async def test_half_of_a_link_is_not_noted_for_the_whole(
    host: Host, failing: Callable[[Any, str], None], kind: PortKind
) -> None:
    before = await run_container(host, kind=kind)
    if kind is PortKind.VETH:
        host.links.drop_link(VETH)
    else:
        host.links.add_tap(TAP)
    put = host.state.put_sandbox_link
    failing(host.state, "put_sandbox_link")
    assert (await host.reconciler.reconcile()).failed  # not noted, so nothing was begun
    assert host.links.announced == []

    calls: list[SandboxLink] = []

    async def the_second_fails(endpoint: EndpointId, link: SandboxLink) -> None:
        calls.append(link)
        if len(calls) == 2:
            host.links.broken = "killed"
            await host.links.links()
        await put(endpoint, link)

    host.state.put_sandbox_link = the_second_fails  # type: ignore[method-assign]
    assert (await host.reconciler.reconcile()).failed
    host.links.broken = None
    host.state.put_sandbox_link = put  # type: ignore[method-assign]
    host.links.set_inside(SANDBOX, "eth0", held=Held())  # as if it had been killed before that
    await host.watch.look()
    noted = host.state.sandbox_link(EndpointId(FIRST))
    assert noted == replace(before, restoring=True)
    await all_is_mended(host, "was cut short")
    assert inside(host).link == before


async def test_a_container_on_two_networks_gets_back_the_one_that_was_lost(host: Host) -> None:
    await host.create_network(RED)
    await host.create_network(BLUE)
    await host.run_container(FIRST, RED)
    await host.run_container(SECOND, BLUE)
    await host.watch.look()
    before = {name: each.link for name, each in host.links.sandboxes[SANDBOX].links.items()}
    host.links.drop_link(names.host_link(SECOND))
    await all_is_mended(host, f"its link {names.host_link(SECOND)} is gone")
    assert before == {name: each.link for name, each in host.links.sandboxes[SANDBOX].links.items()}


async def test_the_note_of_an_earlier_sandbox_means_nothing_in_the_next(host: Host) -> None:
    await run_container(host)
    red, first = NetworkId(RED), EndpointId(FIRST)
    await host.endpoints.leave(red, first)
    host.links.drop_link(VETH)
    joined: Joined = await host.endpoints.join(red, first, "/netns/two")
    host.links.sandboxes["/netns/two"] = FakeSandbox()
    host.links.move(joined.source, "/netns/two")
    host.links.drop_link(VETH)
    await all_is_mended(host, "is gone")
    assert host.links.sandboxes["/netns/two"].links["eth0"].link.mtu == 1500
