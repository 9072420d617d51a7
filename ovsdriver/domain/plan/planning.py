"""From what the user typed to a network record: bridge, tag, mode, gateways. Pure.

Everything that can be refused about a new network is refused here, before anything is made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.domain.plan import (
    bridge_features,
    internal_ports,
    mode_planning,
    spanning,
    tunnels,
)
from ovsdriver.domain.records import shaping, vlans
from ovsdriver.domain.records.model import (
    Endpoint,
    HostAccess,
    Mode,
    Network,
    NetworkId,
    Segment,
    Subnet,
)
from ovsdriver.domain.records.port_options import ETHERNET_MTU, PLAIN, PortKind, VlanTag
from ovsdriver.domain.records.requests import (
    NetworkOptions,
    NewNetwork,
    OfferedSubnet,
)
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.records.shaping import Shaping
from ovsdriver.domain.traffic import guarding
from ovsdriver.domain.wires import desired, uplinks
from ovsdriver.domain.wires.observed import ObservedBridge
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

IPV6_MINIMUM_MTU = 1280
"""Bytes; RFC 8200, section 5."""

DEFAULT_PREFIX = "eth"
"""Begin of an interface's name in containers, where the user says none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPool:
    """A pool of our own IPAM that no network has yet."""

    id: PoolId
    space: str
    subnet: IPNetwork
    gateway: IPAddress | None
    gateway_typed: bool
    """The user asked for that gateway; else the IPAM chose one because Docker wanted one."""
    probe: bool = False
    """Its segment is to be asked before an address is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBridge:
    """What the switch has under the wanted name."""

    name: str
    owned: bool
    datapath: Datapath
    tags: frozenset[int] = frozenset()
    """Tags and trunks of its ports that are not ours, but for those of the uplink: an offer."""
    integration: bool = False
    """It belongs to OVN."""
    controllers: int = 0
    rstp: bool = False
    """It speaks RSTP, whoever wants it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoute:
    """A route of the host that a network with a gateway must not overlap."""

    destination: IPNetwork
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """A snapshot of what a new network has to fit into."""

    networks: Sequence[Network]
    pools: Sequence[KnownPool]
    bridge: KnownBridge | None
    routes: Sequence[HostRoute]
    datapaths: Sequence[str]
    """Datapaths that the running vswitchd and this kernel can do."""
    wire_mtu: int | None = None
    """Bytes: the smallest of the adopted bridge's other ports; None: not known."""
    endpoints: Sequence[Endpoint] = ()
    """Of all networks: what their ports carry is not chosen for a new network."""
    ordinary_link: bool = False
    """The host has a link of the bridge's name that is no bridge of Open vSwitch."""
    two_tags: bool = True
    """Open vSwitch looks at two VLAN tags of a frame (``vlan-limit``)."""
    nics: Mapping[str, uplinks.KnownNic] = field(default_factory=dict)
    """The NICs of the uplink, those that there are."""
    current: Network | None = None
    """The network itself, if it stands already: none of ``networks``. See ``replanning``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The part of the configuration that planning needs."""

    bridge: str
    datapath: Datapath | None
    vlans: tuple[int, int]
    mtu: int
    spaces: frozenset[str] = frozenset()
    """The default spaces that our IPAM names to Docker."""
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """First and last tag for automatic choice, by bridge; in the place of ``vlans``."""


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


