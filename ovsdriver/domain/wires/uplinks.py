"""From ``ovs.uplink`` to the uplink of a bridge: which NICs, and may they be taken. Pure."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from netaddr import EUI, IPNetwork

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode, Network, on_bridge
from ovsdriver.domain.records.options.port_options import Cable
from ovsdriver.domain.records.requests import NetworkOptions
from ovsdriver.domain.records.segments import BondMode, HostPlace, Lacp, Uplink
from ovsdriver.domain.wires.observed import NO_TIES, LinkTies, ObservedBridge, ObservedLink
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

_NO_NICS = {
    "bridge": "a Linux bridge",
    "openvswitch": "a port that Open vSwitch made",
    "dummy": "a dummy, which leads nowhere",
}
"""Kinds of links that cannot be an uplink."""


MOST_ROUTES = 1000
"""Of a host that is moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicPort:
    """The port of Open vSwitch that a NIC is in."""

    name: str
    bridge: str
    ours: bool
    nics: tuple[str, ...] = ()
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    vlan_mode: str = ""
    internal: bool = False
    mirror: bool = False
    """Mirrors of ours lead to it."""

    def carries(self, tag: int) -> bool:
        """Whether frames of VLAN ``tag`` cross it (0: those without a tag)."""
        if self.vlan_mode == "access" or (not self.vlan_mode and self.tag is not None):
            return tag == self.tag
        return not self.trunks or tag in self.trunks or tag == self.tag


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNic:
    """A link of the host that was named as an uplink."""

    name: str
    kind: str = ""
    mtu: int = 0
    mac: EUI | None = None
    addresses: tuple[IPNetwork, ...] = ()
    """Without link-local ones of IPv6, which every link has."""
    routes: tuple[IPNetwork, ...] = ()
    """Destinations that the host reaches through it."""
    master: str = ""
    """The Linux bridge or bond that it is in."""
    port: NicPort | None = None
    product: bool = False
    """It is a link that we made for a container or a gateway."""
    ties: LinkTies = NO_TIES


def known_nic(
    name: str,
    links: Mapping[str, ObservedLink],
    through: Iterable[IPNetwork],
    bridges: Mapping[str, ObservedBridge],
    *,
    owner: str,
    ties: LinkTies = NO_TIES,
) -> KnownNic | None:
    """Return what there is of a NIC, with routes ``through`` it; None if there is no such link."""
    link = links.get(name)
    if link is None:
        return None
    masters = {each.index: each for each in links.values()}
    master = masters.get(link.master_index or 0)
    return KnownNic(
        name=name,
        kind=link.kind,
        mtu=link.mtu,
        mac=link.mac,
        addresses=tuple(each for each in link.addresses if not link_local(each)),
        routes=tuple(each for each in through if not link_local(each)),
        # in the kernel's datapath the master is the datapath's own link
        master=master.name if master is not None and master.kind != "openvswitch" else "",
        port=_port(name, bridges, owner),
        product=names.owned_alias(owner, link.alias),
        ties=ties,
    )


def _port(nic: str, bridges: Mapping[str, ObservedBridge], owner: str) -> NicPort | None:
    for bridge in bridges.values():
        for port in bridge.ports:
            if nic in port.interfaces:
                return NicPort(
                    name=port.name,
                    bridge=bridge.name,
                    ours=port.external_ids.get(names.OWNER_KEY) == owner,
                    nics=port.interfaces,
                    tag=port.tag,
                    trunks=port.trunks,
                    vlan_mode=port.vlan_mode,
                    internal=port.internal,
                    mirror=port.external_ids.get(names.PURPOSE_KEY) == names.MIRROR,
                )
    return None


def link_local(network: IPNetwork) -> bool:
    """Whether an address or a destination is one that every link has (IPv6)."""
    return bool(network.version == 6 and (network.ip.is_link_local() or network.ip.is_multicast()))


def bridge_of(
    nics: Sequence[str], networks: Iterable[Network], bridges: Mapping[str, ObservedBridge]
) -> str:
    """Return the bridge of an uplink for which none was named.

    The one that has it already, be it ours or somebody's; else one that is made for it. Not the
    default one: networks without options are on that, and would have to name a VLAN from then on.
    """
    for network in networks:
        uplink = network.segment.uplink
        if uplink is not None and set(uplink.nics) & set(nics):
            return network.segment.bridge
    for bridge in bridges.values():
        if any(set(port.interfaces) & set(nics) for port in bridge.ports):
            return bridge.name
    return names.uplink_bridge(nics[0])


