"""Bridges of ours that are joined by pairs of patch ports, and what may not be joined. Pure.

A pair carries the VLANs of the networks that ask for it, and no others. RSTP closes a port for all
VLANs at once, so among bridges that speak it every pair carries all that any of them carries.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.options import features
from ovsdriver.domain.records.options.port_options import Cable, VlanMode, VlanTag
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort
from ovsdriver.domain.wires.plumbing import Port
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

Bridges = tuple[str, str]
"""The names of two, sorted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Two bridges that networks want to be joined."""

    bridges: Bridges
    vlans: frozenset[VlanTag]
    """What crosses; 0 is the segment without a tag."""
    pulled: bool = False
    """A network that asks for it has its cable pulled."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ports, each the other's peer."""

    ends: tuple[Port, Port]

    @property
    def bridges(self) -> Bridges:
        """Return what it joins."""
        one, other = self.ends
        return one.bridge, other.bridge


def asked(networks: Iterable[Network]) -> Sequence[Asked]:
    """Return what all of ``networks`` ask for together, also of bridges that are not there yet."""
    standing = [each for each in networks if not each.ended]
    vlans: dict[Bridges, frozenset[VlanTag]] = {}
    pulled: set[Bridges] = set()
    for network in standing:
        for peer in network.patches:
            bridges = _sorted(network.segment.bridge, peer)
            vlans[bridges] = vlans.get(bridges, frozenset()) | _carried(network)
            if network.patch_cable is Cable.DOWN:
                pulled.add(bridges)
    trees = _trees(standing) if vlans else frozenset()
    for group in _groups([each for each in vlans if trees.issuperset(each)]):
        inside = [each for each in vlans if group.issuperset(each)]
        together = frozenset[VlanTag]().union(*(vlans[each] for each in inside))
        vlans |= dict.fromkeys(inside, together)
    return [Asked(each, vlans[each], each in pulled) for each in sorted(vlans)]


def pairs(networks: Collection[Network], *, owner: str) -> Sequence[Pair]:
    """Return the pairs that there should be: plugged in, with networks of ours on both bridges."""
    wanted = asked(networks)
    if not wanted:
        return ()
    paths = {
        each.segment.bridge: each.segment.datapath
        for each in networks
        if not each.ended and not each.segment.adopted
    }
    trees = _trees(networks)
    return [
        Pair((_end(one, other, each, trees, owner), _end(other, one, each, trees, owner)))
        for each in wanted
        for one, other in [each.bridges]
        if not each.pulled and one in paths and paths[one] is paths.get(other)
    ]


def joined(
    pairs: Iterable[Asked], bridge: str, vlan: int | None, *, pulled: bool = False
) -> frozenset[str]:
    """Return the bridges that a VLAN of ``bridge`` reaches, itself among them.

    ``pulled``: also those that it would reach if no cable were pulled.
    """
    return _group_of(
        bridge, [each.bridges for each in pairs if vlan in each.vlans and pulled >= each.pulled]
    )


def crossing(networks: Iterable[Network], bridge: str) -> frozenset[VlanTag]:
    """Return the VLANs that cross ``bridge`` by its pairs, whoever they are of."""
    here = (each.vlans for each in asked(networks) if bridge in each.bridges)
    return frozenset[VlanTag]().union(*here)


def waiting(asking: Iterable[Network], networks: Iterable[Network]) -> Sequence[str]:
    """Return a clause for each bridge that is to be joined and has no network of ours on it."""
    there = {each.segment.bridge for each in networks if not each.ended}
    return [
        f"network {each.id[:12]}: ovs.patch={peer}, and no network of ovsnet is on that bridge"
        for each in asking
        if not each.ended
        for peer in each.patches
        if peer not in there
    ]


def lacks(pair: Pair, ports: Mapping[str, ObservedPort]) -> str:
    """Return what is to be mended of a pair; empty if it is as it should be."""
    for wanted in pair.ends:
        port = ports.get(wanted.name)
        if port is None:
            return f"port {wanted.name} is not there"
        marks = all(port.external_ids.get(key) == text for key, text in wanted.external_ids.items())
        for right, why in (
            (port.bridge == wanted.bridge, f"is on bridge {port.bridge}"),
            (port.peer == wanted.peer, "leads elsewhere"),
            (
                (port.vlan_mode, port.tag, port.trunks) == (wanted.vlan_mode, None, wanted.trunks),
                "carries other VLANs",
            ),
            (port.tree is wanted.tree, "is in or out of the spanning tree"),
            (marks, "has lost ovsnet's marks"),
            (not port.error, port.error),
        ):
            if not right:
                return f"port {wanted.name} {why}"
    return ""


def refuse_unfit(
    plan: Network, networks: Iterable[Network], bridges: Mapping[str, ObservedBridge]
) -> None:
    """Refuse a network whose patches, or those of others, would join what must stay apart.

    Args:
        plan: the network, new or with other options.
        networks: all others.
        bridges: what the switch has.

    Raises:
        InvalidOptionError: it names its own bridge, or it has a pulled cable and no patch.
        UnsupportedError: a bridge is somebody else's.
        ConflictError: bridges have different datapaths, networks would meet that do not say that
            they may, or frames would go round.
    """
    others = [each for each in networks if not each.ended and each.id != plan.id]
    if plan.patch_cable is not None and not plan.patches:
        raise InvalidOptionError(
            f"ovs.patch_link={plan.patch_cable} needs a patch, and this network has none; add "
            "-o ovs.patch=BRIDGE, or leave the option out"
        )
    if not plan.patches and not any(each.patches for each in others):
        return
    for peer in plan.patches:
        _refuse_peer(plan, peer, others, bridges)
    _refuse_paths(plan, others)
    together = [*others, plan]
    edges = asked(together)
    for vlan in sorted(_carried(plan)):
        carrying = [each.bridges for each in edges if vlan in each.vlans]
        group = _group_of(plan.segment.bridge, carrying)
        if len(group) < 2:
            continue
        on_it = [each for each in together if each.segment.bridge in group]
        members = [each for each in on_it if vlan in each.segment.vlans]
        _refuse_unasked(plan, vlan, members)
        _refuse_loop(vlan, [each for each in carrying if group.issuperset(each)], on_it)
        _refuse_two_wires(vlan, members)