def plan(new: NewNetwork, around: Surroundings, defaults: Defaults, *, bridge: str) -> Network:
    """Return the record of the network to make on ``bridge``.

    Raises:
        InvalidOptionError: options contradict each other or this network.
        ConflictError: the tag, the pool or the subnet is taken.
        UnsupportedError: this host or this bridge cannot do it.
    """
    options = new.options
    current = around.current
    segment = _segment(new, around, defaults, bridge)
    offered = tuple(each for each in new.subnets if each.cidr.prefixlen > 0)
    mode = _mode(new, offered, outside=segment.adopted or segment.uplink is not None)
    if current is not None:
        subnets = current.subnets
    else:
        subnets = _subnets(offered, mode, options, around.pools, defaults.spaces)
    _refuse_stray_gateways(options, mode, subnets)
    modes = mode_planning.by_family(options, mode, {subnet.family for subnet in subnets})
    mode_planning.refuse_vain(options, modes)
    _refuse_stray_bindings(options, modes, subnets)
    internal = options.port.kind is PortKind.INTERNAL
    mtu = _mtu(options, around, defaults, mode, segment, subnets)
    sharers = [
        each
        for each in around.networks
        if each.segment.bridge == bridge and not each.ended and each.id != new.id
    ]
    bridge_features.refuse_unfit(
        options.features, bridge=bridge, adopted=segment.adopted, sharers=sharers
    )
    probe = current.probe if current is not None else _probe(subnets, around.pools)
    if current is None:
        spanning.refuse_unfit(
            bool(options.features.rstp),
            bridge=bridge,
            adopted=segment.adopted,
            speaks=around.bridge is not None and around.bridge.rstp,
            sharers=sharers,
        )
    if options.features.rstp:
        wire = segment.uplink is not None and not segment.adopted
        spanning.refuse_aside(modes.mode, internal=internal, wire=wire, probe=probe)
        if options.port.guard:
            spanning.refuse_guard()
    limits = Shaping.of(options.port)
    shaping.check(limits, mtu=mtu, internal=internal)
    there = around.bridge.controllers if around.bridge is not None else 0
    guarding.refuse_unfit(
        bridge,
        guard=bool(options.port.guard),
        metered=bool(limits.metered),
        controllers=max(there, len(options.features.controllers)),
    )
    if options.features.controllers:
        _refuse_controller(bridge, new.id, sharers, around.endpoints)
    if internal:
        internal_ports.refuse_long_frames(mtu, segment.datapath)
        if options.interface_prefix is not None:
            internal_ports.refuse_name("ovs.ifprefix", options.interface_prefix, segment.datapath)
    if mode.has_gateway and current is None:
        _refuse_overlaps(subnets, around)
    return Network(
        id=new.id,
        segment=segment,
        mode=modes.mode,
        mode6=modes.mode6,
        subnets=subnets,
        internal=new.internal,
        shared=options.shared,
        masquerade=options.masquerade is not False,
        isolate=bool(options.isolate),
        icc=options.icc,
        host=options.host or HostAccess.ALL,
        bindings=options.bindings,
        probe=probe,
        interface_prefix=options.interface_prefix or DEFAULT_PREFIX,
        port=replace(options.port | PLAIN, mtu=mtu, vlan=None),
        features=options.features,
        options=options.typed,
    )


def _refuse_controller(
    bridge: str, new: NetworkId, sharers: Sequence[Network], endpoints: Iterable[Endpoint]
) -> None:
    """Refuse a controller beside networks, or containers of any, with flows that must hold."""
    for each in sharers:
        metered = bool(Shaping.of(each.port).metered)
        guarding.refuse_controller(
            bridge, f"network {each.id[:12]}", guard=bool(each.port.guard), metered=metered
        )
    networks = {new, *(each.id for each in sharers)}
    for one in endpoints:
        if one.network in networks and not one.ended:
            metered = bool(Shaping.of(one.port).metered)
            guarding.refuse_controller(
                bridge, f"endpoint {one.id[:12]}", guard=bool(one.port.guard), metered=metered
            )


def _segment(new: NewNetwork, around: Surroundings, defaults: Defaults, name: str) -> Segment:
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
            f"bridge {name}, which would be made for this uplink, is there already and not ours; "
            f"to use it as it is say -o ovs.bridge={name}, or name another one"
        )
    tag = _tag(options, name, around, companions, defaults, adopted=adopted)
    if uplink is not None:
        uplinks.check_given(uplink, tag, around.nics)
    datapath = _datapath(options, name, here, companions, around.datapaths, defaults)
    if uplink is not None and uplink.host is not None and datapath is Datapath.NETDEV:
        mtu = min(uplink.host.mtu, ETHERNET_MTU)
        uplink = replace(uplink, host=replace(uplink.host, mtu=mtu))
    tunnels.check(options.port.vlan_mode, options.port.cvlans, tag, two_tags=around.two_tags)
    _refuse_contradicted_trunks(options)
    return Segment(
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
    around: Surroundings,
    companions: Sequence[Network],
    defaults: Defaults,
    *,
    adopted: bool,
) -> VlanTag:
    current = around.current
    wanted = options.port.vlan
    if current is not None and (wanted, options.shared) == (
        current.segment.tag,
        current.shared,
    ):
        return current.segment.tag
    ours: dict[int, Network] = {
        each.segment.tag: each for each in companions if each is not current
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
                "-o ovs.shared=true to put both networks on one segment"
            )
        return wanted
    outside = adopted or options.uplink or uplinks.uplinked(companions) is not None
    if outside and name not in defaults.ranges:
        why = "is not ours" if adopted else "has an uplink"
        raise InvalidOptionError(
            f"bridge {name} {why}, so its VLAN must be said: -o ovs.vlan=1..4094, "
            "or -o ovs.vlan=none for untagged; or give the bridge a range in ovsnet.toml"
        )
    here = around.bridge
    foreign = here.tags if here else frozenset()
    carried = _carried(companions, around.endpoints) | set(options.port.trunks)
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


