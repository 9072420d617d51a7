"""Which switches are turned, in which order, and that everything can be put back."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from ovsdriver.domain.records.model import Mode, NetworkId
from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules, Guard
from ovsdriver.domain.traffic.forwarding import (
    ALL6,
    BOOT_NOTE,
    DEFAULT6,
    FORCE6,
    IP_FORWARD,
    NOTE,
    Forget,
    Forwarding,
    Note,
    Step,
    Switches,
    Wanted,
    Write,
    accept_ra,
    decide,
    force6,
    forwarding4,
    forwarding6,
    hosts_matter,
    noted,
    paths,
    route_localnet,
)
from tests.fakes.switches import FakeSwitches

GATEWAY = "ovg000000000001"
WAN, LAN, DOCKER = "wan0", "lan0", "docker0"
LINKS = ("lo", GATEWAY, WAN, LAN, DOCKER)
BOOT = "boot-1"

BOTH = FirewallPlan(
    gateways=(
        GatewayRules(
            network=NetworkId("a" * 64),
            link=GATEWAY,
            mode=Mode.NAT,
            subnets=(IPNetwork("10.66.1.0/24"), IPNetwork("fd66:1::/64")),
        ),
    )
)
ONLY4 = FirewallPlan(gateways=(replace(BOTH.gateways[0], subnets=(IPNetwork("10.66.1.0/24"),)),))
OUT = frozenset({WAN, LAN})
WANTED = Wanted(plan=BOTH, outgoing4=OUT, outgoing6=OUT)
NOTHING = Wanted(plan=FirewallPlan())


class Host:
    """Switches and notes, and a daemon that may die between any two steps."""

    def __init__(self, *, force: bool = True, boot: str = BOOT) -> None:
        self.switches = FakeSwitches(LINKS, force=force)
        self.notes: dict[str, str] = {}
        self.guard = Guard()
        self.boot = boot

    def others_write(self, **values: str) -> None:
        """Someone else writes; ``__`` stands for ``/``, leaving out ``net/``."""
        for path, value in values.items():
            self.switches.write(f"net/{path.replace('__', '/')}", value)

    def decided(self, wanted: Wanted) -> Forwarding:
        """What to do, on reading exactly what the decision says it reads."""
        gateways = [gateway.link for gateway in wanted.plan.gateways]
        wants = paths(wanted, self.notes, gateways=gateways)
        values = {p: v for p, v in self.switches.values.items() if p in wants}
        read = Switches(values=values, notes=dict(self.notes), boot=self.boot)
        if hosts_matter(wanted, read):
            every = {
                p: v
                for p, v in self.switches.values.items()
                if p.startswith("net/ipv6/conf/") and p.endswith("/forwarding")
            }
            read = replace(read, values={**every, **values})
        return decide(wanted, read)

    def ensure(self, wanted: Wanted) -> Forwarding:
        """Decide and do it all."""
        decision = self.decided(wanted)
        self.take(decision.before)
        self.guard = decision.guard
        self.take(decision.after)
        return decision

    def take(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Note):
                self.notes[step.key] = step.value
            elif isinstance(step, Forget):
                self.notes.pop(step.key, None)
            else:
                self.switches.write(step.path, step.value)

    def others(self) -> dict[str, str]:
        """All switches but those of the gateway, which is ours."""
        return {p: v for p, v in self.switches.values.items() if GATEWAY not in p}

    def unguarded(self, family: int) -> set[str]:
        """Links where a stranger's packet is forwarded."""
        guarded = self.guard.ipv4 if family == 4 else self.guard.ipv6
        if family == 6 and self.guard.ipv6_everywhere:
            return set()
        return {
            link
            for link in (WAN, LAN, DOCKER)
            if self.switches.forwards(link, family) and link not in guarded
        }


SOMEONES = {4: IP_FORWARD, 6: FORCE6}
OWN = {4: forwarding4, 6: force6}

