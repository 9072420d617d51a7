"""What the host's firewall and forwarding should allow; pure.

The plan says what networks want. What it means on a given host depends on two things that are
observed there: which Linux bridges lead outside instead of to other people's containers, and
through which links the host reaches others at all.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import HostAccess, Mode, NetworkId, Publication
from ovsdriver.domain.records.names import GATEWAY_PREFIX

ACCEPT_MARK = 0x1000_0000
"""Bit 28 of the packet mark: "ovsnet's table has accepted this packet".

An accept in nftables ends one chain, not the hook: a later chain (Docker's FORWARD with its
policy DROP) may still drop. So accepted packets carry a mark, which a rule there can accept.
One bit, set by or-ing, so that other users of the mark keep theirs. Not among the bits of
kube-proxy (0xc000), CNI portmap and netavark (0x2000), Cilium (0x0f00), Tailscale (0xff0000),
wg-quick (0xca6c), Mullvad (0x6d6f6c65) or Docker's swarm (counts from 0x100); Calico takes bits
of 0xffff0000 unless its ``iptablesMarkMask`` says otherwise.
"""


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,15}")

_DOCKER_BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")

_WIRE_KINDS = frozenset({"", "bond", "team", "vlan", "hsr"})
"""Kinds of links that lead to a wire; hardware has none. Not veth, tun or dummy: containers
and virtual machines are plugged in by those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRules:
    """What may cross one gateway of ours."""

    network: NetworkId
    link: str
    """The gateway's device in the host's namespace."""
    mode: Mode
    mode6: Mode | None = None
    """Of IPv6, where that is another."""
    subnets: tuple[IPNetwork, ...]
    """Those that the host forwards for; none where it only has an address (``flat``)."""
    held: tuple[IPAddress, ...] = ()
    """The host's addresses there: of each subnet the gateway's, and those that all answer to."""
    masquerade: bool = True
    """``nat`` only: rewrite the source of what leaves; ``enable_ip_masquerade``."""
    isolate: bool = False
    """``routed`` only: closed towards other routed networks, too."""
    icc: bool = True
    """Its containers may reach each other by way of the host, where that is open at all."""
    host: HostAccess = HostAccess.ALL
    """What its containers may reach of the host."""
    loopback: bool = False
    """A port of 127.0.0.0/8 leads to a container here, so packets of that source leave by it."""

    def carries(self, family: int) -> bool:
        """Whether it has a subnet of ``family`` (4 or 6)."""
        return any(subnet.version == family for subnet in self.subnets)

    def mode_of(self, family: int) -> Mode:
        """Return the mode of ``family`` (4 or 6)."""
        return self.mode6 if family == 6 and self.mode6 is not None else self.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallPlan:
    """The whole of it: one table, replaced at once."""

    gateways: tuple[GatewayRules, ...] = ()
    published: tuple[Publication, ...] = ()
    detours: frozenset[tuple[str, IPAddress]] = frozenset()
    """Gateway and address of containers whose way out is another one: what is published there
    comes from the gateway, or the answers would not come back by it."""
    outside_bridges: tuple[str, ...] = ()
    """Linux bridges that the administrator declares to be outside, not other containers."""
    refuses_names: bool = False
    """Who asks the name server of segments without being on one is told at once that nobody is
    there: Docker asks it first on all its networks, and would wait for seconds."""

    @property
    def links(self) -> frozenset[str]:
        """Devices of all gateways."""
        return frozenset(gateway.link for gateway in self.gateways)

    @property
    def legs(self) -> frozenset[str]:
        """Devices by which the host is on a network and forwards nothing."""
        return frozenset(each.link for each in self.gateways if each.mode is Mode.FLAT)

    def carries(self, family: int) -> bool:
        """Whether any gateway has a subnet of ``family`` (4 or 6)."""
        return any(gateway.carries(family) for gateway in self.gateways)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink:
    """A link of the host's namespace, as far as the firewall cares."""

    name: str
    index: int
    kind: str = ""
    master: int = 0
    """Index of the bridge or bond it belongs to; 0: none."""
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRoute:
    """A unicast route of the host through a link, of any table but local; none to fe80::/10."""

    link: str
    family: int
    default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetwork:
    """What the kernel has of links and routes."""

    links: tuple[HostLink, ...] = ()
    routes: tuple[LinkRoute, ...] = ()

    @property
    def bridges(self) -> frozenset[str]:
        """Names of the Linux bridges that rules can name."""
        return frozenset(each.name for each in self.links if _is_bridge(each) and plain(each.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Foreign forwarding that our forwarding switches would make possible, and must not."""

    ipv4: frozenset[str] = frozenset()
    """Links where we switched forwarding of IPv4 on: what arrives there and is not ours."""
    ipv6: frozenset[str] = frozenset()
    ipv6_everywhere: bool = False
    """The kernel has one switch for all links, and we switched it on."""

    def __bool__(self) -> bool:
        return bool(self.ipv4 or self.ipv6 or self.ipv6_everywhere)


@lru_cache(maxsize=4096)
def plain(name: str) -> bool:
    """Whether a link's name means itself, and only itself, wherever nftables reads it.

    The kernel allows nearly everything in a name. nftables takes a closing ``*`` for a pattern,
    a leading ``@`` for a set and ``\\`` for an escape; a name with such letters is never given
    to it.
    """
    return _PLAIN_NAME.fullmatch(name) is not None


def _is_bridge(link: HostLink) -> bool:
    return link.kind == "bridge"


def outside_bridges(plan: FirewallPlan, host: HostNetwork) -> frozenset[str]:
    """Return the Linux bridges that lead outside; all others are taken for other containers'.

    Declared ones, and those that a wire is plugged into or that carry a default route: a host
    whose uplink is a bridge (``br0`` with ``eth0`` in it) must get its containers out. Docker's
    own are never taken for outside unless declared, whatever is plugged into them.
    """
    bridges = {link.index: link.name for link in host.links if _is_bridge(link)}
    wired = {
        bridges[link.master]
        for link in host.links
        if link.master in bridges and link.kind in _WIRE_KINDS
    }
    routed = {route.link for route in host.routes if route.default} & set(bridges.values())
    observed = {name for name in wired | routed if not _DOCKER_BRIDGE.fullmatch(name)}
    return frozenset(filter(plain, observed.union(plan.outside_bridges)))


def outgoing(
    plan: FirewallPlan, host: HostNetwork, *, family: int, outside: Iterable[str]
) -> frozenset[str]:
    """Return the links through which packets of ``family`` may leave to, and return from, outside.

    Those of every unicast route, not only the default one: a neighbour on a second wire is
    outside too. Not gateways (another instance's neither), and no bridges of containers.
    """
    if not plan.carries(family):
        return frozenset()
    bridges = {link.name for link in host.links if _is_bridge(link)}
    inside = plan.links | (bridges - set(outside)) | {"lo"}
    return frozenset(
        route.link
        for route in host.routes
        if route.family == family
        and route.link not in inside
        and not route.link.startswith(GATEWAY_PREFIX)
        and plain(route.link)
    )
