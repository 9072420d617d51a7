"""Forwarding on a real kernel: what is switched, what is guarded, and what is put back."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest

from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.traffic.firewall import FirewallPlan
from ovsdriver.errors import UnavailableError
from tests.e2e.world import Program, World, until
from tests.fakes.firewall import MemoryNotes
from tests.integration.netns import described, inside, own_namespace, run
from tests.integration.routed_host import (
    PATIENCE_S,
    Outside,
    RoutedHost,
    eventually,
    nft,
    plan,
    set_sysctl,
    sysctl,
)

pytestmark = pytest.mark.netns

FAMILIES = (4, 6)
GLOBAL = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
DEFAULT6 = "net/ipv6/conf/default/forwarding"
NOTHING = FirewallPlan()


class OlderKernel(Sysctls):
    """The switches of a Linux before 6.17."""

    def read(self, path: str) -> str | None:
        return None if path.endswith("/force_forwarding") else super().read(path)


@pytest.fixture
def host() -> Iterator[RoutedHost]:
    with ExitStack() as stack:
        stack.enter_context(own_namespace())
        yield RoutedHost(stack)


@pytest.fixture
def notes() -> MemoryNotes:
    return MemoryNotes()


@pytest.fixture(params=[Sysctls, OlderKernel])
def sysctls(request: pytest.FixtureRequest) -> Sysctls:
    kernel: type[Sysctls] = request.param
    return kernel()


@pytest.fixture
async def firewall(
    host: RoutedHost, notes: MemoryNotes, sysctls: Sysctls
) -> AsyncIterator[HostFirewall]:
    made = HostFirewall(notes=notes, sysctls=sysctls)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def older(host: RoutedHost, notes: MemoryNotes) -> AsyncIterator[HostFirewall]:
    made = HostFirewall(notes=notes, sysctls=OlderKernel())
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def reconciled(firewall: HostFirewall, wanted: FirewallPlan) -> AsyncIterator[None]:
    """While it runs, with a reconciler that ensures ``wanted`` after each loss."""
    lost = asyncio.Event()
    firewall.on_loss(lost.set)

    async def reconcile() -> None:
        while True:
            await lost.wait()
            lost.clear()
            await firewall.ensure(wanted)

    tasks = [asyncio.create_task(work) for work in (firewall.run(), reconcile())]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def becomes(condition: object) -> None:
    """Wait until a function returns true, leaving the loop its turns."""
    assert callable(condition)
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the kernel sets no events
            await asyncio.sleep(0.05)


def switches() -> dict[str, str]:
    """Every forwarding switch that others may depend on: all but those of our gateways."""
    names = [each["ifname"] for each in described("ip", "-json", "link")]
    found = {path: sysctl(path) for path in (*GLOBAL.values(), DEFAULT6)}
    for name in names:
        if not name.startswith("ovg"):
            found[f"net/ipv4/conf/{name}/forwarding"] = ""
            for leaf in ("forwarding", "force_forwarding", "accept_ra"):
                found[f"net/ipv6/conf/{name}/{leaf}"] = ""
    return {path: sysctl(path) for path in found}


def strangers(host: RoutedHost) -> tuple[Outside, Outside]:
    """Two neighbours that both take the host for a router to the other."""
    first, second = host.uplink("wan0"), host.uplink("wan1", number=2, default=False)
    for one, other in ((first, second), (second, first)):
        for family in FAMILIES:
            one.routes(other, family, one.gateway(family))
    return first, second


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_kernel_forwards_both_ways_with_switches_of_links_alone(
    host: RoutedHost, family: int
) -> None:
    outside, one = host.uplink(), host.network(1)
    host.knows_way(outside, one)
    leaf = {4: "forwarding", 6: "force_forwarding"}[family]
    paths = [f"net/ipv{family}/conf/{link}/{leaf}" for link in (one.link, "wan0")]
    set_sysctl(paths[0], "1")
    assert one.is_cut_off_from(outside, family), "the answers are not forwarded yet"
    set_sysctl(paths[1], "1")
    assert one.reaches(outside, family)
    assert outside.reaches(one, family)
    assert sysctl(GLOBAL[family]) == "0"


async def test_of_the_global_switches_only_the_one_that_older_kernels_need_is_touched(
    host: RoutedHost, firewall: HostFirewall, sysctls: Sysctls
) -> None:
    host.uplink()
    host.docker_bridge()
    before = switches()
    await firewall.ensure(plan(host.network(1)))
    changed = {path for path, value in switches().items() if before[path] != value}
    if isinstance(sysctls, OlderKernel):
        assert changed == {
            "net/ipv4/conf/wan0/forwarding",
            "net/ipv6/conf/all/forwarding",
            "net/ipv6/conf/wan0/accept_ra",
        }
        assert sysctl("net/ipv6/conf/wan0/accept_ra") == "2"
    else:
        assert changed == {
            "net/ipv4/conf/wan0/forwarding",
            "net/ipv6/conf/wan0/force_forwarding",
        }


async def test_ipv6_is_left_alone_where_no_network_has_it(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    host.uplink()
    one = host.network(1)
    rules = one.rules()
    before = switches()
    only4 = type(rules)(
        network=rules.network, link=rules.link, mode=rules.mode, subnets=rules.subnets[:1]
    )
    await firewall.ensure(FirewallPlan(gateways=(only4,)))
    changed = {path for path, value in switches().items() if before[path] != value}
    assert changed == {"net/ipv4/conf/wan0/forwarding"}


@pytest.mark.parametrize("family", FAMILIES)
async def test_containers_reach_every_wire_of_the_host(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    first, second = strangers(host)
    one = host.network(1)
    await firewall.ensure(plan(one))
    assert one.reaches(first, family)
    assert one.reaches(second, family)


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_host_becomes_no_router_for_others(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    first, second = strangers(host)
    one = host.network(1)
    await firewall.ensure(plan(one))
    assert one.reaches(first, family)
    assert first.is_cut_off_from(second, family)
    nft("delete", "chain", "inet", "ovsnet", "guard")
    assert first.reaches(second, family), "it is the guard that keeps them apart"
    await firewall.ensure(plan(one))
    assert first.is_cut_off_from(second, family)


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_guard_is_lifted_while_someone_else_has_forwarding_on(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    first, second = strangers(host)
    one = host.network(1)
    wanted = plan(one)
    async with reconciled(firewall, wanted):
        await firewall.ensure(wanted)
        assert first.is_cut_off_from(second, family)
        set_sysctl(GLOBAL[family], "1")
        assert await asyncio.to_thread(first.reaches, second, family)
        assert one.reaches(first, family)
        set_sysctl(GLOBAL[family], "0")
        await becomes(lambda: first.is_cut_off_from(second, family))
        await becomes(lambda: one.reaches(first, family))


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_host_that_is_a_router_stays_one(
    host: RoutedHost, firewall: HostFirewall, notes: MemoryNotes, family: int
) -> None:
    first, second = strangers(host)
    for each in FAMILIES:
        set_sysctl(GLOBAL[each], "1")
    before = switches()
    one = host.network(1)
    await firewall.ensure(plan(one))
    assert one.reaches(first, family)
    assert first.reaches(second, family)
    assert switches() == before
    assert not notes.kept
    await firewall.remove()
    assert switches() == before
    assert first.reaches(second, family)


async def test_everything_is_put_back_when_no_network_needs_it(
    host: RoutedHost, firewall: HostFirewall, notes: MemoryNotes
) -> None:
    strangers(host)
    host.docker_bridge()
    before = switches()
    await firewall.ensure(plan(host.network(1)))
    assert switches() != before
    assert await firewall.ensure(NOTHING)
    assert switches() == before
    assert not notes.kept
    assert not await firewall.ensure(NOTHING)


async def test_another_process_puts_back_what_the_notes_say(
    host: RoutedHost, firewall: HostFirewall, notes: MemoryNotes, sysctls: Sysctls
) -> None:
    host.uplink()
    before = switches()
    await firewall.ensure(plan(host.network(1)))
    purging = HostFirewall(notes=notes, sysctls=sysctls)
    try:
        await purging.remove()
    finally:
        await purging.close()
    assert switches() == before
    assert not notes.kept


async def test_each_change_is_noted_before_it_is_made(
    host: RoutedHost, firewall: HostFirewall, notes: MemoryNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.uplink()
    before = switches()
    seen = []
    put_note = notes.put_note

    async def looking(key: str, value: str) -> None:
        path = key.removeprefix("sysctl:")
        if path in before:
            seen.append((path, value, before[path], sysctl(path)))
        await put_note(key, value)

    monkeypatch.setattr(notes, "put_note", looking)
    await firewall.ensure(plan(host.network(1)))
    changed = {path for path, value in switches().items() if before[path] != value}
    assert changed <= {path for path, *_ in seen}
    assert all(value == old == then for _, value, old, then in seen)


async def test_what_cannot_be_noted_is_not_changed_and_is_done_later(
    host: RoutedHost, firewall: HostFirewall, notes: MemoryNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(key: str, value: str) -> None:
        raise UnavailableError("the disk is full")

    outside, one = host.uplink(), host.network(1)
    before = switches()
    with monkeypatch.context() as patch:
        patch.setattr(notes, "put_note", full)
        with pytest.raises(UnavailableError, match="disk is full"):
            await firewall.ensure(plan(one))
        assert switches() == before
    assert await firewall.ensure(plan(one))
    for family in FAMILIES:
        assert one.reaches(outside, family)


async def test_what_was_changed_meanwhile_is_not_put_back(
    host: RoutedHost, firewall: HostFirewall, notes: MemoryNotes
) -> None:
    host.uplink()
    await firewall.ensure(plan(host.network(1)))
    for family in FAMILIES:
        set_sysctl(GLOBAL[family], "1")
    await firewall.ensure(NOTHING)
    assert sysctl("net/ipv4/conf/wan0/forwarding") == "1"
    assert sysctl(GLOBAL[6]) == "1"
    assert not notes.kept


async def test_a_gateway_that_comes_back_as_another_device_forwards_again(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside = host.uplink()
    wanted = plan(host.network(1))
    async with reconciled(firewall, wanted):
        await firewall.ensure(wanted)
        run("ip", "link", "del", wanted.gateways[0].link)
        again = host.network(1)
        for family in FAMILIES:
            assert await asyncio.to_thread(again.reaches, outside, family)


async def test_an_uplink_that_comes_later_is_taken_into_use(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one = host.network(1)
    wanted = plan(one)
    async with reconciled(firewall, wanted):
        await firewall.ensure(wanted)
        outside = host.uplink()
        for family in FAMILIES:
            assert await asyncio.to_thread(one.reaches, outside, family)


async def test_frames_that_a_bridge_passes_on_are_not_guarded(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    """With br_netfilter they cross the forward hook, as if the uplink's bridge routed them."""
    outside = host.uplink("br0", bridge=True)
    neighbour = host.beside("br0", outside)
    set_sysctl("net/bridge/bridge-nf-call-iptables", "1")
    set_sysctl("net/bridge/bridge-nf-call-ip6tables", "1")
    one = host.network(1)
    await firewall.ensure(plan(one))
    assert one.reaches(outside)
    for family in FAMILIES:
        assert neighbour.reaches(outside, family)