PATHS = sorted(path for path in FakeSwitches(LINKS).values if GATEWAY not in path)
PLAIN = [p for p in PATHS if p.startswith("net/ipv4/conf/") and "/all/" not in p]
"""Of hosts where nothing is so unusual that an interrupted daemon cannot know it."""


@st.composite
def hosts(draw: st.DrawFn, *, routers: bool = True) -> Host:
    """A host as its administrator, and programs before us, have left it."""
    host = Host(force=draw(st.booleans()))
    for path in draw(st.lists(st.sampled_from(PATHS if routers else PLAIN), max_size=6)):
        if path not in host.switches.values:
            continue
        choices = "012" if path.endswith("accept_ra") else "01"
        host.switches.write(path, draw(st.sampled_from(choices)))
    return host


@pytest.mark.slow
@given(hosts())
def test_what_containers_need_is_forwarded_both_ways(host: Host) -> None:
    before = host.others()
    host.ensure(WANTED)
    for family in (4, 6):
        assert host.switches.forwards(GATEWAY, family)
        for link in OUT:
            by_someone = before.get(SOMEONES[family]) == "1"
            taken_out = by_someone and before[OWN[family](link)] == "0"
            assert host.switches.forwards(link, family) or taken_out


@pytest.mark.slow
@given(hosts())
def test_doing_it_again_changes_nothing(host: Host) -> None:
    first = host.ensure(WANTED)
    again = host.decided(WANTED)
    assert not again.before
    assert not again.after
    assert again.guard == first.guard


@pytest.mark.slow
@given(hosts())
def test_no_stranger_is_forwarded_who_was_not_before_at_any_moment(host: Host) -> None:
    before = {family: host.unguarded(family) for family in (4, 6)}
    for wanted in (WANTED, NOTHING):
        decision = host.decided(wanted)
        for steps in (decision.before, decision.after):
            for step in steps:
                host.take([step])
                assert all(host.unguarded(family) <= before[family] for family in (4, 6))
            host.guard = decision.guard
    assert {family: host.unguarded(family) for family in (4, 6)} == before


@pytest.mark.slow
@given(hosts())
def test_everything_is_put_back(host: Host) -> None:
    before = host.others()
    host.ensure(WANTED)
    host.ensure(NOTHING)
    assert host.others() == before
    assert not host.notes


@pytest.mark.slow
@given(hosts())
def test_every_change_is_noted_before_with_the_value_it_replaces(host: Host) -> None:
    before = host.others()
    decision = host.decided(WANTED)
    host.take(decision.before)
    for step in decision.after:
        if isinstance(step, Note) and step.key.startswith(NOTE) and step.key != NOTE + DEFAULT6:
            path = step.key.removeprefix(NOTE)
            assert step.value == before[path] == host.switches.values[path]
        host.take([step])
    changed = {path for path, value in host.others().items() if before[path] != value}
    assert changed <= noted(host.notes)


@pytest.mark.slow
@given(hosts(routers=False), st.integers(0, 40), st.booleans())
def test_a_daemon_that_dies_between_any_two_steps_is_followed_by_one_that_puts_all_right(
    host: Host, steps: int, turning_off: bool
) -> None:
    before = host.others()
    if turning_off:
        host.ensure(WANTED)
    decision = host.decided(NOTHING if turning_off else WANTED)
    host.take((*decision.before, *decision.after)[:steps])
    host.ensure(WANTED)
    for family in (4, 6):
        assert all(host.switches.forwards(link, family) for link in (GATEWAY, WAN, LAN))
    host.ensure(NOTHING)
    assert host.others() == before
    assert not host.notes


@pytest.mark.parametrize("force", [True, False])
def test_ipv6_is_not_touched_without_a_network_that_has_it(force: bool) -> None:
    host = Host(force=force)
    decision = host.ensure(Wanted(plan=ONLY4, outgoing4=OUT))
    assert not any(isinstance(s, Write) and "ipv6" in s.path for s in decision.after)
    assert decision.guard == Guard(ipv4=OUT)


