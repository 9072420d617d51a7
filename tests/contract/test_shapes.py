"""What every ``Shapes`` does: the fake in memory and the kernel side by side."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol

import pytest
from netaddr import EUI

from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.adapters.kernel.qdisc_port import KernelShapes
from ovsdriver.domain.records.options.port_options import Rate
from ovsdriver.domain.records.options.shaping import LinkShape, Shaping, of_uplink
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import ConflictError, UnsupportedError
from ovsdriver.ports import Shapes
from tests.fakes.links import FakeLinks, FakeSandbox
from tests.fakes.shapes import FakeShapes
from tests.integration.netns import own_namespace, run

MAC = EUI("0a:0f:0a:00:00:02")
RATES = [
    pytest.param(Rate(towards=64_000, away=None), id="slowest"),
    pytest.param(Rate(towards=1_000_000, away=None), id="1mbit"),
    pytest.param(Rate(towards=12_345_600, away=None), id="odd"),
    pytest.param(Rate(towards=10_000_000_000, away=None), id="10gbit"),
    pytest.param(Rate(towards=100_000_000_000, away=None), id="fastest"),
]
MBIT = Shaping(rate=Rate(towards=1_000_000, away=None)).towards


class World(Protocol):
    shapes: Shapes

    def foreign(self) -> None: ...
    def container(self) -> str: ...


class FakeWorld:
    def __init__(self) -> None:
        self.links = FakeLinks()
        self.links.add_link("v0", kind="veth")
        self.fake = FakeShapes(self.links)
        self.shapes: Shapes = self.fake

    def foreign(self) -> None:
        self.fake.foreign.add("v0")

    def container(self) -> str:
        self.links.sandboxes["/box"] = FakeSandbox(tx_offload={MAC: True})
        return "/box"


class KernelWorld:
    def __init__(self, shapes: KernelShapes) -> None:
        self.shapes: Shapes = shapes

    def foreign(self) -> None:
        run("tc", "qdisc", "add", "dev", "v0", "root", "handle", "5:", "htb")

    def container(self) -> str:
        run("ip", "netns", "add", "box")
        run("ip", "link", "add", "c0", "type", "veth", "peer", "name", "c1")
        run("ip", "link", "set", "c1", "address", str(MAC).replace("-", ":"))
        run("ip", "link", "set", "c1", "netns", "box")
        return "/run/netns/box"


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.netns)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with own_namespace():
        run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        netlink = Netlink()
        try:
            yield KernelWorld(KernelShapes(netlink))
        finally:
            await netlink.close()
            run("sh", "-c", "ip netns del box 2>/dev/null; true")


@pytest.mark.parametrize("rate", RATES)
async def test_a_rate_is_there_once_it_was_asked_for(world: World, rate: Rate) -> None:
    wanted = Shaping(rate=rate).towards
    assert await world.shapes.on_host("v0", wanted)
    assert not await world.shapes.on_host("v0", wanted)
    found = await world.shapes.observed()
    assert list(found) == ["v0"]
    assert world.shapes.same(found["v0"], wanted)


async def test_a_rate_changes_and_goes(world: World) -> None:
    await world.shapes.on_host("v0", MBIT)
    other = Shaping(rate=Rate(towards=2_000_000, away=None), burst=100_000).towards
    assert not world.shapes.same((await world.shapes.observed())["v0"], other)
    assert await world.shapes.on_host("v0", other)
    assert world.shapes.same((await world.shapes.observed())["v0"], other)
    assert await world.shapes.on_host("v0", LinkShape())
    assert not await world.shapes.on_host("v0", LinkShape())
    assert not await world.shapes.observed()


async def test_a_link_that_is_not_there_is_no_fault(world: World) -> None:
    assert not await world.shapes.on_host("v9", MBIT)


async def test_what_somebody_else_shapes_is_left_to_him(world: World) -> None:
    world.foreign()
    with pytest.raises(ConflictError):
        await world.shapes.on_host("v0", MBIT)
    assert not await world.shapes.on_host("v0", LinkShape())
    assert not await world.shapes.observed()


async def test_a_containers_own_end_is_found_by_its_mac(world: World) -> None:
    box = world.container()
    assert await world.shapes.inside(box, MAC, MBIT)
    assert await world.shapes.inside(box, MAC, MBIT)
    assert not await world.shapes.inside(box, EUI("0a:0f:0a:00:00:09"), MBIT)
    assert not await world.shapes.inside("/not/there", MAC, MBIT)
    assert await world.shapes.inside(box, MAC, LinkShape())


async def test_a_kernel_without_netem_says_so_and_one_with_it_delays(world: World) -> None:
    bad = LinkShape(delay_us=20_000, jitter_us=5_000, loss_ppm=10_000, rate=8_000_000, burst=64000)
    bad = replace(bad, corrupt_ppm=20_000, duplicate_ppm=30_000, reorder_ppm=250_000)
    if isinstance(world, FakeWorld):
        world.fake.netem = False
    if not await world.shapes.able(bad):
        with pytest.raises(UnsupportedError, match="netem"):
            await world.shapes.on_host("v0", bad)
        assert not await world.shapes.observed()
        return
    bad = replace(bad, queue=100_000)
    assert await world.shapes.on_host("v0", bad)
    assert world.shapes.same((await world.shapes.observed())["v0"], bad)
    assert await world.shapes.on_host("v0", MBIT)
    assert world.shapes.same((await world.shapes.observed())["v0"], MBIT)


@pytest.mark.netns
async def test_the_kernels_own_tool_reads_the_rate_that_was_asked_for() -> None:
    with own_namespace():
        run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        netlink = Netlink()
        try:
            await KernelShapes(netlink).on_host(
                "v0", Shaping(rate=Rate(towards=1_000_000, away=None)).towards
            )
        finally:
            await netlink.close()
        (found,) = [
            each
            for each in json.loads(run("tc", "-json", "qdisc", "show", "dev", "v0"))
            if each["kind"] == "tbf"
        ]
    assert found["options"]["rate"] == 125_000  # bytes/s
    assert abs(found["options"]["burst"] - 32 * 1024) < 100


BY_MARK = of_uplink(10_000_000, Datapath.NETDEV)


@pytest.mark.parametrize("rate", [64_000, 12_345_600, 10**9, 10**11])
@pytest.mark.parametrize("datapath", list(Datapath))
async def test_queues_are_there_once_they_were_asked_for(
    world: World, rate: int, datapath: Datapath
) -> None:
    wanted = of_uplink(rate, datapath)
    assert await world.shapes.able(wanted)
    assert await world.shapes.on_host("v0", wanted)
    assert not await world.shapes.on_host("v0", wanted)
    assert world.shapes.same((await world.shapes.observed())["v0"], wanted)


async def test_queues_change_their_rate_and_go(world: World) -> None:
    await world.shapes.on_host("v0", BY_MARK)
    for other in (of_uplink(20_000_000, Datapath.NETDEV), MBIT, BY_MARK, LinkShape()):
        assert not world.shapes.same((await world.shapes.observed())["v0"], other)
        assert await world.shapes.on_host("v0", other)
        assert not await world.shapes.on_host("v0", other)
    assert not await world.shapes.observed()


@pytest.mark.parametrize(
    "less",
    [
        "filter del dev v0 parent f5c:",
        "qdisc del dev v0 parent f5c:3",
        "qdisc replace dev v0 parent f5c:2 pfifo limit 9",
        "class change dev v0 parent f5c: classid f5c:f htb rate 9mbit",
        "qdisc del dev v0 root",
    ],
)
@pytest.mark.netns
async def test_queues_of_which_somebody_took_a_part_are_made_again(less: str) -> None:
    with own_namespace():
        run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        netlink = Netlink()
        try:
            shapes = KernelShapes(netlink)
            await shapes.on_host("v0", BY_MARK)
            run("tc", *less.split())
            assert not shapes.same((await shapes.observed()).get("v0", LinkShape()), BY_MARK)
            assert await shapes.on_host("v0", BY_MARK)
            assert shapes.same((await shapes.observed())["v0"], BY_MARK)
        finally:
            await netlink.close()