def _mode(new: NewNetwork, offered: Sequence[OfferedSubnet], *, outside: bool) -> Mode:
    wanted = new.options.mode
    if new.internal:
        if wanted not in (None, Mode.ISOLATED):
            raise InvalidOptionError(
                f"--internal and ovs.mode={wanted} contradict each other: an internal network has "
                "no way out; leave one of them away"
            )
        return Mode.ISOLATED
    if wanted is not None:
        return wanted
    # Without any subnet (--ipam-driver null) there is no gateway to be: plain layer 2 is what
    # can be given.
    return Mode.FLAT if outside or not offered else Mode.NAT


def _subnets(
    offered: Sequence[OfferedSubnet],
    mode: Mode,
    options: NetworkOptions,
    pools: Sequence[KnownPool],
    spaces: frozenset[str],
) -> tuple[Subnet, ...]:
    if mode.has_gateway and not offered:
        raise InvalidOptionError(
            f"ovs.mode={mode} needs a subnet and a gateway, and this network has none; "
            "use --ipam-driver ovsipam, or -o ovs.mode=flat"
        )
    subnets = []
    for each in offered:
        pool = _bound_pool(each, options.space, pools, spaces)
        subnets.append(
            Subnet(
                cidr=each.cidr.cidr,
                gateway=_gateway(each, mode, options, pool),
                space=pool.space if pool else each.space,
                pool=pool.id if pool else None,
                auxiliary=each.auxiliary,
            )
        )
    return tuple(subnets)


def _bound_pool(
    offered: OfferedSubnet,
    space: str | None,
    pools: Sequence[KnownPool],
    spaces: frozenset[str],
) -> KnownPool | None:
    """Find the pool behind a subnet: Docker repeats its space, subnet and gateway, not its id."""
    same = [
        pool
        for pool in pools
        if pool.subnet == offered.cidr.cidr
        and (pool.gateway is None or offered.gateway is None or pool.gateway == offered.gateway)
    ]
    if space is not None:
        fitting = [pool for pool in same if pool.space == space]
        if not fitting:
            raise InvalidOptionError(
                f"ovs.space={space}: no pool {offered.cidr.cidr} waits in that address space; say "
                f"the same to the IPAM with --ipam-opt ipam.space={space}, or leave ovs.space out"
            )
    else:
        fitting = [pool for pool in same if pool.space == offered.space]
        if not fitting and offered.space in spaces:
            # With --ipam-opt ipam.space=NAME alone Docker still names our default space. A space
            # that is none of ours means another IPAM, whose subnet may be the same by chance.
            fitting = same
    if len(fitting) > 1:
        raise ConflictError(
            f"{offered.cidr.cidr} waits in more than one address space "
            f"({', '.join(sorted(pool.space for pool in fitting))}); say which with -o ovs.space="
        )
    return fitting[0] if fitting else None


def _gateway(
    offered: OfferedSubnet, mode: Mode, options: NetworkOptions, pool: KnownPool | None
) -> IPAddress | None:
    if mode is Mode.ISOLATED:
        return None
    if mode is Mode.GWBRIDGE:
        if pool is not None and pool.gateway_typed:
            mode_planning.refuse_gateway(f"--gateway {offered.gateway}")
        return None
    said = next((g for g in options.gateways if g in offered.cidr.cidr), None)
    if mode is Mode.FLAT:
        # Docker asks for a gateway on every network; only a typed one is there for real.
        return said or (offered.gateway if pool is not None and pool.gateway_typed else None)
    if offered.gateway is None:
        raise InvalidOptionError(
            f"ovs.mode={mode}: subnet {offered.cidr.cidr} came without a gateway; "
            "add --gateway ADDRESS, or use -o ovs.mode=flat"
        )
    if said not in (None, offered.gateway):
        raise InvalidOptionError(
            f"ovs.gateway={said} and the gateway {offered.gateway} from the IPAM differ; "
            f"with ovs.mode={mode} say it once, with --gateway {said}"
        )
    if offered.gateway not in offered.cidr.cidr:
        raise InvalidOptionError(
            f"gateway {offered.gateway} is outside of the subnet {offered.cidr.cidr}; "
            "choose one inside with --gateway"
        )
    return offered.gateway


def _probe(subnets: Sequence[Subnet], pools: Sequence[KnownPool]) -> bool:
    bound = {subnet.pool for subnet in subnets}
    return any(pool.probe for pool in pools if pool.id in bound)