@pytest.mark.parametrize("force", [True, False])
def test_a_kernel_without_ipv6_is_asked_for_none(force: bool) -> None:
    host = Host(force=force)
    host.switches.values = {p: v for p, v in host.switches.values.items() if "ipv6" not in p}
    decision = host.ensure(WANTED)
    assert decision.guard == Guard(ipv4=OUT)
    assert not any(isinstance(s, Write) and "ipv6" in s.path for s in decision.after)


def test_a_link_that_forwards_already_is_neither_noted_nor_guarded() -> None:
    host = Host()
    host.switches.write(forwarding4(WAN), "1")
    host.ensure(WANTED)
    assert host.guard.ipv4 == {LAN}
    assert forwarding4(WAN) not in noted(host.notes)


def test_a_link_that_is_no_way_out_any_more_is_put_back() -> None:
    host = Host()
    host.ensure(WANTED)
    host.ensure(Wanted(plan=BOTH, outgoing4=frozenset({WAN}), outgoing6=frozenset({WAN})))
    assert not host.switches.forwards(LAN, 4)
    assert not host.switches.forwards(LAN, 6)
    assert noted(host.notes) == {forwarding4(WAN), force6(WAN)}


@pytest.mark.parametrize("force", [True, False])
def test_a_link_that_is_gone_is_forgotten(force: bool) -> None:
    host = Host(force=force)
    host.ensure(WANTED)
    host.switches.values = {p: v for p, v in host.switches.values.items() if LAN not in p}
    host.ensure(Wanted(plan=BOTH, outgoing4=frozenset({WAN}), outgoing6=frozenset({WAN})))
    host.ensure(NOTHING)
    assert not host.notes


def test_a_link_that_goes_while_it_is_looked_at_is_forgotten() -> None:
    host = Host()
    host.ensure(WANTED)
    host.switches.values = {p: v for p, v in host.switches.values.items() if LAN not in p}
    host.ensure(WANTED)
    assert host.guard == Guard(ipv4=frozenset({WAN}), ipv6=frozenset({WAN}))
    assert noted(host.notes) == {forwarding4(WAN), force6(WAN)}


def test_routers_are_listened_to_as_before_when_someone_else_turns_the_older_switch_off() -> None:
    host = Host(force=False)
    before = host.others()
    host.ensure(WANTED)
    host.others_write(ipv6__conf__all__forwarding="0")
    host.ensure(NOTHING)
    assert host.others() == before
    assert not host.notes


@pytest.mark.parametrize("force", [True, False])
def test_who_turns_the_global_switches_on_lifts_the_guard_and_keeps_them_on(force: bool) -> None:
    host = Host(force=force)
    host.ensure(WANTED)
    host.others_write(ipv4__ip_forward="1", ipv6__conf__all__forwarding="1")
    decision = host.ensure(WANTED)
    assert not decision.guard
    values = host.others()
    host.ensure(NOTHING)
    assert host.others() == values
    assert not host.notes
    assert values[ALL6] == values[IP_FORWARD] == "1"


@pytest.mark.parametrize("force", [True, False])
def test_when_they_are_turned_off_again_ours_and_the_guard_are_back(force: bool) -> None:
    host = Host(force=force)
    before = host.others()
    host.ensure(WANTED)
    for value in "10":
        host.others_write(ipv4__ip_forward=value, ipv6__conf__all__forwarding=value)
        host.ensure(WANTED)
    assert all(host.switches.forwards(WAN, family) for family in (4, 6))
    assert host.unguarded(4) == host.unguarded(6) == set()
    host.ensure(NOTHING)
    if force:
        assert host.others() == before
    else:
        # accept_ra=2 was left with whoever turned the switch on
        assert {p for p, v in host.others().items() if before[p] != v} == set(map(accept_ra, OUT))