def _refuse_peer(
    plan: Network, peer: str, others: Sequence[Network], bridges: Mapping[str, ObservedBridge]
) -> None:
    own = plan.segment.bridge
    if peer == own:
        raise InvalidOptionError(
            f"ovs.patch={peer}: that is the network's own bridge; name another one"
        )
    known = {each.segment.bridge: each.segment.adopted for each in others}
    for bridge in (own, peer):
        observed = bridges.get(bridge)
        foreign = known.get(bridge, False) if observed is None else not observed.owned
        if foreign or (bridge == own and plan.segment.adopted):
            raise UnsupportedError(
                f"ovs.patch={peer}: ovsnet did not make bridge {bridge} and puts no patch on it; "
                "join it yourself with ovs-vsctl, or name a bridge of ovsnet's"
            )


def _refuse_paths(plan: Network, others: Sequence[Network]) -> None:
    """Refuse to join bridges of different datapaths: no packet would get across."""
    paths = {each.segment.bridge: each.segment.datapath for each in [*others, plan]}
    for each in asked([*others, plan]):
        one, other = each.bridges
        if plan.segment.bridge in each.bridges and paths.get(one) is not paths.get(
            other, paths.get(one)
        ):
            if one not in paths:
                continue
            raise ConflictError(
                f"ovs.patch: bridge {one} has datapath {paths[one]} and {other} has "
                f"{paths[other]}, and a patch joins equals; make both with one ovs.datapath"
            )


def _refuse_unasked(plan: Network, vlan: VlanTag, members: Sequence[Network]) -> None:
    """Refuse that networks meet in one VLAN of several bridges, unless each says that it may."""
    if len({each.segment.bridge for each in members}) < 2:
        return
    name = f"VLAN {vlan or 'none'}"
    for each in members:
        if each.patches or each.shared:
            continue
        bridge = each.segment.bridge
        if each is plan:
            raise ConflictError(
                f"{name} of bridge {bridge} is joined to other bridges by patches; choose another "
                "with -o ovs.vlan=, or add -o ovs.shared=true to share the segment"
            )
        raise ConflictError(
            f"{name} of bridge {bridge} has network {each.id[:12]}, which a patch would join; "
            f"choose another VLAN, or let it: ovsnet set {each.id[:12]} ovs.shared=true"
        )


def _refuse_loop(vlan: VlanTag, edges: Sequence[Bridges], on_it: Sequence[Network]) -> None:
    """Refuse a loop that no spanning tree opens. Of bridges without networks nobody knows yet."""
    group = {bridge for each in edges for bridge in each}
    plain = {each.segment.bridge for each in on_it} - _trees(on_it)
    if len(edges) >= len(group) and plain:
        raise ConflictError(
            f"ovs.patch: frames of VLAN {vlan or 'none'} would go round {', '.join(sorted(group))} "
            f"for ever; say -o ovs.rstp=containers on all of them, or leave a patch out"
        )


def _refuse_two_wires(vlan: VlanTag, members: Sequence[Network]) -> None:
    wired = sorted({each.segment.bridge for each in members if each.segment.uplink is not None})
    if len(wired) > 1:
        raise ConflictError(
            f"ovs.patch: VLAN {vlan or 'none'} would have an uplink on {' and on '.join(wired)}, "
            "and frames could go round by the wire; leave the patch or an uplink out"
        )


def _end(bridge: str, peer: str, pair: Asked, trees: Collection[str], owner: str) -> Port:
    return Port(
        name=names.patch_port(bridge, peer),
        bridge=bridge,
        tag=None,
        vlan_mode=VlanMode.TRUNK,
        trunks=tuple(sorted(pair.vlans)),
        tree=bridge in trees,
        peer=names.patch_port(peer, bridge),
        external_ids=names.patch_ids(owner),
    )


def _carried(network: Network) -> frozenset[VlanTag]:
    """Return what a network has its pairs carry: its own VLAN, and what its containers may see."""
    return network.segment.vlans | frozenset(network.port.trunks if network.patches else ())


def _trees(networks: Iterable[Network]) -> frozenset[str]:
    """Return the bridges that speak RSTP."""
    here: dict[str, list[Network]] = {}
    for each in networks:
        if not each.ended:
            here.setdefault(each.segment.bridge, []).append(each)
    return frozenset(
        bridge
        for bridge, on_it in here.items()
        if features.combined(each.features for each in on_it).rstp
    )


def _groups(edges: Sequence[Bridges]) -> Iterator[frozenset[str]]:
    """Yield the bridges that hang together, those of each group at once."""
    left = {bridge for each in edges for bridge in each}
    while left:
        group = _group_of(min(left), edges)
        left -= group
        yield group


def _group_of(bridge: str, edges: Sequence[Bridges]) -> frozenset[str]:
    group, grown = {bridge}, True
    while grown:
        near = {each for pair in edges if group & set(pair) for each in pair}
        grown = not near <= group
        group |= near
    return frozenset(group)


def _sorted(one: str, other: str) -> Bridges:
    return (one, other) if one < other else (other, one)
