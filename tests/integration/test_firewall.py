"""The firewall on a real kernel: who reaches whom, and what happens when others interfere."""

import asyncio
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPNetwork

from ovsdriver.adapters.firewall.docker_user import Iptables
from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.adapters.kernel.codec import rtnetlink
from ovsdriver.domain.records.model import Mode, NetworkId
from ovsdriver.domain.traffic.firewall import ACCEPT_MARK, FirewallPlan, GatewayRules
from tests.fakes.firewall import MemoryNotes
from tests.integration.netns import own_namespace, run
from tests.integration.routed_host import (
    PATIENCE_S,
    Place,
    RoutedHost,
    nft,
    plan,
    ruleset,
    switch_all_on,
    sysctl,
)

pytestmark = pytest.mark.netns

FAMILIES = (4, 6)
IPTABLES = ("iptables", "ip6tables")
MARK = f"-m mark --mark {ACCEPT_MARK:#x}/{ACCEPT_MARK:#x}"
TABLE = "ovsnet"


@pytest.fixture
def host() -> Iterator[RoutedHost]:
    with ExitStack() as stack:
        stack.enter_context(own_namespace())
        yield RoutedHost(stack)


@pytest.fixture
async def firewall(host: RoutedHost) -> AsyncIterator[HostFirewall]:
    async with a_firewall() as made:
        yield made


