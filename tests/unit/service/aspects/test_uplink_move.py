"""The host moves from a NIC to the bridge's own port, and back, whatever comes between."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from netaddr import EUI, IPAddress

from ovsdriver.domain.records import uplink_notes
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.records.segments import HostPlace
from ovsdriver.errors import ConflictError, InvalidOptionError, UnavailableError
from tests.builders import BLUE, RED
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host

GATEWAY = IPAddress("192.0.2.1")
MAC = EUI("02:00:00:00:00:e1")
BRIDGE = "br-eth1"


@pytest.fixture(autouse=True)
def nics(host: Host) -> None:
    furnish(host)


def furnish(host: Host) -> None:
    """Let the host live on eth1, its router answering wherever the host is."""
    host.links.add_link("eth1", mac=MAC, up=True)
    host.links.add_address("eth1", "192.0.2.7/24")
    host.links.add_address("eth1", "2001:db8::7/64")
    host.nics.add_route("eth1", "default", "192.0.2.1")
    for link in ("eth1", BRIDGE, "br-lab"):
        host.links.answering[(link, GATEWAY)] = EUI("02:00:00:00:00:01")


async def moving(host: Host, network_id: str = RED, tag: int = 30, **options: Any) -> None:
    said = {"uplink": ("eth1",), "vlan": VlanTag(tag), "uplink_move": True, "mode": Mode.FLAT}
    await host.create_network(network_id, **(said | options))


async def whole(host: Host) -> tuple[Any, ...]:
    """Everything that must be as before in the end."""
    held = await host.nics.held("eth1")
    return (
        held,
        await host.nics.state("eth1"),
        set(await host.links.links()),
        dict(host.switch.bridges()),
        uplink_notes.read(host.state.notes()),
    )


async def test_the_host_moves_to_the_bridge_and_back_with_the_last_network(host: Host) -> None:
    before = await whole(host)
    held = before[0]
    await moving(host, RED, 30)
    assert await host.nics.held("eth1") == Held()
    assert await host.nics.held(BRIDGE) == held
    bridge = host.switch.bridge(BRIDGE)
    assert bridge is not None
    assert bridge.local_tag == 0
    port = host.switch.port("eth1")
    assert port is not None
    assert port.trunks == (0, 30)
    network = host.state.network(RED)  # type: ignore[arg-type]
    assert network is not None
    assert network.segment.uplink is not None
    assert network.segment.uplink.host == HostPlace(mac=MAC, mtu=1500)
    await moving(host, BLUE, 31, uplink_move=False)
    await host.networks.delete(RED)
    assert await host.nics.held(BRIDGE) == held
    await host.networks.delete(BLUE)
    assert await whole(host) == before


async def test_without_leave_to_move_the_host_stays(host: Host) -> None:
    with pytest.raises(ConflictError, match=r"ovs\.uplink_move=true"):
        await moving(host, uplink_move=False)
    with pytest.raises(InvalidOptionError, match="this network has none"):
        await moving(host, uplink=())


async def test_a_gateway_that_is_silent_before_refuses_the_move(host: Host) -> None:
    del host.links.answering[("eth1", GATEWAY)]
    before = await whole(host)
    with pytest.raises(UnavailableError, match=r"192\.0\.2\.1 did not answer on eth1 before"):
        await moving(host)
    assert await whole(host) == before


async def test_a_gateway_that_is_silent_after_it_puts_all_back(host: Host) -> None:
    del host.links.answering[(BRIDGE, GATEWAY)]
    before = await whole(host)
    with pytest.raises(UnavailableError, match=r"did not answer on br-eth1 .* all was put back"):
        await moving(host)
    assert await whole(host) == before
    assert host.state.networks() == ()


async def test_a_route_that_cannot_be_moved_puts_all_back(host: Host) -> None:
    before = await whole(host)
    host.nics.refused = ("default via 192.0.2.1: no",)
    with pytest.raises(UnavailableError, match="could not be moved"):
        await moving(host)
    assert await whole(host) == before


@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("nics", "state"),
        ("nics", "held"),
        ("nics", "move"),
        ("nics", "take"),
        ("nics", "boot"),
        ("links", "neighbours"),
        ("switch", "ensure_uplink"),
        ("state", "put_note"),
    ],
)
async def test_what_fails_on_the_way_puts_all_back(
    host: Host, failing: Callable[[Any, str], None], part: str, method: str
) -> None:
    before = await whole(host)
    failing(getattr(host, part), method)
    with pytest.raises(UnavailableError, match="did not answer"):
        await moving(host)
    assert await whole(host) == before


class Killed(BaseException):
    """The process is no more: nothing that it does has an effect."""


def kill_after(host: Host, steps: int) -> None:
    """Let the host's process end before its next step but ``steps``."""
    left = [steps]
    for part, methods in {
        host.nics: ("take", "give_back", "move"),
        host.switch: ("ensure_bridge", "ensure_uplink", "remove_port", "remove_bridge"),
        host.state: ("put_note", "forget_note", "put_network", "forget_network"),
    }.items():
        for method in methods:
            setattr(part, method, _mortal(getattr(part, method), left))