def uplinked(bridge: str, networks: Iterable[Network]) -> Uplink | None:
    """Return the uplink that the networks on one bridge share."""
    here = (each.segment.uplink for each in on_bridge(bridge, networks))
    return next((uplink for uplink in here if uplink is not None), None)


def choose(
    options: NetworkOptions,
    *,
    internal: bool,
    bridge: str,
    networks: Sequence[Network],
    nics: Mapping[str, KnownNic],
) -> Uplink | None:
    """Return the uplink of a network on ``bridge``; None if it has none.

    A network that names none is on the uplink of its bridge all the same, unless it is to have no
    way out.

    Raises:
        InvalidOptionError: the options contradict each other.
        ConflictError: a NIC is somebody else's, or the bridge has another uplink.
        UnsupportedError: a link cannot be an uplink.
    """
    closed = internal or options.mode is Mode.ISOLATED
    shared = uplinked(bridge, networks)
    if not options.uplink:
        _refuse_stray(options)
        return None if closed else shared
    typed = "+".join(options.uplink)
    if closed:
        raise InvalidOptionError(
            f"ovs.uplink={typed}: an isolated or internal network has no way out; leave the option "
            "out, or use -o ovs.mode=flat"
        )
    bond, lacp = _bonding(options)
    if shared is not None:
        _refuse_other(options, shared, bridge)
        return shared
    found = [_nic(name, nics, bridge, networks) for name in options.uplink]
    port = found[0].port
    if port is not None and not port.ours:
        _refuse_changed_port(options, port)
        return Uplink(nics=options.uplink, given=True)
    return Uplink(nics=options.uplink, bond=bond, lacp=lacp, host=_host(options, found))


def rebonded(
    current: Uplink | None, options: NetworkOptions, companions: Iterable[Network]
) -> Uplink | None:
    """Return the uplink of a network that stands, with the bond that ``options`` want.

    Where they want none, what another network of the bridge says holds, else the default.

    Args:
        current: what it has.
        options: the network's.
        companions: the other networks of its bridge.

    Raises:
        InvalidOptionError: the options contradict each other or the uplink.
        ConflictError: the port is the administrator's, or another network wants another bond.
    """
    if current is None:
        _refuse_stray(replace(options, uplink_move=False))
        return None
    if current.given:
        if options.bond is not None or options.lacp is not None:
            raise ConflictError(
                f"ovsnet did not make the port of uplink {'+'.join(current.nics)} and does not "
                "change it; change it yourself: ovs-vsctl set port … bond_mode=… lacp=…"
            )
        return current
    said = [
        (other, name, value)
        for other in companions
        if other.segment.uplink is not None and not other.ended
        for key, value in other.options.items()
        if (name := key.lower()) in ("ovs.bond", "ovs.lacp")
    ]
    wishes = replace(options, uplink=current.nics)
    for other, name, value in said:
        own = options.bond if name == "ovs.bond" else options.lacp
        if own is not None and own.value != value.lower():
            raise ConflictError(
                f"{name}={own}: network {other.id[:12]} has the same uplink and {name}={value}; "
                f"reset that first: ovsnet set {other.id[:12]} {name}="
            )
        if name == "ovs.bond":
            wishes = replace(wishes, bond=BondMode(value.lower()))
        else:
            wishes = replace(wishes, lacp=Lacp(value.lower()))
    bond, lacp = _bonding(wishes)
    return replace(current, bond=bond, lacp=lacp)


def check_given(uplink: Uplink, tag: int, nics: Mapping[str, KnownNic]) -> None:
    """Refuse a VLAN that the administrator's own port does not let through.

    Raises:
        ConflictError: it does not.
    """
    nic = nics.get(uplink.nics[0])
    port = nic.port if nic is not None else None
    if not uplink.given or port is None or port.carries(tag):
        return
    raise ConflictError(
        f"port {port.name} of bridge {port.bridge} does not carry VLAN {tag or 'none'}, and ovsnet "
        f"did not make it; type ovs-vsctl add port {shlex.quote(port.name)} trunks {tag}, or "
        "choose another -o ovs.vlan="
    )


def refuse_unpluggable(cable: Cable | None, uplink: Uplink | None) -> None:
    """Refuse to pull the cable of what is no uplink of ours, or is the host's own way out.

    Raises:
        InvalidOptionError: the network has no uplink.
        ConflictError: the port is the administrator's.
        UnsupportedError: the host lives on it.
    """
    if cable is None:
        return
    if uplink is None:
        raise InvalidOptionError(
            f"ovs.uplink_link={cable} needs an uplink, and this network has none; add "
            "-o ovs.uplink=NIC, or leave the option out"
        )
    nics = "+".join(uplink.nics)
    if uplink.given:
        raise ConflictError(
            f"ovs.uplink_link: ovsnet did not make the port of uplink {nics} and does not change "
            f"it; pull its cable yourself: ip link set {uplink.nics[0]} down"
        )
    if uplink.host is not None and cable is Cable.DOWN:
        raise UnsupportedError(
            f"ovs.uplink_link=down: uplink {nics} carries this host's addresses, and the host "
            "would be cut off; use a NIC that the host does not need"
        )