@asynccontextmanager
async def a_firewall(instance: str = TABLE) -> AsyncIterator[HostFirewall]:
    made = HostFirewall(instance=instance, notes=MemoryNotes())
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def running(firewall: HostFirewall) -> AsyncIterator[asyncio.Event]:
    """While it watches; yields an event that its loss sets."""
    told = asyncio.Event()
    firewall.on_loss(told.set)
    task = asyncio.create_task(firewall.run())
    await asyncio.sleep(0)
    try:
        yield told
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def heard(told: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await told.wait()


async def becomes(condition: object, *, wanted: object = True) -> None:
    """Wait, leaving the loop its turns, until a function returns what is wanted."""
    assert callable(condition)
    async with asyncio.timeout(PATIENCE_S):
        while condition() != wanted:  # noqa: ASYNC110 - the kernel sets no events
            await asyncio.sleep(0.05)


def forward(program: str) -> list[str]:
    """Rules of FORWARD as listed, without their beginning; our accepts by their comment alone."""
    listed = run(program, "-S", "FORWARD", check=False)
    rules = [line.removeprefix("-A FORWARD ") for line in listed.splitlines()]
    assert all(MARK in rule for rule in rules if "accepted by" in rule)
    return [OURS.sub(r"\1 accepts", rule) for rule in rules if not rule.startswith("-P")]


OURS = re.compile('.*"(.*): accepted by its nftables table".*')
DOCKERS = ["-j DOCKER-USER", "-j DOCKER-ISOLATION-STAGE-1"]
STANDING = [*DOCKERS, "ovsnet accepts"]


def stands(program: str) -> bool:
    """Whether our accept is in FORWARD and Docker's jumps before it."""
    return forward(program) == STANDING


# who reaches whom


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_nat_network_reaches_the_outside_by_the_hosts_address(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one = host.uplink(), host.network(1)
    await firewall.ensure(plan(one))
    assert one.reaches(outside, family)
    assert one.seen_by(outside, family) == outside.gateway(family)


@pytest.mark.parametrize("family", FAMILIES)
async def test_without_masquerade_the_outside_sees_the_containers_address(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one = host.uplink(), host.network(1)
    host.knows_way(outside, one)
    await firewall.ensure(FirewallPlan(gateways=(one.rules(masquerade=False),)))
    assert one.reaches(outside, family)
    assert one.seen_by(outside, family) == one.addresses[family].ip


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_outside_cannot_begin_anything_with_a_nat_network(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one = host.uplink(), host.network(1)
    host.knows_way(outside, one)
    switch_all_on()
    assert outside.reaches(one, family), "without us it could"
    await firewall.ensure(plan(one))
    assert outside.is_cut_off_from(one, family)
    assert one.reaches(outside, family)


@pytest.mark.parametrize("family", FAMILIES)
async def test_two_nat_networks_do_not_reach_each_other(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    switch_all_on()
    assert one.reaches(two, family), "without us they would"
    await firewall.ensure(plan(one, two))
    assert one.is_cut_off_from(two, family)
    assert two.is_cut_off_from(one, family)
    assert one.reaches(outside, family)
    assert two.reaches(outside, family)


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_nat_network_and_dockers_bridge_do_not_reach_each_other(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    one, docker = host.network(1), host.docker_bridge()
    switch_all_on()
    assert one.reaches(docker, family), "without us they would"
    await firewall.ensure(plan(one))
    assert one.is_cut_off_from(docker, family)
    assert docker.is_cut_off_from(one, family)


async def test_a_bridge_made_later_is_kept_apart_from_its_first_packet(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one = host.network(1)
    switch_all_on()
    await firewall.ensure(plan(one))
    later = host.docker_bridge("br-0123456789ab")
    assert one.is_cut_off_from(later)
    assert later.is_cut_off_from(one)


@pytest.mark.parametrize("family", FAMILIES)
async def test_other_peoples_traffic_passes_untouched(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one = host.uplink(), host.network(1)
    docker, other = host.docker_bridge(), host.docker_bridge("br-0123456789ab", number=18)
    host.knows_way(outside, docker)
    switch_all_on()
    await firewall.ensure(plan(one))
    assert docker.reaches(other, family)
    assert docker.reaches(outside, family)
    assert outside.reaches(docker, family)
    assert docker.seen_by(outside, family) == docker.addresses[family].ip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["default-route", "declared"])
async def test_a_bridge_that_leads_outside_is_outside(
    host: RoutedHost, firewall: HostFirewall, family: int, how: str
) -> None:
    outside = host.uplink("br0", bridge=True, default=how == "default-route")
    one = host.network(1)
    await firewall.ensure(plan(one, outside_bridges=("br0",) if how == "declared" else ()))
    assert one.reaches(outside, family)
    assert one.seen_by(outside, family) == outside.gateway(family)


async def test_a_bridge_with_neither_wire_nor_default_route_is_not_outside(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one = host.uplink("br0", bridge=True, default=False), host.network(1)
    switch_all_on()
    await firewall.ensure(plan(one))
    assert one.is_cut_off_from(outside)


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_forged_source_does_not_leave(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    await firewall.ensure(plan(one, two))
    assert one.reaches(outside, family)
    forged = IPNetwork(f"{two.subnets[0 if family == 4 else 1][9]}/{32 if family == 4 else 128}")
    nodad = ("nodad",) if family == 6 else ()
    one.sandbox.run("ip", "address", "add", str(forged), "dev", "eth0", *nodad)
    before = outside.counted_pings(family)
    assert not one.ping_from(forged.ip, outside)
    assert outside.counted_pings(family) == before
    assert one.ping_from(one.addresses[family].ip, outside)
    assert outside.counted_pings(family) == before + 1


async def test_containers_reach_ports_that_docker_published_on_the_host(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one, docker = host.uplink(), host.network(1), host.docker_bridge()
    switch_all_on()
    await firewall.ensure(plan(one))
    address = str(outside.gateway(4))
    target = f"{docker.addresses[4].ip}:80"
    publish = ("-d", address, "-p", "tcp", "--dport", "8080", "-j", "DNAT", "--to", target)
    run("iptables", "-t", "nat", "-A", "PREROUTING", *publish)
    listener = docker.sandbox.call(lambda: socket.create_server(("", 80)))
    with listener:
        near = one.sandbox.call(lambda: socket.create_connection((address, 8080), PATIENCE_S))
        with near, listener.accept()[0] as far:
            far.sendall(b"hello")
            assert near.recv(5) == b"hello"


async def test_containers_reach_the_host_itself(host: RoutedHost, firewall: HostFirewall) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    await firewall.ensure(plan(one, two))
    for address in (one.gateways[4], two.gateways[4], outside.gateway(4)):
        here = Place(one.sandbox, {4: IPNetwork(address)})
        assert one.reaches(here)


# what stands, and what others do to it


async def test_a_connection_survives_the_replacement_of_the_table(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    await firewall.ensure(plan(one))
    near, far, _ = one.connect(outside)
    with near, far:
        assert await firewall.ensure(plan(one, two))
        near.sendall(b"out")
        assert far.recv(3) == b"out"
        far.sendall(b"in")
        assert near.recv(2) == b"in"


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_connection_begun_inwards_while_the_table_was_away_ends_with_its_return(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    host.knows_way(outside, one)
    switch_all_on()
    await firewall.ensure(plan(one, two))
    nft("flush", "ruleset")
    pairs = [outside.connect(one, family), two.connect(one, family, port=9)]
    assert await firewall.ensure(plan(one, two))
    for near, far, _ in pairs:
        with near, far:
            near.sendall(b"still there?")
            far.settimeout(1)
            with pytest.raises(TimeoutError):
                far.recv(1)


async def test_after_a_flush_the_isolation_is_made_again(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one, two = host.network(1), host.network(2)
    switch_all_on()
    async with running(firewall) as told:
        await firewall.ensure(plan(one, two))
        nft("flush", "ruleset")
        assert one.reaches(two)
        await heard(told)
        assert await firewall.ensure(plan(one, two))
        assert one.is_cut_off_from(two)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(("delete", "table", "inet", TABLE), id="table-deleted"),
        pytest.param(("flush", "chain", "inet", TABLE, "forward"), id="chain-flushed"),
        pytest.param(("flush", "set", "inet", TABLE, "gateways"), id="set-flushed"),
        pytest.param(
            ("add", "element", "inet", TABLE, "outside", "{ docker0 }"), id="element-added"
        ),
        pytest.param(("insert", "rule", "inet", TABLE, "forward", "accept"), id="rule-added"),
        pytest.param(("add", "chain", "inet", TABLE, "mine"), id="chain-added"),
        pytest.param("last-rule-of-from_gateway", id="rule-deleted"),
        pytest.param("drop-to-accept", id="rule-replaced"),
    ],
)
async def test_whatever_others_do_to_the_table_is_told_and_undone(
    host: RoutedHost, firewall: HostFirewall, harm: tuple[str, ...] | str
) -> None:
    one = host.network(1)
    async with running(firewall) as told:
        await firewall.ensure(plan(one))
        before = ruleset_without_handles()
        if isinstance(harm, tuple):
            nft(*harm)
        else:
            rules = json.loads(nft("-j", "list", "chain", "inet", TABLE, "from_gateway"))
            last = [each["rule"]["handle"] for each in rules["nftables"] if "rule" in each][-1]
            where = ("rule", "inet", TABLE, "from_gateway", "handle", str(last))
            if harm == "drop-to-accept":
                nft("replace", *where, "accept")
            else:
                nft("delete", *where)
        await heard(told)
        assert await firewall.ensure(plan(one))
        assert ruleset_without_handles() == before
        assert not await firewall.ensure(plan(one))


async def test_a_restarted_daemon_finds_its_table_as_it_should_be(host: RoutedHost) -> None:
    host.uplink()
    one, two = host.network(1), host.network(2)
    notes = MemoryNotes()
    for expected in (True, False):
        firewall = HostFirewall(notes=notes)
        try:
            assert await firewall.ensure(plan(one, two)) is expected
        finally:
            await firewall.close()


def in_first_process_namespace() -> bool:
    # PROC_PID_INIT_INO, include/linux/proc_ns.h
    return Path("/proc/self/ns/pid").stat().st_ino == 0xEFFFFFFC


async def test_our_own_changes_and_those_of_no_concern_are_not_told(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one, two = host.network(1), host.network(2)
    await firewall.ensure(plan(one))
    async with running(firewall) as told:
        await firewall.ensure(plan(one, two))
        nft("add", "table", "inet", "other")
        nft("add", "chain", "inet", "other", "forward", "{ type filter hook forward priority 0; }")
        run("ip", "link", "add", "ovh0123", "type", "veth", "peer", "name", "ovc0123")
        run("ip", "link", "set", "ovh0123", "up")
        run("ip", "link", "del", "ovh0123")
        await firewall.ensure(plan(one))
        await asyncio.sleep(0.5)
        # Of who made a change the kernel tells the id in the first process namespace: in another
        # one our own changes cannot be told from others', which costs a look each.
        assert not told.is_set() or not in_first_process_namespace()
        told.clear()
        nft("flush", "chain", "inet", TABLE, "forward")
        await heard(told)


async def test_what_happens_to_a_gateway_is_told_by_its_name_and_other_links_are_not(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one, two = host.network(1), host.network(2)
    heard_of: list[str] = []
    firewall.on_gateway(heard_of.append)
    harms = (
        ("link", "set", one.link, "mtu", "1400"),
        ("link", "set", one.link, "down"),
        ("link", "set", one.link, "up"),
        ("address", "add", "10.9.9.1/32", "dev", one.link),
        ("address", "del", "10.9.9.1/32", "dev", one.link),
        ("-6", "address", "flush", "dev", one.link),
        ("link", "set", one.link, "down"),
        ("link", "set", one.link, "name", "theirs"),
        ("link", "set", "theirs", "name", one.link),
        ("link", "del", one.link),
        ("link", "add", one.link, "type", "veth", "peer", "name", "theirs"),
    )
    async with running(firewall):
        await firewall.ensure(plan(one, two))
        for harm in harms:
            await asyncio.sleep(0.1)
            heard_of.clear()
            run("ip", *harm)
            await becomes(lambda: set(heard_of), wanted={one.link})
        await asyncio.sleep(0.1)
        heard_of.clear()
        run("ip", "link", "add", "ovh0123", "type", "veth", "peer", "name", "ovc0123")
        run("ip", "address", "add", "10.9.9.1/32", "dev", "ovh0123")
        run("ip", "link", "del", "ovh0123")
        await asyncio.sleep(0.3)
    assert not heard_of


async def test_the_switches_of_a_gateway_that_is_said_to_be_new_are_looked_at(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one = host.network(1)
    wanted = FirewallPlan(gateways=(replace(one.rules(), loopback=True),))
    path = f"net/ipv4/conf/{one.link}/route_localnet"
    async with running(firewall):
        await firewall.ensure(wanted)
        run("sysctl", "-qw", f"net.ipv4.conf.{one.link}.route_localnet=0")
        assert not await firewall.ensure(wanted), "nobody tells of this switch"
        firewall.renewed(one.link)
        assert await firewall.ensure(wanted)
        assert sysctl(path) == "1"
        assert not await firewall.ensure(wanted)


async def test_a_device_that_comes_anew_under_a_gateways_name_is_a_loss_on_a_router_as_well(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    """There a new device forwards from the beginning, and still lacks the rest."""
    one = host.network(1)
    switch_all_on()
    wanted = FirewallPlan(gateways=(replace(one.rules(), loopback=True),))
    path = f"net/ipv4/conf/{one.link}/route_localnet"
    async with running(firewall) as told:
        await firewall.ensure(wanted)
        assert sysctl(path) == "1"
        await asyncio.sleep(0.3)
        told.clear()
        run("ip", "link", "del", one.link)
        run("ip", "link", "add", one.link, "type", "veth", "peer", "name", "theirs")
        assert sysctl(path) == "0"
        await heard(told)
        assert await firewall.ensure(wanted)
        assert sysctl(path) == "1"


async def test_a_loss_among_more_news_than_can_be_kept_is_told(
    host: RoutedHost, firewall: HostFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtnetlink, "_NEWS_BYTES", 1)
    one = host.network(1)
    async with running(firewall) as told:
        await firewall.ensure(plan(one))
        await asyncio.sleep(0.3)
        told.clear()
        # The loop does not turn meanwhile, so nobody reads.
        for number in range(50):
            nft("add", "table", "inet", f"other{number}")
        nft("delete", "table", "inet", TABLE)
        await heard(told)
        assert await firewall.ensure(plan(one))


async def test_a_table_for_500_networks_has_no_more_rules_than_for_one(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    counts = []
    for size in (1, 500):
        await firewall.ensure(many(size))
        objects = [kind for each in ruleset() for kind in each]
        counts.append({kind: objects.count(kind) for kind in ("rule", "chain", "set")})
    assert counts[0] == counts[1]
    assert not await firewall.ensure(many(500))


async def test_two_instances_stand_beside_each_other(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    async with a_firewall("second") as other:
        await firewall.ensure(plan(one))
        await other.ensure(plan(two))
        assert not await firewall.ensure(plan(one))
        for mine, foreign in ((one, two), (two, one)):
            assert mine.reaches(outside)
            assert mine.reaches(outside, 6)
            assert mine.is_cut_off_from(foreign)
        await firewall.remove()
        await other.ensure(plan(two))
        assert two.reaches(outside)


async def test_after_remove_nothing_of_ours_stands(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    host.uplink()
    one = host.network(1)
    for program in IPTABLES:
        foreign_drop(program)
    before = ruleset()
    async with running(firewall):
        await firewall.ensure(plan(one))
        for program in IPTABLES:
            await becomes(lambda p=program: stands(p))
        await firewall.remove()
    assert [strip(each) for each in ruleset()] == [strip(each) for each in before]


# other base chains at the same hook


def foreign_drop(program: str) -> None:
    """What dockerd leaves at the forward hook, without its own networks."""
    run(program, "-P", "FORWARD", "DROP")
    for chain in ("DOCKER-ISOLATION-STAGE-1", "DOCKER-USER"):
        run(program, "-N", chain)
        run(program, "-A", chain, "-j", "RETURN")
        run(program, "-I", "FORWARD", "-j", chain)


def arrange_again(program: str) -> None:
    """What dockerd does to FORWARD when it makes a network, and when it starts."""
    for chain in ("DOCKER-ISOLATION-STAGE-1", "DOCKER-USER"):
        run(program, "-D", "FORWARD", "-j", chain)
        run(program, "-I", "FORWARD", "-j", chain)


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_we_accept_passes_a_forward_chain_of_docker_that_drops(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    docker, program = host.docker_bridge(), IPTABLES[family // 2 - 2]
    foreign_drop(program)
    async with running(firewall):
        await firewall.ensure(plan(one, two))
        await becomes(lambda: stands(program))
        assert one.reaches(outside, family)
        assert one.is_cut_off_from(two, family)
        assert one.is_cut_off_from(docker, family)
        await firewall.ensure(FirewallPlan())
        await becomes(lambda: forward(program), wanted=DOCKERS)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param([("-D", "FORWARD", "3")], id="deleted"),
        pytest.param(
            [("-F", "FORWARD"), *(("-I", "FORWARD", *jump.split()) for jump in DOCKERS[::-1])],
            id="flushed",
        ),
        pytest.param(
            [("-D", "FORWARD", "3"), ("-I", "FORWARD", *MARK.split(), "-m", "comment",
              "--comment", "ovsnet: accepted by its nftables table", "-j", "ACCEPT")],
            id="before-docker-user",
        ),
        pytest.param(
            [("-I", chain, "-m", "comment", "--comment", "ovsnet: accepted by its nftables table",
              *MARK.split(), "-j", "ACCEPT") for chain in ("DOCKER-USER", "FORWARD")],
            id="an-earlier-versions",
        ),
    ],
)  # fmt: skip
async def test_our_accept_is_put_back_behind_docker_user(
    host: RoutedHost, firewall: HostFirewall, harm: list[tuple[str, ...]]
) -> None:
    one = host.network(1)
    foreign_drop("iptables")
    async with running(firewall):
        await firewall.ensure(plan(one))
        await becomes(lambda: stands("iptables"))
        for each in harm:
            run("iptables", *each)
        await becomes(lambda: stands("iptables"))
        await becomes(lambda: "ovsnet" in run("iptables", "-S", "DOCKER-USER"), wanted=False)


async def test_dockers_own_new_order_leaves_our_accept_where_it_is(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one = host.uplink(), host.network(1)
    foreign_drop("iptables")
    async with running(firewall):
        await firewall.ensure(plan(one))
        await becomes(lambda: stands("iptables"))
        run("iptables", "-I", "FORWARD", "-s", "203.0.113.1", "-j", "DROP")
        arrange_again("iptables")
        expected = [*DOCKERS, "-s 203.0.113.1/32 -j DROP", "ovsnet accepts"]
        await becomes(lambda: forward("iptables"), wanted=expected)
        await asyncio.sleep(0.5)
        assert forward("iptables") == expected, "an administrator's own place is kept to"
        assert one.reaches(outside)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_an_administrator_drops_in_docker_user_is_dropped(
    host: RoutedHost, firewall: HostFirewall, family: int, when: str
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    program = IPTABLES[family // 2 - 2]
    foreign_drop(program)
    rule = ("DOCKER-USER", "-s", str(one.addresses[family].ip), "-j", "DROP")
    async with running(firewall):
        if when == "before":
            run(program, "-I", *rule)
        await firewall.ensure(plan(one, two))
        await becomes(lambda: stands(program))
        assert one.reaches(outside, family) is (when == "after")
        assert two.reaches(outside, family)
        if when == "after":
            run(program, "-I", *rule)
        assert one.is_cut_off_from(outside, family), "at once"
        await firewall.ensure(plan(one, two))
        arrange_again(program)
        assert one.is_cut_off_from(outside, family)
        assert two.reaches(outside, family)


async def test_what_comes_back_from_docker_user_is_accepted_however_it_does(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    foreign_drop("iptables")
    async with running(firewall):
        await firewall.ensure(plan(one, two))
        await becomes(lambda: stands("iptables"))
        run("iptables", "-F", "DOCKER-USER")
        established = ("-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")
        run("iptables", "-A", "DOCKER-USER", *established)
        run("iptables", "-A", "DOCKER-USER", "-s", str(one.addresses[4].ip), "-j", "RETURN")
        run("iptables", "-A", "DOCKER-USER", "-j", "DROP")
        assert one.reaches(outside)
        assert two.is_cut_off_from(outside)


async def test_a_dockerd_that_starts_later_gets_our_accept_too(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one = host.uplink(), host.network(1)
    async with running(firewall):
        await firewall.ensure(plan(one))
        assert one.reaches(outside)
        foreign_drop("iptables")
        await becomes(lambda: stands("iptables"))
        assert one.reaches(outside)


async def test_a_restart_does_not_take_our_accept_away_for_a_moment(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    one = host.network(1)
    foreign_drop("iptables")
    async with running(firewall):
        await firewall.ensure(plan(one))
        await becomes(lambda: stands("iptables"))
    before = ruleset()
    async with a_firewall() as again, running(again):
        await asyncio.sleep(0.3)
        await again.ensure(plan(one))
        await asyncio.sleep(0.3)
    assert ruleset() == before, "handles included: nothing was even written again"


async def test_an_accept_that_nobody_needs_any_more_does_not_outlive_the_process(
    host: RoutedHost,
) -> None:
    foreign_drop("iptables")
    async with a_firewall() as firewall:
        async with running(firewall):
            await firewall.ensure(plan(host.network(1)))
            await becomes(lambda: stands("iptables"))
        await firewall.ensure(FirewallPlan())  # as when the end comes right behind the last network
    assert not stands("iptables")


async def test_two_instances_do_not_fight_for_a_place(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    foreign_drop("iptables")
    async with a_firewall("second") as other, running(firewall), running(other):
        await firewall.ensure(plan(host.network(1)))
        await other.ensure(plan(host.network(2)))
        await becomes(
            lambda: sorted(forward("iptables")[2:]), wanted=["ovsnet accepts", "second accepts"]
        )
        listed = forward("iptables")
        await asyncio.sleep(0.5)
        assert forward("iptables") == listed


async def test_the_older_kind_of_iptables_is_kept_and_read_as_well(
    host: RoutedHost, tmp_path: Path
) -> None:
    """Its rules are seen by nothing else, and nobody tells of changes to them."""
    for program in IPTABLES:
        legacy = shutil.which(f"{program}-legacy")
        assert legacy is not None
        (tmp_path / program).symlink_to(legacy)
    outside, one = host.uplink(), host.network(1)
    iptables = str(tmp_path / "iptables")
    foreign_drop(iptables)
    firewall = HostFirewall(
        notes=MemoryNotes(),
        iptables=[Iptables(family, search=str(tmp_path)) for family in FAMILIES],
    )
    try:
        async with running(firewall):
            await firewall.ensure(plan(one))
            await becomes(lambda: stands(iptables))
            assert one.reaches(outside)
            assert not await firewall.findings()
            run(iptables, "-D", "FORWARD", "3")
            (text,) = await firewall.findings()
            assert text.startswith("iptables chain FORWARD")
            await firewall.remove()
            assert forward(iptables) == DOCKERS
    finally:
        await firewall.close()


async def test_a_host_without_docker_gets_no_chains_of_iptables(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    async with running(firewall):
        await firewall.ensure(plan(host.network(1)))
        await asyncio.sleep(0.3)
    assert {each["table"]["name"] for each in ruleset() if "table" in each} == {TABLE}


# findings: what to type works


async def test_a_foreign_chain_that_drops_is_named_and_what_to_type_cures_it(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one = host.uplink(), host.network(1)
    await firewall.ensure(plan(one))
    assert one.reaches(outside)
    nft("add", "table", "inet", "mine")
    policy = "{ type filter hook forward priority 0; policy drop; }"
    nft("add", "chain", "inet", "mine", "forward", policy)
    nft("add", "rule", "inet", "mine", "forward", "ct", "state", "established", "accept")
    assert one.is_cut_off_from(outside)
    (text,) = await firewall.findings()
    assert "inet mine forward" in text
    run("sh", "-c", typed(text))
    assert not await firewall.findings()
    assert one.reaches(outside)


@pytest.mark.parametrize("family", FAMILIES)
async def test_iptables_that_drops_is_named_and_what_to_type_cures_it(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one = host.uplink(), host.network(1)
    program = IPTABLES[family // 2 - 2]
    await firewall.ensure(plan(one))
    assert one.reaches(outside, family)
    run(program, "-A", "FORWARD", "-j", "REJECT")
    assert one.is_cut_off_from(outside, family)
    (text,) = await firewall.findings()
    assert text.startswith(f"{program} chain FORWARD")
    run("sh", "-c", typed(text))
    assert not await firewall.findings()
    assert one.reaches(outside, family)


async def test_docker_that_drops_is_no_finding_where_our_accept_stands_or_will(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    host.uplink()
    one = host.network(1)
    foreign_drop("iptables")
    assert not await firewall.findings()
    async with running(firewall):
        await firewall.ensure(plan(one))
        await becomes(lambda: stands("iptables"))
        assert not await firewall.findings()
    run("iptables", "-D", "FORWARD", "3")
    assert await firewall.findings()


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_drop_in_docker_user_is_named_and_what_to_type_excepts_our_networks(
    host: RoutedHost, firewall: HostFirewall, family: int
) -> None:
    outside, one = host.uplink(), host.network(1)
    program = IPTABLES[family // 2 - 2]
    foreign_drop(program)
    async with running(firewall):
        await firewall.ensure(plan(one))
        await becomes(lambda: stands(program))
        run(program, "-I", "DOCKER-USER", "-j", "DROP")
        assert one.is_cut_off_from(outside, family)
        (text,) = await firewall.findings()
        assert text.startswith(f"{program} chain DOCKER-USER drops")
        run("sh", "-c", typed(text))
        assert not await firewall.findings()
        assert one.reaches(outside, family)


async def test_what_to_type_against_a_drop_in_forward_leaves_docker_user_first(
    host: RoutedHost, firewall: HostFirewall
) -> None:
    outside, one, two = host.uplink(), host.network(1), host.network(2)
    foreign_drop("iptables")
    async with running(firewall):
        await firewall.ensure(plan(one, two))
        await becomes(lambda: stands("iptables"))
        run("iptables", "-I", "FORWARD", "-j", "DROP")
        assert one.is_cut_off_from(outside)
        (text,) = await firewall.findings()
        run("sh", "-c", typed(text))
        assert not await firewall.findings()
        run("iptables", "-I", "DOCKER-USER", "-s", str(two.addresses[4].ip), "-j", "DROP")
        assert one.reaches(outside)
        assert two.is_cut_off_from(outside)


def typed(text: str) -> str:
    """The command of a finding."""
    return text.partition("type: ")[2].partition(", and ")[0]


def many(size: int) -> FirewallPlan:
    return FirewallPlan(
        gateways=tuple(
            GatewayRules(
                network=NetworkId(f"{number:064x}"),
                link=f"ovg{number:012x}",
                mode=Mode.NAT,
                subnets=(IPNetwork("10.66.0.0/24"),),
            )
            for number in range(size)
        )
    )


def strip(each: object) -> object:
    """A listed object without handles and counters."""
    if isinstance(each, dict):
        return {k: strip(v) for k, v in each.items() if k not in ("handle", "counter")}
    return [strip(inner) for inner in each] if isinstance(each, list) else each


def ruleset_without_handles() -> object:
    return [strip(each) for each in ruleset()]
