"""Which pairs of patch ports there should be, and what may not be joined."""

from typing import Any

import pytest

from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.options.features import Features
from ovsdriver.domain.records.options.port_options import Cable, PortOptions, VlanTag
from ovsdriver.domain.records.segments import Datapath, Uplink
from ovsdriver.domain.wires import patching
from ovsdriver.domain.wires.observed import ObservedBridge
from ovsdriver.errors import ConflictError, DriverError, InvalidOptionError, UnsupportedError
from tests.builders import a_network, a_segment

IDS = iter(f"{number:064x}" for number in range(1, 1000))


def on(bridge: str, *patches: str, vlan: int = 10, tree: bool = False, **changes: Any) -> Network:
    """Return a network on a bridge of ours that asks for patches."""
    place = {
        each: changes.pop(each) for each in ("uplink", "adopted", "datapath") if each in changes
    }
    return a_network(
        next(IDS),
        segment=a_segment(bridge, vlan, **place),
        patches=patches,
        features=Features(rstp=tree or None),
        **changes,
    )


def refusal(plan: Network, *others: Network, bridges: Any = ()) -> str:
    observed = {each.name: each for each in bridges}
    try:
        patching.refuse_unfit(plan, others, observed)
    except DriverError as error:
        return str(error)
    return ""


def carried(*networks: Network) -> dict[str, tuple[int, ...]]:
    return {
        "-".join(pair.bridges): pair.ends[0].trunks
        for pair in patching.pairs(networks, owner="ovsnet")
    }


def test_a_pair_carries_what_all_who_ask_for_it_say_and_nothing_else() -> None:
    leaf = on("br-a", "br-b", port=PortOptions(trunks=(VlanTag(20), VlanTag(30))))
    core = on("br-b", "br-a", vlan=40)
    silent = on("br-b", vlan=50)
    assert carried(leaf, core, silent) == {"br-a-br-b": (10, 20, 30, 40)}
    assert carried(core, silent, on("br-a", vlan=60)) == {"br-a-br-b": (40,)}


def test_both_ends_lead_to_each_other_and_have_names_of_their_own() -> None:
    (pair,) = patching.pairs([on("br-a", "br-b"), on("br-b", shared=True)], owner="ovsnet")
    one, other = pair.ends
    assert (one.bridge, other.bridge) == ("br-a", "br-b")
    assert (one.peer, other.peer) == (other.name, one.name)
    assert one.name != other.name


def test_there_is_no_pair_without_a_network_on_both_bridges_or_with_its_cable_pulled() -> None:
    asking, there = on("br-a", "br-b"), on("br-b", shared=True)
    assert carried(asking) == {}
    (waits,) = patching.waiting([asking], [asking])
    assert "br-b" in waits
    assert patching.waiting([asking], [asking, there]) == []
    assert carried(asking, there) != {}
    assert carried(asking, on("br-b", "br-a", patch_cable=Cable.DOWN)) == {}
    assert carried(asking, on("br-b", datapath=Datapath.SYSTEM)) == {}


def test_where_a_tree_may_close_any_pair_each_carries_everything() -> None:
    ring = [
        on(one, other, tree=True)
        for one, other in (("br-a", "br-b"), ("br-b", "br-c"), ("br-c", "br-a"))
    ]
    more = on("br-a", "br-b", vlan=20, tree=True)
    aside = on("br-x", "br-y"), on("br-y", shared=True)
    found = carried(*ring, more, *aside)
    assert found.pop("br-x-br-y") == (10,)
    assert set(found.values()) == {(10, 20)}
    assert len(found) == 3


def test_a_vlan_is_on_all_bridges_that_pairs_lead_it_to() -> None:
    networks = [on("br-a", "br-b"), on("br-b", "br-c"), on("br-c", "br-d", vlan=20), on("br-d")]
    pairs = patching.asked(networks)
    assert patching.joined(pairs, "br-a", 10) == {"br-a", "br-b", "br-c"}
    assert patching.joined(pairs, "br-c", 20) == {"br-c", "br-d"}
    pulled = patching.asked([*networks, on("br-b", "br-a", patch_cable=Cable.DOWN)])
    assert patching.joined(pulled, "br-a", 10) == {"br-a"}
    assert patching.joined(pulled, "br-a", 10, pulled=True) == {"br-a", "br-b", "br-c"}
    assert patching.crossing(networks, "br-c") == {10, 20}
    assert patching.crossing(networks, "br-z") == frozenset()


def test_networks_meet_only_if_each_says_so() -> None:
    asking, silent, shared = on("br-a", "br-b"), on("br-b"), on("br-b", shared=True)
    assert f"ovsnet set {silent.id[:12]} ovs.shared=true" in refusal(asking, silent)
    assert "-o ovs.shared=true" in refusal(silent, asking)
    assert refusal(asking, shared) == refusal(shared, asking) == ""
    assert refusal(on("br-b", vlan=11), asking) == ""
    through = on("br-b", "br-c", vlan=10)
    assert "br-c" in refusal(on("br-c"), asking, through)


def test_a_loop_is_refused_unless_all_its_bridges_have_a_tree() -> None:
    one, two = on("br-a", "br-b"), on("br-b", "br-c")
    assert "for ever" in refusal(on("br-c", "br-a"), one, two)
    assert refusal(on("br-c", "br-a", vlan=20), one, two) == ""
    trees = [on("br-a", "br-b", tree=True), on("br-b", "br-c", tree=True)]
    assert refusal(on("br-c", "br-a", tree=True), *trees) == ""
    assert "for ever" in refusal(on("br-c", "br-a"), *trees)
    wired = [on("br-a", "br-b", uplink=Uplink(nics=("eth1",)))]
    assert "by the wire" in refusal(on("br-b", "br-a", uplink=Uplink(nics=("eth2",))), *wired)
    assert refusal(on("br-b", "br-a"), *wired) == ""


@pytest.mark.parametrize(
    ("plan", "bridges", "kind", "words"),
    [
        (on("br-a", "br-a"), (), InvalidOptionError, "own bridge"),
        (on("br-a", patch_cable=Cable.DOWN), (), InvalidOptionError, "needs a patch"),
        (on("br-a", "br-lab"), ("br-lab",), UnsupportedError, "did not make bridge br-lab"),
        (on("br-a", "br-b", adopted=True), (), UnsupportedError, "did not make bridge br-a"),
    ],
)
def test_what_cannot_be_a_patch_is_refused(
    plan: Network, bridges: tuple[str, ...], kind: type[DriverError], words: str
) -> None:
    observed = {
        each: ObservedBridge(name=each, datapath=Datapath.NETDEV, owned=False) for each in bridges
    }
    with pytest.raises(kind, match=words):
        patching.refuse_unfit(plan, (), observed)


def test_bridges_of_two_datapaths_are_not_joined_whoever_asks() -> None:
    kernels, users = on("br-a", "br-b"), on("br-b", shared=True, datapath=Datapath.SYSTEM)
    for plan, other in ((kernels, users), (users, kernels)):
        with pytest.raises(ConflictError, match="a patch joins equals"):
            patching.refuse_unfit(plan, [other], {})
