"""From what the user typed to a VLAN of a bridge: which bridge, tag, datapath, uplink. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ovsdriver.domain.plan.bridges import tunnels
from ovsdriver.domain.plan.inputs import Defaults, KnownBridge, PlanInputs
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.records.options.port_options import ETHERNET_MTU, VlanTag
from ovsdriver.domain.records.requests import (
    NetworkOptions,
    NewNetwork,
)
from ovsdriver.domain.records.segments import Datapath, VlanSegment
from ovsdriver.domain.wires import desired, patching, uplinks
from ovsdriver.domain.wires.observed import ObservedBridge
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError


def bridge_name(
    options: NetworkOptions,
    defaults: Defaults,
    networks: Iterable[Network],
    bridges: Mapping[str, ObservedBridge],
) -> str:
    """Return the bridge that a network with these options is on."""
    if options.bridge:
        return options.bridge
    if options.uplink:
        return uplinks.bridge_of(options.uplink, networks, bridges)
    return defaults.bridge


def choose(new: NewNetwork, around: PlanInputs, defaults: Defaults, name: str) -> VlanSegment:
    """Return the segment of a network on bridge ``name``.

    Raises:
        InvalidOptionError: options contradict each other or the bridge.
        ConflictError: the VLAN or the bridge is somebody's.
        UnsupportedError: this host or this bridge cannot do it.
    """
    options = new.options
    here = around.bridge
    if here is not None and here.integration:
        raise UnsupportedError(
            f"bridge {name} is OVN's integration bridge, whose ports and flows OVN owns; "
            "name another one with -o ovs.bridge=NAME"
        )
    if here is None and around.ordinary_link:
        raise UnsupportedError(
            f"{name} is an ordinary link of this host and no bridge of Open vSwitch; name another "
            "one with -o ovs.bridge=NAME"
        )
    companions = [each for each in around.networks if each.segment.bridge == name]
    if around.current is not None:
        companions.append(around.current)
    adopted = not here.owned if here is not None else any(c.segment.adopted for c in companions)
    if adopted and here is None:
        raise UnsupportedError(
            f"bridge {name} was adopted by earlier networks and is not there now; "
            f"make it again (ovs-vsctl add-br {name}) or name another one with -o ovs.bridge=NAME"
        )
    uplink = (
        uplinks.rebonded(
            around.current.segment.uplink,
            options,
            [each for each in companions if each is not around.current],
        )
        if around.current is not None
        else uplinks.choose(
            options, internal=new.internal, bridge=name, networks=around.networks, nics=around.nics
        )
    )
    if uplink is not None and not uplink.given and adopted and not options.bridge:
        raise ConflictError(
            f"bridge {name}, the name for this uplink's bridge, exists and ovsnet did not make it; "
            f"use it as it is with -o ovs.bridge={name}, or choose another name"
        )
    uplinks.refuse_unpluggable(options.uplink_cable, uplink)
    uplinks.refuse_unrated(options.uplink_rate, uplink)
    tag = _tag(options, name, around, companions, defaults, adopted=adopted)
    if uplink is not None:
        uplinks.check_given(uplink, tag, around.nics)
    datapath = _datapath(options, name, here, companions, around.datapaths, defaults)
    if uplink is not None and uplink.host is not None and datapath is Datapath.NETDEV:
        mtu = min(uplink.host.mtu, ETHERNET_MTU)
        uplink = replace(uplink, host=replace(uplink.host, mtu=mtu))
    tunnels.check(options.port.vlan_mode, options.port.cvlans, tag, two_tags=around.two_tags)
    _refuse_contradicted_trunks(options)
    return VlanSegment(
        bridge=name,
        tag=tag,
        adopted=adopted,
        datapath=datapath,
        uplink=uplink,
    )


def _refuse_contradicted_trunks(options: NetworkOptions) -> None:
    said = options.port
    if said.trunks and said.vlan_mode is not None:
        raise InvalidOptionError(
            f"ovs.trunks={vlans.text(said.trunks)} and ovs.vlan_mode={said.vlan_mode} "
            "contradict each other: containers of this network see the listed VLANs beside its own "
            "(native-untagged); leave one of them out, or say both of single containers"
        )


def _datapath(
    options: NetworkOptions,
    name: str,
    here: KnownBridge | None,
    companions: Sequence[Network],
    available: Sequence[str],
    defaults: Defaults,
) -> Datapath:
    settled = here.datapath if here else next((c.segment.datapath for c in companions), None)
    if settled is not None:
        if options.datapath not in (None, settled):
            raise ConflictError(
                f"ovs.datapath={options.datapath}: bridge {name} exists with datapath {settled}; "
                "leave the option out, or name another bridge with -o ovs.bridge=NAME"
            )
        return settled
    wanted = options.datapath or defaults.datapath
    if wanted is None:
        return Datapath.SYSTEM if Datapath.SYSTEM in available else Datapath.NETDEV
    if available and wanted not in available:
        raise UnsupportedError(
            f"ovs.datapath={wanted}: Open vSwitch on this host offers {', '.join(available)}; "
            "load the kernel module (modprobe openvswitch) and restart Open vSwitch, "
            "or leave the option out"
        )
    return wanted


def _tag(
    options: NetworkOptions,
    name: str,
    around: PlanInputs,
    companions: Sequence[Network],
    defaults: Defaults,
    *,
    adopted: bool,
) -> VlanTag:
    current, wanted = around.current, options.port.vlan
    kept = (current.segment.tag, current.shared) if current is not None else None
    if wanted is not None and kept == (wanted, options.shared):
        return wanted
    ours: dict[int, Network] = {
        vlan: each for each in companions if each is not current for vlan in each.segment.vlans
    }
    if wanted is not None:
        other = ours.get(wanted)
        if other is not None and other.ended:
            raise ConflictError(
                f"VLAN {wanted or 'none'} on bridge {name} is still being freed from network "
                f"{other.id[:12]}, which was removed; `ovsnet status` shows what that waits for"
            )
        if other is not None and not options.shared:
            raise ConflictError(
                f"VLAN {wanted or 'none'} on bridge {name} carries network {other.id[:12]} "
                "already; choose another with -o ovs.vlan=, leave it out for a free one, or add "
                "-o ovs.shared=true to share the segment"
            )
        return wanted
    if options.patches:
        raise InvalidOptionError(
            f"ovs.patch={'+'.join(options.patches)} joins one VLAN of several bridges, so name it: "
            "-o ovs.vlan=1..4094, or -o ovs.vlan=none for untagged"
        )
    outside = adopted or options.uplink or uplinks.uplinked(name, companions) is not None
    if outside and name not in defaults.ranges:
        why = "was not made by ovsnet" if adopted else "has an uplink"
        raise InvalidOptionError(
            f"bridge {name} {why}, so name the VLAN: -o ovs.vlan=1..4094, or -o ovs.vlan=none for "
            "untagged; or give the bridge a range in ovsnet.toml"
        )
    here = around.bridge
    foreign = here.tags if here else frozenset()
    carried = _carried(companions, around.endpoints) | set(options.port.trunks)
    carried |= patching.crossing(around.networks, name)
    first, last = defaults.ranges.get(name, defaults.vlans)
    for tag in range(first, last + 1):
        if tag not in ours and tag not in foreign and tag not in carried:
            return VlanTag(tag)
    raise ConflictError(
        f"no VLAN of {first} to {last} is free on bridge {name}; remove a network"
        f"{' or a container with ovs.trunks' if carried else ''}, widen `vlans` in ovsnet.toml, "
        "choose one with -o ovs.vlan=, or name another bridge with -o ovs.bridge=NAME"
    )


def _carried(companions: Sequence[Network], endpoints: Sequence[Endpoint]) -> frozenset[int]:
    """Return the VLANs that networks and containers were let into by name on one bridge.

    A network that does not say its VLAN must not come to be one that a trunk sees already.
    """
    homes = {network.id: network for network in companions}
    return frozenset(vlan for network in companions for vlan in network.port.trunks) | frozenset(
        vlan
        for each in endpoints
        if not each.ended and each.network in homes
        for vlan in desired.carried(homes[each.network], each)
    )


def foreign_tags(ports: Iterable[tuple[int | None, Sequence[int]]]) -> frozenset[int]:
    """Return the tags that ports of others use, from their ``tag`` and ``trunks``."""
    return frozenset(
        tag for own, trunks in ports for tag in ((own,) if own is not None else trunks)
    )
