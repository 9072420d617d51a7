"""Why containers do or do not reach each other or this host, from what is known of it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.tracing.hops import (
    OUTSIDE,
    THIS_HOST,
    Hop,
    Kind,
    Place,
    Question,
    bad,
    good,
    sentence,
    unsure,
    up_to_the_first_stop,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a container has of its network, looked at from inside."""

    up: bool
    addresses: tuple[IPNetwork, ...]
    way: IPNetwork | None
    """The route that it takes to the other; None: it has none."""
    through_this: bool
    """That route leaves by this interface."""
    listens: bool | None = None
    """Somebody listens on the port that was asked about; None: not asked."""
    mac: EUI | None = None
    """Of its interface on this network, as it is now."""
    leaves: EUI | None = None
    """MAC of the interface that the route leaves by; None: not known."""
    via: IPAddress | None = None
    """The router of that route; None: the other is on the link, or not known."""
    source: IPAddress | None = None
    """The address that it sends with; None: not known."""
    mtu: int = 0
    """Of the interface that the route leaves by; 0: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A container on a network."""

    name: str
    network: str
    """Name of its network."""
    network_id: str
    state: str
    """As ``ovsnet endpoint ls`` has it; ``attached`` is well."""
    fault: str
    addresses: tuple[IPNetwork, ...]
    bridge: str
    vlan: int | None
    mode: str
    isolate: bool
    icc: bool
    protected: bool
    sink: bool
    inside: Inside | None
    """None: its namespace could not be entered."""
    closed: str = ""
    """The option by which its network has no way out; empty: none does."""
    has_wire: bool = False
    """Its bridge is known to lead to a wire, or may: an uplink, or somebody's bridge."""
    wire_pulled: bool = False
    """The cable of its network's uplink is."""
    gateway_link: str = ""
    """The host's device on its network, by which it need not be the gateway; empty: none."""
    router: str = ""
    """The container, or its address, that is the way out of a network without a wire."""
    segment: str = ""
    """Name of the segment that its network is; empty: it ends on this host."""
    home_vlan: int | None = None
    """VLAN of its network, where that of its own is another one."""
    joined: frozenset[str] = frozenset()
    """The other bridges that its VLAN is on, by patches."""
    pulled: frozenset[str] = frozenset()
    """Those that it would be on as well, were no patch pulled."""

    @property
    def place(self) -> Place:
        """Return where it is."""
        return Place(name=self.name, kind=Kind.CONTAINER)

    @property
    def plug(self) -> Place:
        """Return what it is plugged into."""
        if self.segment:
            return Place(name=self.segment, kind=Kind.SEGMENT)
        return Place(name=self.bridge, kind=Kind.BRIDGE)

    @property
    def full_name(self) -> str:
        """Return what to type for it there: ``lab/web``."""
        return f"{self.network}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FarPlace:
    """An address of the segment, which another host's container may have."""

    address: IPAddress
    container: str = ""
    """Name of who has it; empty: not known."""
    host: str = ""
    """Where that is; empty: nobody has the address."""
    hears: bool | None = None
    """That host does what OVN says; None: it could not be asked."""
    apart: bool = False
    """OVN keeps it from other containers that are kept apart."""

    @property
    def name(self) -> str:
        """Return what it is called."""
        return (
            f"{self.container or self.address} on {self.host}" if self.host else str(self.address)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridged:
    """What Open vSwitch says that it does with such a packet (``ofproto/trace``)."""

    actions: str
    """``drop``, or where it goes; empty: it could not be asked."""
    by: str = ""
    """The option whose flow drops it; empty: not known, or none of ours."""


def family(a: End, b: End) -> int | None:
    """Return the family that both have addresses of, IPv4 before IPv6."""
    for version in (4, 6):
        if all(any(e.version == version for e in end.addresses) for end in (a, b)):
            return version
    return None


def address(end: End, version: int) -> IPNetwork:
    """Return its address of a family that it has."""
    return next(each for each in end.addresses if each.version == version)


def together(a: End, b: End) -> bool:
    """Whether both are in one VLAN of one bridge or of joined ones, or on one segment."""
    if a.segment or b.segment:
        return a.segment == b.segment
    near = b.bridge == a.bridge or b.bridge in a.joined | a.pulled
    return near and a.vlan == b.vlan and a.vlan is not None


def trace(
    a: End,
    b: End,
    asked: Question,
    bridged: Bridged | None,
    version: int | None = None,
    *,
    judged: Sequence[Hop] = (),
) -> Sequence[Hop]:
    """Return what was looked at on the way from ``a`` to ``b``, up to the first that stops it.

    Args:
        a: who sends.
        b: who is to get it.
        asked: the protocol, and the port.
        bridged: what the bridge does; None: not asked, as both are not in one VLAN.
        version: 4 or 6, which both have addresses of; None: see :func:`family`.
        judged: what access rules say of it.
    """
    return up_to_the_first_stop(_between(a, b, asked, bridged, version or family(a, b), judged))


def trace_far(a: End, to: FarPlace, asked: Question, bridged: Bridged | None) -> Sequence[Hop]:
    """Return what was looked at on the way from ``a`` to another host, as :func:`trace`."""
    return up_to_the_first_stop(_to_far(a, to, asked, bridged))


def verdict(a: End, b: End | FarPlace, asked: Question, hops: Sequence[Hop]) -> str:
    """Return the one sentence that matters."""
    return sentence(a.name, b.name, asked, hops)


def _between(
    a: End,
    b: End,
    asked: Question,
    bridged: Bridged | None,
    version: int | None,
    judged: Sequence[Hop],
) -> Iterator[Hop]:
    yield from map(attached, (a, b))
    if version is None:
        yield bad(
            a.place,
            f"{a.name} has {_families(a)} and {b.name} {_families(b)}; give both networks a subnet "
            "of one family",
        )
        return
    yield good(a.place, f"{a.name} has {address(a, version)}, {b.name} {address(b, version)}")
    for end, other in ((a, b), (b, a)):
        yield from inside(end, address(other, version).ip)
    yield from (_in_one_vlan(a, b, bridged, judged) if together(a, b) else _apart(a, b))
    yield from listening(b, asked)


def on_its_own_network(end: End, target: IPAddress) -> Iterator[Hop]:
    """Tell of an address of its own network that no container of ours has."""
    if end.wire_pulled:
        yield _no_wire(end)
    elif end.has_wire:
        yield unsure(
            OUTSIDE,
            f"{target} is on the wire of {end.network}, of which ovsnet knows nothing",
        )
    else:
        yield bad(
            end.plug,
            f"nobody on {end.network} has {target}; `ovsnet endpoint ls` lists all addresses",
        )


def _no_wire(end: End) -> Hop:
    return bad(
        end.plug,
        f"the cable of the uplink of {end.bridge} is pulled; `ovsnet set {end.network} "
        "ovs.uplink_link=up` plugs it in, unless another network has pulled it",
        by="ovs.uplink_link=down",
    )


def no_such_family(end: End, family: int) -> Hop:
    """Tell that a container has no address of a family."""
    return bad(
        end.place,
        f"{end.name} has {_families(end)} only, and this is about IPv{family or 4}; ask about an "
        "address of that family",
    )


def listening(end: End, asked: Question) -> Iterator[Hop]:
    """Tell whether somebody listens in a container, if that was asked."""
    if end.inside is None or end.inside.listens is None:
        return
    yield (
        good(end.place, f"a program listens on {asked} in {end.name}")
        if end.inside.listens
        else bad(end.place, f"nobody listens on {asked} in {end.name}; start what should")
    )


def attached(end: End) -> Hop:
    """Tell whether a container is plugged in, and gets what is sent to it."""
    if end.state != "attached":
        why = end.fault or f"its endpoint is {end.state}"
        return bad(end.place, f"{end.name} is not plugged in: {why}; `ovsnet status` tells more")
    if end.sink:
        return bad(
            end.place,
            f"{end.name} gets mirrored packets on {end.network} and nothing else (ovs.sink); use "
            "another network of it",
            by=f"ovs.sink of {end.full_name}",
        )
    where = f"segment {end.segment}" if end.segment else f"VLAN {end.vlan or 'none'}"
    return good(end.place, f"{end.name} is plugged into {end.bridge}, {where}, for {end.network}")


def inside(end: End, target: IPAddress) -> Iterator[Hop]:
    """Tell what a container has of its address, and of a route to ``target``."""
    found = end.inside
    if found is None:
        yield good(
            end.place, f"what {end.name} has inside is not known: run this as root on its host"
        )
        return
    own = address(end, target.version)
    if not found.up:
        yield bad(
            end.place, f"the interface of {end.name} on {end.network} is down; set it up inside"
        )
    if own not in found.addresses:
        yield bad(
            end.place,
            f"{end.name} does not have its address {own} inside any more; restart the container",
        )
    if found.way is None and end.closed:
        by = f"{end.closed} of {end.network}"
        yield bad(
            end.place,
            f"{by} leaves {end.name} no way out of its network; connect it to another one, too: "
            f"`docker network connect NETWORK {end.name}`",
            by=by,
        )
    if found.way is None:
        yield bad(
            end.place,
            f"{end.name} has no route to {target}; give its network a gateway, or add a route",
            by=f"the routes of {end.name}",
        )
        return
    yield good(
        end.place,
        f"{end.name} has a route to {target}: {found.way}"
        f"{'' if found.through_this else ', by another of its networks'}",
    )


def _in_one_vlan(a: End, b: End, bridged: Bridged | None, judged: Sequence[Hop]) -> Iterator[Hop]:
    if a.segment and not a.icc:
        yield _kept_apart(a)
    if a.bridge != b.bridge:
        yield from _over_patches(a, b, bridged, judged)
        return
    if not (a.icc and b.icc):
        yield bad(
            a.plug,
            f"ovs.icc=false keeps the containers apart; `ovsnet set {a.network} ovs.icc=true` lets "
            "them talk",
            by=f"ovs.icc=false of {a.network if not a.icc else b.network}",
        )
    if a.protected and b.protected:
        yield bad(
            a.plug,
            f"both have ovs.protected=true; `ovsnet set {a.full_name} ovs.protected=false` lets "
            "them talk",
            by=f"ovs.protected of {a.full_name} and {b.full_name}",
        )
    yield good(
        a.plug, f"both are on segment {a.segment}" if a.segment else "both are in one VLAN there"
    )
    yield from judged
    yield from at_the_bridge(a, bridged, b.name)


def _over_patches(a: End, b: End, bridged: Bridged | None, judged: Sequence[Hop]) -> Iterator[Hop]:
    """Tell of the way from one bridge to another; no option keeps containers of two apart."""
    if b.bridge not in a.joined:
        yield bad(
            a.plug,
            f"a patch between {a.bridge} and {b.bridge} is pulled (ovs.patch_link=down); "
            "`ovsnet set NETWORK ovs.patch_link=up` plugs it in",
            by="ovs.patch_link=down",
        )
        return
    yield good(
        a.plug, f"patches lead VLAN {a.vlan or 'none'} from {a.bridge} to {b.bridge} (ovs.patch)"
    )
    yield from judged
    yield from at_the_bridge(a, bridged, b.name)


def _kept_apart(a: End) -> Hop:
    return bad(
        a.plug,
        f"ovs.icc=false keeps all containers of segment {a.segment} apart, on all hosts; connect "
        "both to another segment",
        by=f"ovs.icc=false of {a.network}",
    )


def _apart(a: End, b: End) -> Iterator[Hop]:
    """Tell why two are not together who would have to be: of one network, or one on a segment."""
    if a.segment or b.segment:
        yield bad(
            a.plug,
            f"{a.network} and {b.network} are not one segment; put both on one (docker network "
            f"connect {b.network} {a.name})",
        )
        return
    moved = a if a.home_vlan is not None else b
    yield bad(
        a.plug,
        f"both are on {a.network}, but {a.name} is in VLAN {a.vlan or 'none'} and {b.name} in "
        f"VLAN {b.vlan or 'none'}; `ovsnet set {moved.full_name} ovs.vlan=` takes the network's",
        by=f"ovs.vlan of {moved.full_name}",
    )


def in_gateways_vlan(end: End) -> Iterator[Hop]:
    """Tell whether a container is where the gateway of its network is."""
    if end.home_vlan is not None:
        yield bad(
            end.plug,
            f"{end.name} is in VLAN {end.vlan or 'none'} and the gateway of {end.network} in "
            f"{end.home_vlan or 'none'}; `ovsnet set {end.full_name} ovs.vlan=` takes it there",
            by=f"ovs.vlan of {end.full_name}",
        )


def at_the_bridge(end: End, bridged: Bridged | None, whose: str) -> Iterator[Hop]:
    """Tell what the bridge of a container does with its packet, or with one for it."""
    if bridged is None or not bridged.actions:
        return
    if bridged.actions == "drop":
        by = bridged.by or f"a flow of {end.bridge}"
        how = (
            "give the container its MAC and address back, or let it off with "
            f"`ovsnet set {end.full_name} ovs.guard=false`"
            if bridged.by.startswith("ovs.guard")
            else f"`ovs-appctl ofproto/trace {end.bridge} …` and `ovs-ofctl dump-flows "
            f"{end.bridge}` show which flow does"
        )
        yield bad(end.plug, f"bridge {end.bridge} drops it ({by}); {how}", by=by)
    yield good(
        end.plug, f"bridge {end.bridge} takes it to {whose} (datapath actions: {bridged.actions})"
    )


def without_gateway(end: End, *, published: bool = False) -> Iterator[Hop]:
    """Tell how far a container gets, or is got to, whose network has no gateway on this host.

    ``published``: it is a port of this host that is asked about.
    """
    by = f"{end.closed or f'ovs.mode={end.mode}'} of {end.network}"
    if end.router:
        yield unsure(
            end.plug,
            f"{end.network} has a router of its own, {end.router}, and what that passes on only it "
            "knows",
            by=f"ovs.gateway of {end.network}",
        )
    elif end.closed:
        yield bad(
            end.plug,
            f"{by} keeps {end.name} from everybody but its network; connect the other one to it: "
            f"`docker network connect {end.network} CONTAINER`",
            by=by,
        )
    elif end.mode == "flat" and not end.has_wire:
        yield bad(
            end.plug,
            f"{by} puts nothing on this host, and bridge {end.bridge} has no wire; give the "
            "network an ovs.uplink, or ovs.mode=nat",
            by=by,
        )
    elif end.mode == "flat" and end.wire_pulled:
        yield _no_wire(end)
    elif end.mode == "flat":
        yield unsure(
            OUTSIDE,
            f"{end.network} is a VLAN of the wire ({by}): the router there decides, of which "
            "ovsnet knows nothing",
            by=by,
        )
    elif published:
        yield unsure(
            THIS_HOST,
            f"{by} leaves published ports to Docker; `docker port {end.name}` lists them",
            by=by,
        )
    else:
        yield bad(
            end.plug,
            f"{by} leaves the way in and out to Docker's docker_gwbridge; publish a port (`docker "
            "run -p`), which `docker ps` shows",
            by=by,
        )


def _to_far(a: End, to: FarPlace, asked: Question, bridged: Bridged | None) -> Iterator[Hop]:
    yield attached(a)
    if not any(each.version == to.address.version for each in a.addresses):
        yield no_such_family(a, to.address.version)
    yield from inside(a, to.address)
    if not to.host:
        yield bad(
            a.plug,
            f"nobody has {to.address} on segment {a.segment}; `ovsnet segment show {a.segment}` "
            "lists its addresses",
        )
    yield good(a.plug, f"{to.address} is held by {to.container or 'a container'} on host {to.host}")
    if not a.icc:
        yield _kept_apart(a)
    if a.protected and to.apart:
        yield bad(
            a.plug,
            f"both have ovs.protected=true; `ovsnet set {a.full_name} ovs.protected=false` lets "
            "them talk",
            by=f"ovs.protected of {a.full_name} and {to.name}",
        )
    far = Place(name=f"host {to.host}", kind=Kind.HOST)
    if to.hears is False:
        yield bad(
            far,
            f"host {to.host} does not answer; `ovsnet host ls` tells since when. If it is dead, "
            f"`ovsnet host forget {to.host}` gives its addresses back",
        )
    if bridged is not None and bridged.actions == "drop":
        yield bad(
            a.plug,
            f"bridge {a.bridge} drops it; `ovn-trace {a.segment}` on a central host tells which of "
            "OVN's rules does",
            by=f"a flow of {a.bridge}",
        )
    if bridged is not None and bridged.actions:
        yield good(
            a.plug, f"bridge {a.bridge} sends it there (datapath actions: {bridged.actions})"
        )
    yield unsure(far, f"what becomes of {asked} on host {to.host} is known there: run this on it")


def _families(end: End) -> str:
    found = sorted({f"IPv{each.version}" for each in end.addresses})
    return " and ".join(found) or "no address"