def refuse_unrated(rate: int | None, uplink: Uplink | None) -> None:
    """Refuse a rate for what is no uplink of ours.

    Raises:
        InvalidOptionError: the network has no uplink.
        ConflictError: the port is the administrator's.
    """
    if not rate:
        return
    if uplink is None:
        raise InvalidOptionError(
            "ovs.uplink_rate needs an uplink, and this network has none; add -o ovs.uplink=NIC, or "
            "leave the option out"
        )
    if uplink.given:
        raise ConflictError(
            f"ovs.uplink_rate: ovsnet did not make the port of uplink {'+'.join(uplink.nics)} and "
            f"does not change it; limit it yourself: tc qdisc add dev {uplink.nics[0]} root …"
        )


def smallest_mtu(uplink: Uplink | None, nics: Mapping[str, KnownNic]) -> int | None:
    """Return the MTU of what an uplink carries, in bytes; None if it is not known."""
    if uplink is None:
        return None
    return min((nics[each].mtu for each in uplink.nics if each in nics), default=None)


def _refuse_stray(options: NetworkOptions) -> None:
    said = [
        f"ovs.{name}"
        for name, value in (
            ("bond", options.bond),
            ("lacp", options.lacp),
            ("uplink_move", options.uplink_move or None),
        )
        if value is not None
    ]
    if said:
        raise InvalidOptionError(
            f"{said[0]} needs an uplink, and this network has none; add -o ovs.uplink=NIC, or "
            "leave the option out"
        )


def _bonding(options: NetworkOptions) -> tuple[BondMode | None, Lacp]:
    if len(options.uplink) == 1:
        if options.bond is not None or options.lacp is not None:
            raise InvalidOptionError(
                f"ovs.bond and ovs.lacp need several NICs, and ovs.uplink={options.uplink[0]} is "
                "one; name them all (-o ovs.uplink=eth1+eth2), or leave these options out"
            )
        return None, Lacp.OFF
    bond = options.bond or BondMode.ACTIVE_BACKUP
    if bond is not BondMode.BALANCE_TCP:
        return bond, options.lacp or Lacp.OFF
    if options.lacp is Lacp.OFF:
        raise InvalidOptionError(
            "ovs.bond=balance-tcp works with a switch that speaks LACP only; say "
            "-o ovs.lacp=active or passive, or use -o ovs.bond=balance-slb"
        )
    return bond, options.lacp or Lacp.ACTIVE


def _refuse_other(options: NetworkOptions, shared: Uplink, bridge: str) -> None:
    if set(options.uplink) != set(shared.nics):
        raise ConflictError(
            f"ovs.uplink={'+'.join(options.uplink)}: bridge {bridge} already has the uplink "
            f"{'+'.join(shared.nics)}, and can have only one; name that one, or another bridge "
            "with -o ovs.bridge=NAME"
        )
    for option, wanted, has in (
        ("bond", options.bond, shared.bond),
        ("lacp", options.lacp, shared.lacp),
    ):
        if wanted not in (None, has):
            raise ConflictError(
                f"ovs.{option}={wanted}: the uplink of bridge {bridge} has "
                f"{f'ovs.{option}={has}' if has else 'none of that'} already; leave the option out"
            )