def _mortal(working: Any, left: list[int]) -> Any:
    async def step(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return await working(*args, **kwargs)

    return step


def revive(host: Host) -> None:
    """Let the fakes, which outlive the process, work again."""
    for part in (host.nics, host.switch):
        for name in [each for each in vars(part) if callable(getattr(type(part), each, None))]:
            delattr(part, name)


async def _died(work: Any) -> bool:
    try:
        await work
    except Killed:
        return True
    return False


async def test_a_move_that_is_killed_anywhere_is_rolled_back_at_the_next_start(
    tmp_path: Path,
) -> None:
    ended, steps = True, 0
    while ended:
        folder = tmp_path / f"creation-{steps}"
        folder.mkdir()
        host = await Host.start(folder)
        furnish(host)
        before = await whole(host)
        kill_after(host, steps)
        ended = await _died(moving(host))
        revive(host)
        again = await host.restart()
        await again.reconciler.reconcile()
        if ended:
            assert await whole(again) == before, f"killed after {steps} steps"
        else:
            assert await again.nics.held(BRIDGE) == before[0]
        await again.stop()
        steps += 1
    assert steps > 8


async def test_a_move_back_that_is_killed_anywhere_is_finished_at_the_next_start(
    tmp_path: Path,
) -> None:
    ended, steps = True, 0
    while ended:
        folder = tmp_path / f"removal-{steps}"
        folder.mkdir()
        host = await Host.start(folder)
        furnish(host)
        before = await whole(host)
        await moving(host)
        kill_after(host, steps)
        ended = await _died(host.networks.delete(RED))  # type: ignore[arg-type]
        revive(host)
        again = await host.restart()
        await again.reconciler.reconcile()
        if steps or not ended:  # before the first step nothing was asked for
            assert await whole(again) == before, f"killed after {steps} steps"
        await again.stop()
        steps += 1
    assert steps > 6


async def test_after_a_reboot_the_host_is_moved_again(host: Host) -> None:
    await moving(host)
    held = await host.nics.held(BRIDGE)
    # the kernel begins anew, and the network's configuration is that of the NIC
    await host.nics.move(held, source=BRIDGE, target="eth1")
    host.nics.boot_id = "second"
    again = await host.restart()
    looked = await again.reconciler.reconcile()
    assert "uplink eth1 has 192.0.2.7/24" in looked.mended[0]
    assert await again.nics.held(BRIDGE) == held
    assert await again.nics.held("eth1") == Held()
    await again.networks.delete(RED)  # type: ignore[arg-type]
    assert await again.nics.held("eth1") == held
    await again.stop()


async def test_what_another_boot_had_is_not_put_back(host: Host) -> None:
    await moving(host)
    host.links.set_link(BRIDGE, addresses=())
    host.nics.boot_id = "second"
    assert (await host.reconciler.reconcile()).mended == ()
    await host.networks.delete(RED)  # type: ignore[arg-type]
    assert (await host.nics.held("eth1")).addresses == ()


async def test_a_bridge_that_was_made_anew_gets_the_host_again(host: Host) -> None:
    await moving(host)
    held = await host.nics.held(BRIDGE)
    host.switch.drop_bridge(BRIDGE)
    host.links.drop_link(BRIDGE)
    await host.reconciler.reconcile()
    assert await host.nics.held(BRIDGE) == held


async def test_an_address_that_was_lost_alone_comes_back(host: Host) -> None:
    await moving(host)
    held = await host.nics.held(BRIDGE)
    host.links.set_link(BRIDGE, addresses=(held.addresses[0].address,))
    looked = await host.reconciler.reconcile()
    assert "bridge br-eth1 lacks 2001:db8::7/64 of the host" in looked.mended[0]
    assert set(await _addresses(host, BRIDGE)) == {"192.0.2.7/24", "2001:db8::7/64"}


async def test_an_address_that_came_after_the_move_goes_along_back(host: Host) -> None:
    await moving(host)
    host.links.add_address(BRIDGE, "192.0.2.8/24")
    await host.networks.delete(RED)  # type: ignore[arg-type]
    assert "192.0.2.8/24" in await _addresses(host, "eth1")


async def _addresses(host: Host, link: str) -> list[str]:
    return [str(each.address) for each in (await host.nics.held(link)).addresses]


async def test_on_somebodys_bridge_what_the_host_had_there_stays(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    host.links.add_tap("br-lab", tso=False)
    host.links.set_link("br-lab", up=True)
    host.links.add_address("br-lab", "198.51.100.7/24")
    await moving(host, bridge="br-lab")
    assert "192.0.2.7/24" in await _addresses(host, "br-lab")
    await host.networks.delete(RED)  # type: ignore[arg-type]
    assert await _addresses(host, "br-lab") == ["198.51.100.7/24"]
    assert await _addresses(host, "eth1") == ["192.0.2.7/24", "2001:db8::7/64"]


async def test_a_purge_puts_the_host_back(host: Host) -> None:
    before = await whole(host)
    await moving(host)
    assert (await host.purge.run(switch_wait_s=1)).failed == ()
    assert await whole(host) == before


async def test_a_purge_without_records_puts_the_host_back_too(host: Host) -> None:
    held = await host.nics.held("eth1")
    await moving(host)
    purged = await host.purge_unread("gone")
    assert purged.failed == ()
    assert await host.nics.held("eth1") == held
    assert host.switch.bridges() == {}


async def test_a_closed_network_on_the_bridge_outlives_the_host_on_it(host: Host) -> None:
    held = await host.nics.held("eth1")
    await moving(host)
    await moving(host, BLUE, 40, uplink=(), bridge=BRIDGE, uplink_move=False, mode=Mode.ISOLATED)
    await host.networks.delete(RED)  # type: ignore[arg-type]
    bridge = host.switch.bridge(BRIDGE)
    assert bridge is not None
    assert bridge.local_tag == 4095
    assert not (await host.links.links())[BRIDGE].up
    assert await host.nics.held("eth1") == held


async def test_an_address_that_a_mere_uplink_gets_is_told(host: Host) -> None:
    host.links.add_link("eth2")
    await moving(host, uplink=("eth2",))
    host.links.add_address("eth2", "192.0.2.9/24")
    looked = await host.reconciler.reconcile()
    assert "ip address del 192.0.2.9/24 dev eth2" in looked.beyond[0]