# older kernels: the global switch


def advertise(router: Outside) -> None:
    """Send a router advertisement (RFC 4861, 4.2), with a lifetime of half an hour."""

    def send() -> None:
        kind = socket.SOCK_RAW
        with socket.socket(socket.AF_INET6, kind, socket.getprotobyname("ipv6-icmp")) as out:
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            out.sendto(
                struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0),
                ("ff02::1", 0, 0, socket.if_nametoindex("eth0")),
            )

    router.sandbox.call(send)


def learned() -> bool:
    routes = described("ip", "-json", "-6", "route", "show", "default")
    return any(route.get("protocol") == "ra" for route in routes)


async def test_a_default_route_learned_from_a_router_survives(
    host: RoutedHost, older: HostFirewall
) -> None:
    outside = host.uplink(default=False)

    def listens() -> bool:
        advertise(outside)
        return learned()

    assert eventually(listens)
    one = host.network(1)
    await older.ensure(plan(one))
    assert sysctl(GLOBAL[6]) == "1"
    assert learned()
    run("ip", "-6", "route", "flush", "proto", "ra")
    assert eventually(listens), "the host goes on listening to routers"
    await older.remove()
    assert learned()


async def test_links_that_were_routers_before_are_so_afterwards(
    host: RoutedHost, older: HostFirewall
) -> None:
    host.uplink()
    host.uplink("wan1", number=2, default=False)
    set_sysctl("net/ipv6/conf/wan1/forwarding", "1")
    before = switches()
    await older.ensure(plan(host.network(1)))
    assert sysctl("net/ipv6/conf/wan1/forwarding") == "1"
    assert sysctl("net/ipv6/conf/wan0/forwarding") == "0"
    assert sysctl(DEFAULT6) == "0"
    await older.remove()
    assert switches() == before


