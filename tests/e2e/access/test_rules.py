"""Sets of access rules: for whom they hold, how they change, and what they tell."""

import json
from collections.abc import Iterator
from signal import SIGKILL

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, Bed
from tests.e2e.stage import Container, Stage
from tests.e2e.world import until

pytestmark = pytest.mark.docker

WEB = f"{OUTSIDE4} tcp/{OUTSIDE_PORT}"


@pytest.fixture
def agent(bed: Bed) -> Iterator[str]:
    """A set for who may get pages from outside."""
    bed.ovsnet("rules", "set", "agent", "--allow", WEB)
    yield "agent"
    bed.ovsnet("rules", "rm", "agent")


def open_to(container: Container) -> tuple[bool, bool]:
    """Tell whether it gets a page from outside, and an echo."""
    return bool(container.asks(OUTSIDE4, OUTSIDE_PORT)), container.pings(OUTSIDE4)


def met(bed: Bed, name: str) -> dict[str, int]:
    """Return the packets that each rule of a container has met."""
    (end,) = json.loads(bed.ovsnet("rules", "show", name, "--json"))["ends"]
    return {each["rule"]: each["packets"] for each in end["rules"]}


def traced(bed: Bed, *words: str) -> str:
    return bed.try_ovsnet("trace", *words).out.splitlines()[-1]


def test_a_set_holds_for_all_that_name_it_and_tells_what_it_has_met(
    bed: Bed, agent: str, stage: Stage
) -> None:
    lab = stage.network("lab", "-o", "ovs.rules=agent")
    ann = stage.container("ann", lab)
    bob = stage.container("bob", f'name={lab.name},"driver-opt=ovs.rules=agent"')
    assert open_to(ann) == open_to(bob) == (True, False)
    counted = met(bed, "ann")
    assert counted[f"to {WEB}"] > 0
    assert counted[""] > 0
    assert counted == met(bed, "lab/bob"), "their rules say the same"
    assert "ann reaches" in traced(bed, "ann", OUTSIDE4, f"tcp/{OUTSIDE_PORT}")
    assert 'no rule of lab/ann allows "to' in traced(bed, "ann", OUTSIDE4)

    done = bed.ovsnet("rules", "set", "agent", "--add", "--allow", f"{OUTSIDE4} icmp")
    assert done == "rules agent: 2 rules; now in force for lab/ann, lab/bob"
    assert open_to(ann) == open_to(bob) == (True, True)
    bed.restart_plugin(SIGKILL)
    bed.ovsnet("set", "ann", f"ovs.deny={OUTSIDE4} tcp")
    assert (open_to(ann), open_to(bob)) == ((False, True), (True, True))
    assert f'rule "to {OUTSIDE4} tcp" of lab/ann drops it' in traced(bed, "ann", OUTSIDE4, "tcp/80")
    bed.ovsnet("set", "lab", "ovs.deny=outside icmp")
    assert (open_to(ann), open_to(bob)) == ((False, True), (True, False))

    refused = bed.try_ovsnet("rules", "rm", "agent")
    assert refused.code == 1
    assert "lab and 1 more has ovs.rules=agent" in refused.err
    bed.ovsnet("set", "bob", "ovs.rules=", "ovs.allow=container:eve")
    bed.ovsnet("set", "lab", "ovs.rules=", "ovs.deny=")
    bed.ovsnet("set", "ann", "ovs.deny=")
    assert (open_to(ann), open_to(bob)) == ((True, True), (False, False))
    assert "nobody has that name now" in bed.ovsnet("rules", "show", "bob")
    eve = stage.container("eve", lab)
    until(lambda: bob.pings(eve.address(lab)), "its name is known")
    assert not bob.pings(ann.address(lab))
    assert "bob reaches" in traced(bed, "bob", "eve")
    assert f'no rule of lab/bob allows "to {ann.address(lab)} icmp"' in traced(bed, "bob", "ann")