def _refuse_stray_gateways(options: NetworkOptions, mode: Mode, subnets: Sequence[Subnet]) -> None:
    for gateway in options.gateways:
        if mode is Mode.ISOLATED:
            raise InvalidOptionError(
                f"ovs.gateway={gateway}: an isolated or internal network has no gateway; "
                "leave the option out, or use -o ovs.mode=flat"
            )
        if mode is Mode.GWBRIDGE:
            mode_planning.refuse_gateway(f"ovs.gateway={gateway}")
        if not any(gateway in subnet.cidr for subnet in subnets):
            raise InvalidOptionError(
                f"ovs.gateway={gateway} lies in no subnet of this network "
                f"({', '.join(str(s.cidr) for s in subnets) or 'it has none'})"
            )


def _refuse_stray_bindings(
    options: NetworkOptions, modes: mode_planning.Modes, subnets: Sequence[Subnet]
) -> None:
    families = {subnet.family for subnet in subnets}
    for address in options.bindings:
        mode = modes.mode_of(address.version)
        if mode is not Mode.NAT:
            raise InvalidOptionError(
                f"com.docker.network.bridge.host_binding_ipv4={address}: a network with "
                f"ovs.mode={mode} publishes no ports on this host; leave the option out, or make "
                "the network with ovs.mode=nat"
            )
        if address.version not in families:
            raise InvalidOptionError(
                f"com.docker.network.bridge.host_binding_ipv4={address}: the network has no "
                f"IPv{address.version} subnet, so nothing could be published there; name an "
                "address of its own family, or leave the option out"
            )


def _mtu(
    options: NetworkOptions,
    around: Surroundings,
    defaults: Defaults,
    mode: Mode,
    segment: Segment,
    subnets: Sequence[Subnet],
) -> int:
    wire = uplinks.smallest_mtu(segment.uplink, around.nics)
    tunnel = options.port.tunnels
    if wire is not None and tunnel:
        wire -= tunnels.INNER_TAG_BYTES
    mtu = options.port.mtu or wire or around.wire_mtu or defaults.mtu
    if wire is not None and mtu > wire and segment.uplink is not None:
        nics = segment.uplink.nics
        inner = tunnels.INNER_TAG_BYTES if tunnel else 0
        raise InvalidOptionError(
            f"ovs.mtu={mtu}: the uplink {'+'.join(nics)} carries {wire} bytes"
            f"{' beside a customer tag' if tunnel else ''}; choose no more, or raise it "
            f"first: {'; '.join(f'ip link set {nic} mtu {mtu + inner}' for nic in nics)}"
        )
    if mtu < IPV6_MINIMUM_MTU and any(subnet.family == 6 for subnet in subnets):
        raise InvalidOptionError(
            f"ovs.mtu={mtu}: IPv6 needs at least {IPV6_MINIMUM_MTU} bytes; "
            "choose more, or leave --ipv6 out"
        )
    if mtu > ETHERNET_MTU and mode.has_gateway and segment.datapath is Datapath.NETDEV:
        raise UnsupportedError(
            f"ovs.mtu={mtu}: on the userspace datapath a gateway loses frames of more than "
            f"{ETHERNET_MTU} bytes; choose at most {ETHERNET_MTU}, or -o ovs.mode=flat or isolated"
        )
    return mtu


def _refuse_overlaps(subnets: Iterable[Subnet], around: Surroundings) -> None:
    held = {
        other.cidr: network
        for network in around.networks
        if network.mode.has_gateway
        for other in network.subnets
    }
    for subnet in subnets:
        for cidr, network in held.items():
            if overlap(subnet.cidr, cidr):
                raise ConflictError(
                    f"{subnet.cidr} overlaps {cidr} of network {network.id[:12]}, and the host "
                    "holds the gateway of both; choose another --subnet, or -o ovs.mode=isolated "
                    "or flat for networks that repeat a subnet"
                )
        for route in around.routes:
            if route.destination.prefixlen and overlap(subnet.cidr, route.destination):
                raise ConflictError(
                    f"{subnet.cidr} overlaps the host's route to {route.destination} via "
                    f"{route.link or 'another host'}; choose another --subnet, or -o ovs.mode=flat "
                    "or isolated, which put nothing on the host"
                )


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two subnets of any family share an address."""
    return bool(
        one.version == other.version and one.first <= other.last and other.first <= one.last
    )


def foreign_tags(ports: Iterable[tuple[int | None, Sequence[int]]]) -> frozenset[int]:
    """Return the tags that ports of others use, from their ``tag`` and ``trunks``."""
    return frozenset(
        tag for own, trunks in ports for tag in ((own,) if own is not None else trunks)
    )
