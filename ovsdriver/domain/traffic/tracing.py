"""Why containers do or do not reach each other or this host, from what is known of it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import HostAccess


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
    host: HostAccess | None = None
    """What it may reach of this host; None: its network has no gateway here."""
    segment: str = ""
    """Name of the segment that its network is; empty: it ends on this host."""
    home_vlan: int | None = None
    """VLAN of its network, where that of its own is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlace:
    """An address of this host."""

    address: IPAddress
    network: str = ""
    """Name of the network whose gateway it is; empty: of none."""
    leads_to: str = ""
    """Name of the container that the port is published for; empty: none."""
    listens: bool | None = None
    """Somebody listens on the port that was asked about; None: not asked."""

    @property
    def name(self) -> str:
        """Return what it is called."""
        return f"{self.address} of this host"


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

    @property
    def name(self) -> str:
        """Return what it is called."""
        return (
            f"{self.container or self.address} on {self.host}" if self.host else str(self.address)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked."""

    protocol: str = "icmp"
    port: int | None = None

    def __str__(self) -> str:
        """Return what a person types: ``tcp/5432``."""
        return self.protocol if self.port is None else f"{self.protocol}/{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was looked at."""

    well: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridged:
    """What Open vSwitch says that it does with such a packet (``ofproto/trace``)."""

    actions: str
    """``drop``, or where it goes; empty: it could not be asked."""


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
    """Whether both are in one VLAN of one bridge, or on one segment."""
    if a.segment or b.segment:
        return a.segment == b.segment
    return (a.bridge, a.vlan) == (b.bridge, b.vlan) and a.vlan is not None


def trace(a: End, b: End, asked: Question, bridged: Bridged | None) -> Sequence[Step]:
    """Return what was looked at on the way from ``a`` to ``b``, up to the first that fails.

    Args:
        a: who sends.
        b: who is to get it.
        asked: the protocol, and the port.
        bridged: what the bridge does; None: not asked, as both are not in one VLAN.
    """
    return _up_to_the_first_fault(_steps(a, b, asked, bridged))


def trace_host(a: End, to: HostPlace, asked: Question) -> Sequence[Step]:
    """Return what was looked at on the way from ``a`` to this host, as :func:`trace`."""
    return _up_to_the_first_fault(_steps_to_host(a, to, asked))


def trace_far(a: End, to: FarPlace, asked: Question, bridged: Bridged | None) -> Sequence[Step]:
    """Return what was looked at on the way from ``a`` to another host, as :func:`trace`."""
    return _up_to_the_first_fault(_steps_to_far(a, to, asked, bridged))


def verdict(a: End, b: End | HostPlace | FarPlace, asked: Question, steps: Sequence[Step]) -> str:
    """Return the one sentence that matters."""
    last = steps[-1]
    if not last.well:
        return f"{a.name} does not reach {b.name} ({asked}): {last.text}"
    return f"{a.name} reaches {b.name} ({asked}), as far as this host can tell"


def _up_to_the_first_fault(steps: Iterator[Step]) -> Sequence[Step]:
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if not step.well:
            break
    return found


def _steps(a: End, b: End, asked: Question, bridged: Bridged | None) -> Iterator[Step]:
    yield from map(_attached, (a, b))
    version = family(a, b)
    if version is None:
        yield _bad(
            f"{a.name} has {_families(a)} and {b.name} {_families(b)}; give both networks a subnet "
            "of one family"
        )
        return
    yield _good(f"{a.name} has {address(a, version)}, {b.name} {address(b, version)}")
    for end, other in ((a, b), (b, a)):
        yield from _inside(end, address(other, version).ip)
    yield from (_in_one_vlan(a, b, bridged) if together(a, b) else _apart(a, b))
    if b.inside is not None and b.inside.listens is not None:
        port = f"{asked.protocol}/{asked.port}"
        yield (
            _good(f"a program listens on {port} in {b.name}")
            if b.inside.listens
            else _bad(f"nobody listens on {port} in {b.name}; start what should")
        )


def _attached(end: End) -> Step:
    if end.state != "attached":
        why = end.fault or f"its endpoint is {end.state}"
        return _bad(f"{end.name} is not plugged in: {why}; `ovsnet status` tells more")
    if end.sink:
        return _bad(
            f"{end.name} gets mirrored packets on {end.network} and nothing else (ovs.sink); use "
            "another network of it"
        )
    where = f"segment {end.segment}" if end.segment else f"VLAN {end.vlan or 'none'}"
    return _good(f"{end.name} is plugged into {end.bridge}, {where}, for {end.network}")


def _inside(end: End, target: IPAddress) -> Iterator[Step]:
    inside = end.inside
    if inside is None:
        yield _good(f"what {end.name} has inside is not known: run this as root on its host")
        return
    own = address(end, target.version)
    if not inside.up:
        yield _bad(f"the interface of {end.name} on {end.network} is down; set it up inside")
    if own not in inside.addresses:
        yield _bad(
            f"{end.name} does not have its address {own} inside any more; restart the container"
        )
    if inside.way is None:
        yield _bad(
            f"{end.name} has no route to {target}; give its network a gateway, or add a route"
        )
        return
    yield _good(
        f"{end.name} has a route to {target}: {inside.way}"
        f"{'' if inside.through_this else ', by another of its networks'}"
    )


def _in_one_vlan(a: End, b: End, bridged: Bridged | None) -> Iterator[Step]:
    if not (a.icc and b.icc) or (a.protected and b.protected):
        option = "ovs.protected" if a.protected and b.protected else "ovs.icc=false"
        yield _bad(
            f"{option} keeps the containers apart; `ovsnet set {a.network} ovs.icc=true` lets them "
            "talk"
            if option != "ovs.protected"
            else f"both have ovs.protected=true; `ovsnet set {a.network}/{a.name} "
            "ovs.protected=false` lets them talk"
        )
    yield _good(f"both are on segment {a.segment}" if a.segment else _ONE_VLAN)
    if bridged is None or not bridged.actions:
        return
    if bridged.actions == "drop":
        yield _bad(
            f"bridge {a.bridge} drops it; `ovs-appctl ofproto/trace {a.bridge} …` and `ovs-ofctl "
            f"dump-flows {a.bridge}` show which flow does"
        )
    yield _good(f"bridge {a.bridge} forwards it (datapath actions: {bridged.actions})")


_ONE_VLAN = "both are in one VLAN of one bridge"


def _apart(a: End, b: End) -> Iterator[Step]:
    if a.segment or b.segment:
        yield _bad(
            f"{a.network} and {b.network} are not one segment; put both on one (docker network "
            f"connect {b.network} {a.name})"
        )
        return
    if a.network_id == b.network_id:
        yield _bad(
            f"both are on {a.network}, but {a.name} is in VLAN {a.vlan or 'none'} and {b.name} in "
            f"VLAN {b.vlan or 'none'}; `ovsnet set {a.network}/{a.name} ovs.vlan=` takes the "
            "network's"
        )
        return
    modes = {a.mode, b.mode}
    if modes == {"routed"} and not a.isolate and not b.isolate:
        yield _good(f"{a.network} and {b.network} are routed, and this host forwards between them")
        return
    if modes <= {"flat", "gwbridge"}:
        yield _good(
            f"{a.network} and {b.network} meet beyond this host, at a router that ovsnet knows "
            "nothing of"
        )
        return
    why = "one is isolated (ovs.isolate)" if modes == {"routed"} else f"modes {a.mode}, {b.mode}"
    yield _bad(
        f"networks {a.network} and {b.network} are kept apart on this host ({why}); put both on "
        f"one (docker network connect {b.network} {a.name}), or publish a port of {b.name}"
    )


def _steps_to_host(a: End, to: HostPlace, asked: Question) -> Iterator[Step]:
    yield _attached(a)
    if not any(each.version == to.address.version for each in a.addresses):
        yield _bad(f"{a.name} has {_families(a)} only; ask about an address of that family")
    yield from _inside(a, to.address)
    if a.host is None:
        yield _bad(
            f"{a.network} has ovs.mode={a.mode} and no gateway on this host; connect {a.name} to a "
            "network that has one"
        )
    if a.home_vlan is not None:
        yield _bad(
            f"{a.name} is in VLAN {a.vlan or 'none'} and the gateway of {a.network} in "
            f"{a.home_vlan or 'none'}; `ovsnet set {a.network}/{a.name} ovs.vlan=` takes it there"
        )
    own = to.network == a.network
    if to.network and not own:
        yield _bad(
            f"it is the gateway of {to.network}, which only containers of {to.network} reach; use "
            f"the gateway of {a.network}"
        )
    if to.leads_to:
        yield _good(f"{asked} is published there for {to.leads_to}")
        return
    if a.host is HostAccess.NONE and not (own and asked.port is None):
        yield _closed(a, "keeps the host's services from its containers", HostAccess.GATEWAY)
    if a.host is HostAccess.GATEWAY and not own:
        yield _closed(a, "leaves them their own gateway alone", HostAccess.ALL)
    yield _good(f"ovs.host={a.host} of {a.network} lets it reach {to.name}")
    if to.listens is not None:
        yield (
            _good(f"a program listens on {asked} on this host")
            if to.listens
            else _bad(f"nobody listens on {asked} on this host; start what should")
        )


def _steps_to_far(a: End, to: FarPlace, asked: Question, bridged: Bridged | None) -> Iterator[Step]:
    yield _attached(a)
    if not any(each.version == to.address.version for each in a.addresses):
        yield _bad(f"{a.name} has {_families(a)} only; ask about an address of that family")
    yield from _inside(a, to.address)
    if not to.host:
        yield _bad(
            f"nobody has {to.address} on segment {a.segment}; `ovsnet segment show {a.segment}` "
            "tells who has which"
        )
    yield _good(f"{to.address} is held by {to.container or 'a container'} on host {to.host}")
    if to.hears is False:
        yield _bad(
            f"host {to.host} does not answer; `ovsnet host ls` tells since when. If it is dead, "
            f"`ovsnet host forget {to.host}` gives its addresses back"
        )
    if bridged is not None and bridged.actions == "drop":
        yield _bad(
            f"bridge {a.bridge} drops it; `ovn-trace {a.segment}` on a central host tells which of "
            "OVN's rules does"
        )
    if bridged is not None and bridged.actions:
        yield _good(f"bridge {a.bridge} sends it there (datapath actions: {bridged.actions})")
    yield _good(f"what becomes of {asked} on host {to.host} is known there: run this on it")


def _closed(a: End, how: str, opened: HostAccess) -> Step:
    return _bad(
        f"ovs.host={a.host} of {a.network} {how}; `ovsnet set {a.network} ovs.host={opened}` opens"
    )


def _families(end: End) -> str:
    found = sorted({f"IPv{each.version}" for each in end.addresses})
    return " and ".join(found) or "no address"


def _good(text: str) -> Step:
    return Step(well=True, text=text)


def _bad(text: str) -> Step:
    return Step(well=False, text=text)