def _nic(
    name: str, nics: Mapping[str, KnownNic], bridge: str, networks: Sequence[Network]
) -> KnownNic:
    for other in networks:
        if other.segment.uplink is not None and name in other.segment.uplink.nics:
            raise ConflictError(
                f"ovs.uplink={name}: still being freed from network {other.id[:12]}, which was "
                "removed; `ovsnet status` shows what that waits for"
                if other.ended
                else f"ovs.uplink={name}: it is the uplink of bridge {other.segment.bridge}; use "
                f"that one (-o ovs.bridge={other.segment.bridge}), or another NIC"
            )
    nic = nics.get(name)
    if nic is None:
        raise UnsupportedError(
            f"ovs.uplink={name}: this host has no such link; `ip -brief link` lists those it has"
        )
    internal = nic.port is not None and nic.port.internal
    what = "a port that Open vSwitch made" if internal else _NO_NICS.get(nic.kind)
    if name == "lo":
        what = "the loopback"
    if nic.product:
        what = "a container's link"
    if what is not None:
        raise UnsupportedError(f"ovs.uplink={name}: this is {what}, not a NIC; name a NIC")
    if nic.port is not None and nic.port.mirror:
        raise ConflictError(
            f"ovs.uplink={name}: mirrors lead to it (ovs.mirror=nic:{name}), and such a port "
            "carries copies only; name another NIC"
        )
    if nic.port is not None and nic.port.bridge != bridge:
        raise ConflictError(
            f"ovs.uplink={name}: it is a port of bridge {nic.port.bridge}; use that bridge with "
            f"-o ovs.bridge={shlex.quote(nic.port.bridge)}, or free it: "
            f"ovs-vsctl del-port {shlex.quote(nic.port.name)}"
        )
    if nic.master:
        raise ConflictError(
            f"ovs.uplink={name}: it is a part of {nic.master}; free it first (ip link set {name} "
            f"nomaster), or name {nic.master} if that is a bond"
        )
    return nic


def _refuse_changed_port(options: NetworkOptions, port: NicPort) -> None:
    if set(options.uplink) != set(port.nics):
        raise ConflictError(
            f"ovs.uplink={'+'.join(options.uplink)}: port {port.name} of bridge {port.bridge} has "
            f"{'+'.join(port.nics)}, and ovsnet did not make it; name exactly these NICs"
        )
    if options.bond is not None or options.lacp is not None or options.uplink_move:
        raise ConflictError(
            f"ovsnet did not make port {port.name} of bridge {port.bridge} and does not change it; "
            "leave ovs.bond, ovs.lacp and ovs.uplink_move out, or type ovs-vsctl set port "
            f"{port.name} bond_mode=… lacp=…"
        )


def _host(options: NetworkOptions, nics: Sequence[KnownNic]) -> HostPlace | None:
    """Return what the host needs of the bridge if it lives on one of the NICs, and may move."""
    for nic in nics:
        if nic.port is None and nic.ties.qdisc:
            raise UnsupportedError(
                f"ovs.uplink={nic.name}: Open vSwitch would delete its queueing discipline "
                f"{nic.ties.qdisc}; use another NIC, or remove it: {_undo_qdisc(nic)}"
            )
    lived_on = [nic for nic in nics if nic.addresses or nic.routes]
    if not lived_on:
        return None
    nic = lived_on[0]
    carried = [str(each) for each in nic.addresses]
    carried += [f"the route to {_destination(each)}" for each in nic.routes]
    what = f"ovs.uplink={nic.name}: it carries {', '.join(carried[:4])} of this host"
    if not options.uplink_move:
        raise ConflictError(
            f"{what}, which would be cut off; use another NIC, or have all of that moved to the "
            "bridge with -o ovs.uplink_move=true"
        )
    if nic.mac is None:
        raise UnsupportedError(
            f"{what}, and has no MAC address that the bridge could take over; use another NIC"
        )
    if len(lived_on) > 1:
        raise UnsupportedError(
            f"both {nic.name} and {lived_on[-1].name} carry host addresses or routes, and ovsnet "
            "can move those of one NIC only; first put all of them on one"
        )
    if nic.port is None:
        _refuse_ties(nic)
    return HostPlace(mac=nic.mac, mtu=nic.mtu)


def _refuse_ties(nic: KnownNic) -> None:
    """Refuse to move a host of which something would stay on the NIC."""
    if nic.ties.nexthops:
        what = f"nexthop object {nic.ties.nexthops[0]} leads through it"
        remedy = f"write its routes without it: ip nexthop del id {nic.ties.nexthops[0]}"
    elif nic.ties.rules:
        what = f"policy rule {nic.ties.rules[0]} names it"
        remedy = f"do without the rule: ip rule del priority {nic.ties.rules[0]}"
    elif len(nic.routes) >= MOST_ROUTES:
        what = f"it carries {MOST_ROUTES} routes or more"
        remedy = "stop the routing daemon that makes them"
    else:
        return
    raise UnsupportedError(
        f"ovs.uplink={nic.name}: {what}, and that cannot move to the bridge; use another NIC, or "
        f"{remedy}"
    )


def _undo_qdisc(nic: KnownNic) -> str:
    where = nic.ties.qdisc if nic.ties.qdisc in ("ingress", "clsact") else "root"
    return f"tc qdisc del dev {nic.name} {where}"


def _destination(route: IPNetwork) -> str:
    return str(route.cidr) if route.prefixlen else "everywhere (the default route)"