def test_forcing_all_links_is_someone_elses_will_too() -> None:
    host = Host()
    host.ensure(WANTED)
    host.others_write(ipv6__conf__all__force_forwarding="1")
    assert not host.ensure(WANTED).guard.ipv6
    host.ensure(NOTHING)
    assert host.switches.values[FORCE6] == "1"
    assert host.switches.forwards(WAN, 6)


def test_a_value_that_someone_changed_meanwhile_is_not_put_back() -> None:
    host = Host(force=False)
    host.ensure(WANTED)
    host.switches.write(forwarding4(WAN), "0")
    host.switches.write(accept_ra(WAN), "0")
    decision = host.ensure(NOTHING)
    written = {step.path for step in decision.before if isinstance(step, Write)}
    assert not written & {forwarding4(WAN), accept_ra(WAN)}
    assert not host.notes


def test_routers_are_listened_to_before_the_older_global_switch_is_turned() -> None:
    host = Host(force=False)
    host.switches.write(accept_ra(LAN), "0")
    writes = [step.path for step in host.ensure(WANTED).after if isinstance(step, Write)]
    assert writes.index(accept_ra(WAN)) < writes.index(ALL6)
    assert accept_ra(LAN) not in writes, "who does not listen need not"
    assert host.switches.values[accept_ra(WAN)] == "2"


def test_only_forwarding_itself_is_left_of_the_older_global_switch() -> None:
    host = Host(force=False)
    host.switches.write(forwarding6(DOCKER), "1")
    before = host.others()
    host.ensure(WANTED)
    changed = {p for p, v in host.others().items() if before[p] != v}
    assert changed == {ALL6, *map(forwarding4, OUT), *map(accept_ra, OUT)}


def test_a_new_way_out_is_listened_to_while_the_older_global_switch_is_on() -> None:
    host = Host(force=False)
    host.ensure(Wanted(plan=BOTH, outgoing4=frozenset({WAN}), outgoing6=frozenset({WAN})))
    host.ensure(WANTED)
    assert host.switches.values[accept_ra(LAN)] == "2"
    assert accept_ra(LAN) in noted(host.notes)


@pytest.mark.parametrize("force", [True, False])
def test_notes_of_an_earlier_boot_are_history(force: bool) -> None:
    host = Host(force=force)
    host.ensure(WANTED)
    notes = host.notes
    rebooted = Host(force=force, boot="boot-2")
    rebooted.notes = notes
    rebooted.switches.write(forwarding4(WAN), "1")
    before = rebooted.others()
    rebooted.ensure(WANTED)
    assert rebooted.notes[BOOT_NOTE] == "boot-2"
    assert rebooted.guard.ipv4 == {LAN}, "WAN forwards by the will of its administrator"
    rebooted.ensure(NOTHING)
    assert rebooted.others() == before
    assert not rebooted.notes


def test_without_networks_nothing_is_done() -> None:
    assert Host().decided(NOTHING) == Forwarding()
    assert not Host().decided(NOTHING).writes


LOOPBACK = FirewallPlan(gateways=(replace(BOTH.gateways[0], loopback=True),))


def test_a_gateway_carries_127_8_only_while_a_port_of_it_is_published() -> None:
    host = Host()
    host.ensure(WANTED)
    assert host.switches.values[route_localnet(GATEWAY)] == "0"
    decision = host.ensure(replace(WANTED, plan=LOOPBACK))
    assert decision.after == (Write(path=route_localnet(GATEWAY), value="1"),)
    assert not host.ensure(replace(WANTED, plan=LOOPBACK)).writes
    # back before the table goes that drops what arrives with such an address
    decision = host.ensure(WANTED)
    assert decision.before == (Write(path=route_localnet(GATEWAY), value="0"),)
    assert not any("route_localnet" in note for note in host.notes), "it ends with its link"


def test_no_other_link_ever_carries_127_8() -> None:
    host = Host()
    host.ensure(replace(WANTED, plan=LOOPBACK))
    switched = {p for p, v in host.switches.values.items() if "route_localnet" in p and v == "1"}
    assert switched == {route_localnet(GATEWAY)}