# a real dockerd


@pytest.mark.docker
async def test_a_dockerd_that_starts_after_us_still_protects_its_networks(
    notes: MemoryNotes, sysctls: Sysctls
) -> None:
    with World(prefix="fwt-") as world, ExitStack() as stack:
        pid = world.enter("true")[2]
        stack.enter_context(inside(f"/proc/{pid}/ns/net"))
        host = RoutedHost(stack)
        outside, one = host.uplink(), host.network(1)
        firewall = HostFirewall(notes=notes, sysctls=sysctls)
        wanted = plan(one)
        try:
            async with reconciled(firewall, wanted):
                await firewall.ensure(wanted)
                dockerd = Program(
                    world,
                    "dockerd",
                    *("dockerd", "--host=unix:///run/docker.sock"),
                    *(f"--data-root={world.home}/docker", "--ip6tables", "--experimental"),
                )
                dockerd.start()
                try:
                    await asyncio.to_thread(_until_up, world, dockerd)
                    world.run(
                        "docker", "network", "create", "--ipv6", "--subnet=fd66:99::/64", "v6"
                    )
                    for program in ("iptables", "ip6tables"):
                        assert "-P FORWARD DROP" in run(program, "-S", "FORWARD")
                    assert sysctl(GLOBAL[4]) == "1"
                    for family in FAMILIES:
                        assert await asyncio.to_thread(one.reaches, outside, family)
                finally:
                    dockerd.stop()
                await firewall.remove()
                assert sysctl(GLOBAL[4]) == "1", "it is dockerd's to turn off"
        finally:
            await firewall.close()


def _until_up(world: World, dockerd: Program) -> None:
    until(
        lambda: world.attempt("docker", "version").code == 0 or not dockerd.running,
        lambda: f"dockerd answers\n{dockerd.said()}",
        timeout_s=120,
    )
    assert dockerd.running, dockerd.said()
