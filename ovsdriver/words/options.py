"""The options that users type, as one table: parser, errors, help and README come from its rows.

Strict: an option that would be ignored by mistake is worse than a refusal. So a key that we do
not know is refused, with two exceptions that are listed in ``ignored`` instead:

- Docker's own keys (``com.docker.…``). Their meaning is Docker's: engines add them to endpoints
  by themselves, and Compose files written for another driver carry them. But those with an effect
  on Docker's own bridge are done (they have rows below) or refused.
- Keys with somebody's domain in front (``com.example.rack``, two dots or more). Such names are
  labels for other programs, unless they end like an option of ours (``com.ovs.vlan``).

Words of other drivers are translated, or refused with what to type (``of_others``).

A new option takes these steps, and tests in ``tests/unit/words`` ask for most of them:

1. A row here. Its ``field`` is where the value arrives: ``port.X`` in ``PortOptions``, which
   networks and containers have; ``features.X`` in ``Features``, which bridges have; else in
   ``NetworkOptions`` or ``EndpointOptions`` (``domain/records/requests.py``), or ``PoolOptions``.
2. From there to the record. ``PortOptions`` and ``Features`` go whole. Others are copied: by
   ``plan`` in ``domain/plan/planning.py`` to ``Network``, by ``with_options`` in
   ``port_planning.py`` to ``Endpoint``, by ``docker/ipam.py`` to the IPAM's ``PoolRequest``.
3. What it does: in ``domain/wires/desired.py``, or in an aspect.
4. On networks over several hosts: ``on_segment`` of the row, if it does nothing there.
5. For ``ovsnet set``: ``fixed`` of the row where it cannot change while in use. Where the record
   has the value by another name than ``field``: ``_ELSEWHERE`` in ``in_force.py``. Where a value
   that was chosen at creation is to stay: ``_pinned`` in ``domain/plan/replanning.py``.
   ``tests/unit/service/change/test_every_live_option.py`` tries it with the row's example.
6. An end-to-end test, named in ``TYPED_IN`` of ``tests/unit/words/test_option_tests.py``; and its
   line in ``ovsdriver/README.md``, which ``ovsnet options --markdown`` prints.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from netaddr import IPRange

from ovsdriver.domain.records.model import HostAccess, Mode
from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.records.options.features import Features
from ovsdriver.domain.records.options.port_options import Cable, PortKind, PortOptions, VlanMode
from ovsdriver.domain.records.requests import EndpointOptions, NetworkOptions
from ovsdriver.domain.records.segments import BondMode, Datapath, Lacp
from ovsdriver.domain.wires.plumbing import HIGHEST_OFPORT
from ovsdriver.errors import InvalidOptionError
from ovsdriver.words import (
    access_words,
    bridge_words,
    mirror_target,
    of_others,
    rates,
    routes,
    values,
)
from ovsdriver.words.values import quote

E = TypeVar("E", bound=Enum)


class Scope(Enum):
    """Where an option is typed."""

    NETWORK = "network"
    ENDPOINT = "endpoint"
    IPAM = "ipam"

    @property
    def phrase(self) -> str:
        """Return what has such options, for a sentence."""
        return {"network": "a network", "endpoint": "an endpoint", "ipam": "the IPAM"}[self.value]

    @property
    def command(self) -> str:
        """Return the command that is complete with a row's example in the place of EXAMPLE."""
        if self is Scope.ENDPOINT:
            return "docker run -d --network name=lab,EXAMPLE nginx"
        return "docker network create -d ovsnet --ipam-driver ovsipam EXAMPLE lab"

    def usage(self, name: str) -> str:
        """Return what to type."""
        match self:
            case Scope.NETWORK:
                return f"docker network create -o {name}=…"
            case Scope.ENDPOINT:
                return f"docker run --network name=NETWORK,driver-opt={name}=…"
            case Scope.IPAM:
                return f"docker network create --ipam-opt {name}=…"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfEndpoint:
    """How an endpoint's row differs, where it and its network have the same option."""

    example: str
    default: str = "the network's"
    help: str = "As for a network."
    aliases: tuple[str, ...] = ()
    fixed: str = ""
    parse: Callable[[str], object] | None = None
    """None: as of the network."""
    on_segment: str | None = None
    """None: as of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One row of the table."""

    name: str
    scope: Scope
    parse: Callable[[str], object]
    """Text to value; ValueError with a sentence about the text."""
    example: str
    """What is typed for it in the place of ``EXAMPLE`` in the scope's ``command``."""
    default: str
    """For people: what holds if the option is left out."""
    help: str
    field: str
    """Attribute of the request that it fills: ``icc``, ``port.mtu``."""
    text: Callable[[Any], str | None] = values.text
    """Value to text that ``parse`` reads; None: that value is as good as none."""
    aliases: tuple[str, ...] = ()
    """Names of Docker's or dovesnap's that mean the same."""
    fixed: str = ""
    """Why `ovsnet set` refuses it, and what to do instead; empty: it is changed while in use."""
    endpoint: OfEndpoint | None = None
    """Of a network's: endpoints have it, too."""
    on_segment: str = ""
    """Why a network over several hosts refuses it, and what to do; empty: it works there."""

    def of_endpoint(self, other: OfEndpoint) -> "Option":
        """Return the row as it is for endpoints."""
        return replace(
            self,
            scope=Scope.ENDPOINT,
            example=other.example,
            default=other.default,
            help=other.help,
            aliases=other.aliases,
            fixed=other.fixed,
            parse=other.parse or self.parse,
            endpoint=None,
            on_segment=self.on_segment if other.on_segment is None else other.on_segment,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """``docker network create --ipam-opt``; None means: not said."""

    space: str | None = None
    segment: str | None = None
    prefix: tuple[int, int] | None = None
    """For IPv4 and for IPv6."""
    excluded: tuple[IPRange, ...] = ()
    quarantine_s: float = 0.0
    limit: int | None = None
    probe: bool = False
    ignored: tuple[str, ...] = ()


def _interface(text: str) -> str:
    return values.link_name(text, what="an interface")


def _one_of(kinds: Iterable[E]) -> Callable[[str], E]:
    words = {each.value: each for each in kinds}
    return lambda text: values.word(text, words)


def _ofport(text: str) -> int:
    return values.integer(text, 1, HIGHEST_OFPORT, "an OpenFlow port number")


def _userspace(text: str) -> Datapath:
    return Datapath.NETDEV if values.flag(text) else Datapath.SYSTEM


def _added_port(text: str) -> tuple[str, ...]:
    if "/" in text or "," in text:
        first = re.split("[/,]", text)[0]
        raise ValueError(
            f"{quote(text)} is more than one NIC's name; write ovs.uplink={first}, "
            "or with a plus sign between several as a bond, and leave port numbers out"
        )
    return values.nics(text)


def _some(text: Callable[[int], str]) -> Callable[[int], str | None]:
    return lambda value: text(value) if value else None


def _prefix(text: str) -> tuple[int, int]:
    # Docker sends the options with each subnet of a network, whatever its family.
    four, comma, six = text.partition(",")
    if not comma:
        both = values.integer(text, 1, 127, "a prefix length")
        return both, both
    return (
        values.integer(four.strip(), 8, 32, "a prefix length of IPv4, which is named first"),
        values.integer(six.strip(), 16, 128, "a prefix length of IPv6, which is named second"),
    )


def _excluded(text: str) -> tuple[IPRange, ...]:
    return tuple(values.addresses(part.strip()) for part in text.split(","))


def _quarantine_s(text: str) -> float:
    return values.duration_s(text, 7 * 86400, "a time of at most 7 days")


def _limit(text: str) -> int:
    return values.integer(text, 1, 999_999_999, "a number of addresses")


_BY_OVN = "OVN owns the bridge of segments and all that switches there; leave it out"
_BY_PORTS = "OVN tells segments apart by ports, not by VLANs; leave it out"
_NO_WIRE = "its hosts reach each other by tunnels; name NICs with ovs.uplink, or leave it out"
_NO_GATEWAY = "its containers leave through docker_gwbridge, Docker's own; leave it out"
_NOT_JUDGED = "OVN switches there, and ovsnet's rules do not act; leave it out"
_NOT_SHARED = "the addresses of a segment are every host's; leave it out"


TABLE: Sequence[Option] = (
    Option(
        name="ovs.bridge",
        scope=Scope.NETWORK,
        field="bridge",
        parse=values.link_name,
        example="-o ovs.bridge=br-lab -o ovs.vlan=20",
        default="the configured bridge, `br-ovsnet`",
        help="Bridge that carries the network. One that exists is adopted: only ovsnet's own ports "
        "on it are touched. A missing one is made, and removed with its last network.",
        aliases=("com.docker.network.bridge.name", "ovs.bridge.name"),
        fixed="containers are plugged into the bridge; make another network on the other one",
    ),
    Option(
        name="ovs.segment",
        scope=Scope.NETWORK,
        field="segment",
        parse=values.segment,
        example="-o ovs.segment=blue --ipam-opt ipam.segment=blue --subnet 10.50.0.0/24",
        default="none: the network ends on this host",
        help="Segment over all hosts of a fleet that name it: one subnet, and no address twice. "
        "The first host says `--subnet`, others inherit it.",
        fixed="its ports and addresses are the segment's; make another network",
    ),
    Option(
        name="ovs.router",
        scope=Scope.NETWORK,
        field="router",
        parse=values.segment,
        example="-o ovs.segment=blue --ipam-opt ipam.segment=blue -o ovs.router=main",
        default="none",
        help="Router between all segments that name it. It has the first address of each subnet, "
        "or what `--gateway` says.",
        fixed="containers were told the router when they were connected; make another segment",
    ),
    Option(
        name="ovs.routes",
        scope=Scope.NETWORK,
        field="routes",
        parse=routes.routes,
        text=routes.routes_text,
        example='-o "ovs.routes=10.51.0.0/16 via 10.1.0.254" --subnet 10.1.0.0/24',
        default="none",
        help="Subnets that containers reach by another router: `10.51.0.0/16 via ADDRESS`, several "
        "with `+`. Without `via` it is the network's own: `ovs.router` or the gateway.",
        endpoint=OfEndpoint(
            example='driver-opt="ovs.routes=10.51.0.0/16 via 10.1.0.254"',
            help="As for a network, in the place of its routes.",
            on_segment="containers reach subnets by the segment's router; leave it out",
        ),
    ),
    Option(
        name="ovs.vlan",
        scope=Scope.NETWORK,
        field="port.vlan",
        on_segment="OVN tells segments apart by ports; leave it out, or name a NIC on the VLAN "
        "with ovs.uplink",
        parse=values.vlan,
        text=values.vlan_text,
        example="-o ovs.vlan=30",
        default="the lowest free one",
        help="VLAN id on the bridge, 1 to 4094, or `none` for untagged frames only. Required on an "
        "adopted or uplinked bridge without a range in the configuration.",
        aliases=("ovs.bridge.vlan",),
        endpoint=OfEndpoint(
            example="driver-opt=ovs.vlan=30",
            help="VLAN of this container's untagged frames, 1 to 4094, or `none`. If it differs "
            "from the network's, the container reaches neither the network nor its gateway.",
            on_segment=_BY_PORTS,
        ),
    ),
    Option(
        name="ovs.vlan_mode",
        scope=Scope.NETWORK,
        field="port.vlan_mode",
        on_segment=_BY_PORTS,
        parse=_one_of((VlanMode.ACCESS, VlanMode.DOT1Q_TUNNEL)),
        example="-o ovs.vlan_mode=dot1q-tunnel",
        default="`access`",
        help="`dot1q-tunnel`: the containers' own tags travel inside of the network's tag, "
        "`ovs.vlan` (802.1ad, QinQ). `access`: frames with tags are dropped.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.trunks=10+20-30,driver-opt=ovs.vlan_mode=native-tagged",
            default="the network's; `native-untagged` with `ovs.trunks`",
            help="`access`: one VLAN, untagged. `native-untagged`: also `ovs.trunks` tagged. "
            "`native-tagged`: all tagged. `trunk`: `ovs.trunks` only, so Docker's address is "
            "out of reach. `dot1q-tunnel`: as for a network.",
            parse=_one_of(VlanMode),
        ),
    ),
    Option(
        name="ovs.cvlans",
        scope=Scope.NETWORK,
        field="port.cvlans",
        on_segment=_BY_PORTS,
        parse=values.vlans,
        text=vlans.text,
        example="-o ovs.vlan_mode=dot1q-tunnel -o ovs.cvlans=10,20-30",
        default="all",
        help="With `ovs.vlan_mode=dot1q-tunnel`: the tags that containers may use, `10,20-30`. "
        "Frames without a tag always pass.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.vlan_mode=dot1q-tunnel,driver-opt=ovs.cvlans=10+20-30",
            help="As for a network: `10+20-30`, or `10,20-30` where commas can be typed.",
        ),
    ),
    Option(
        name="ovs.trunks",
        scope=Scope.NETWORK,
        field="port.trunks",
        on_segment=_BY_PORTS,
        parse=values.vlans,
        text=vlans.text,
        example="-o ovs.trunks=10,20-30",
        default="none",
        help="VLANs that the network's containers see tagged, beside its own: `10,20-30`. A "
        "container's own `ovs.trunks` or `ovs.vlan_mode` comes first. For Compose before 2.27.1, "
        "which drops options of single containers.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.trunks=10+20-30",
            default="none",
            help="VLANs that this container sees tagged, and no others: `10+20-30`, or `10,20-30` "
            "where commas can be typed. They may belong to other networks, so a container can "
            "route between them.",
        ),
    ),
    Option(
        name="ovs.shared",
        scope=Scope.NETWORK,
        field="shared",
        on_segment="a host has one network on a segment; leave it out",
        parse=values.flag,
        example="-o ovs.vlan=30 -o ovs.shared=true",
        default="`false`",
        help="`true`: share bridge and VLAN with another network that has them already.",
    ),
    Option(
        name="ovs.space",
        scope=Scope.NETWORK,
        field="space",
        on_segment="a segment is an address space; say ipam.segment",
        parse=values.space,
        example="-o ovs.space=team1 --ipam-opt ipam.space=team1",
        default="the IPAM driver's",
        help="Address space of the network's subnets; repeats `ipam.space`.",
        fixed="the addresses are of that space; make another network",
    ),
    Option(
        name="ovs.mode",
        scope=Scope.NETWORK,
        field="mode",
        on_segment="its containers leave by docker_gwbridge, or with --internal not; leave it out",
        parse=_one_of(Mode),
        example="-o ovs.mode=routed",
        default="`nat` on bridges that ovsnet made, `flat` on adopted ones and with an uplink",
        help="`nat`: gateway on this host, masqueraded. `routed`: gateway, not masqueraded. "
        "`flat`: straight on the segment, nothing on the host. `gwbridge`: out through "
        "Docker's `docker_gwbridge`. `isolated`: no way out.",
        aliases=("ovs.bridge.mode",),
    ),
    Option(
        name="com.docker.network.bridge.gateway_mode_ipv4",
        scope=Scope.NETWORK,
        field="mode4",
        on_segment=_NO_GATEWAY,
        parse=_one_of(Mode),
        example="-o com.docker.network.bridge.gateway_mode_ipv4=routed",
        default="see `ovs.mode`; `nat` where IPv6 is said to be `routed`",
        help="`ovs.mode` of the IPv4 subnets. `nat` and `routed` can be mixed, others are the same "
        "for both families.",
    ),
    Option(
        name="com.docker.network.bridge.gateway_mode_ipv6",
        scope=Scope.NETWORK,
        field="mode6",
        on_segment=_NO_GATEWAY,
        parse=_one_of(Mode),
        example="--ipv6 -o com.docker.network.bridge.gateway_mode_ipv6=routed",
        default="see `ovs.mode`; `nat` where IPv4 is said to be `routed`",
        help="The same of the IPv6 subnets.",
    ),
    Option(
        name="ovs.isolate",
        scope=Scope.NETWORK,
        field="isolate",
        on_segment=_NO_GATEWAY,
        parse=values.flag,
        example="-o ovs.mode=routed -o ovs.isolate=true",
        default="`false`",
        help="`true`: other `routed` networks of this host do not reach this one. They never reach "
        "`nat` networks.",
    ),
    Option(
        name="ovs.icc",
        scope=Scope.NETWORK,
        field="icc",
        parse=values.flag,
        example="-o ovs.icc=false",
        default="`true`",
        help="`false`: containers of the network do not reach each other, only the gateway and "
        "what is beyond it. On a segment it holds on all its hosts.",
        aliases=("com.docker.network.bridge.enable_icc",),
    ),
    Option(
        name="ovs.host",
        scope=Scope.NETWORK,
        field="host",
        on_segment="its containers reach this host by docker_gwbridge; with --internal they do not",
        parse=_one_of(HostAccess),
        example="-o ovs.host=none",
        default="`all`, as with Docker's bridge; `none` with `ovs.host_address`",
        help="What containers reach on this host. `all`: all its addresses but other networks' "
        "gateways. `gateway`: their own gateway. `none`: nothing, but the gateway answers "
        "ping. Published ports are always reached.",
    ),
    Option(
        name="ovs.host_address",
        scope=Scope.NETWORK,
        field="host_addresses",
        on_segment="its containers reach this host by docker_gwbridge; leave it out",
        parse=routes.host_addresses,
        example="-o ovs.mode=flat -o ovs.host_address=10.1.0.250/24 --subnet 10.1.0.0/24",
        default="none: containers and this host do not see each other",
        help="Address of this host on a `flat` network, from which it reaches the containers. "
        "`ovs.host` says what they reach of it. One of each family, comma-separated.",
    ),
    Option(
        name="ovs.guard",
        scope=Scope.NETWORK,
        field="port.guard",
        parse=values.flag,
        example="-o ovs.guard=true",
        default="`false`",
        help="`true`: containers send only with their own MAC and addresses, and are neither DHCP "
        "server nor router. No IGMP, tunnels, or most fragments. Not on bridges with a "
        "controller.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.guard=true",
            help="As for a network. Not with `ovs.trunks`.",
        ),
    ),
    Option(
        name="ovs.allow",
        scope=Scope.NETWORK,
        field="port.allow",
        on_segment=_NOT_JUDGED,
        parse=access_words.parse,
        text=access_words.text,
        example='-o "ovs.allow=example.com tcp/443, 10.1.0.0/16"',
        default="none: whatever the network's mode lets through",
        help="Whom containers may reach (`to`), or may be reached by (`from`); nobody else on "
        "that side. By commas: `[to|from] WHO [tcp|udp|icmp][/PORT]`. `ovs.guard` comes with it. "
        "See [access rules](#access-rules).",
        endpoint=OfEndpoint(
            example='driver-opt="ovs.allow=example.com tcp/443 + from any tcp/80"',
            help="As for a network, in the place of what that says; `+` separates where commas "
            "cannot be typed.",
        ),
    ),
    Option(
        name="ovs.deny",
        scope=Scope.NETWORK,
        field="port.deny",
        on_segment=_NOT_JUDGED,
        parse=access_words.parse,
        text=access_words.text,
        example='-o "ovs.deny=10.0.0.0/8, any udp"',
        default="none",
        help="Whom containers may not reach, or be reached by, whatever `ovs.allow` says; written "
        "as that.",
        endpoint=OfEndpoint(
            example='driver-opt="ovs.deny=10.0.0.0/8 + any udp"',
            help="As for a network, in the place of what that says.",
        ),
    ),
    Option(
        name="ovs.rules",
        scope=Scope.NETWORK,
        field="port.rules",
        on_segment=_NOT_JUDGED,
        parse=access_words.sets,
        text="+".join,
        example="-o ovs.rules=agent",
        default="none",
        help="Sets of rules that hold besides `ovs.allow` and `ovs.deny`, `agent+base`: those of "
        "the configuration and of `ovsnet rules`.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.rules=agent+base",
            help="As for a network, in the place of what that says.",
        ),
    ),
    Option(
        name="ovs.rate",
        scope=Scope.NETWORK,
        field="port.rate",
        parse=rates.rate,
        text=rates.rate_text,
        example="-o ovs.rate=100mbit+20mbit",
        default="none",
        help="Rate of each container in both directions, `100mbit`. Two rates, `100mbit+20mbit`, "
        "are towards it and from it. `none`: no limit.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.rate=10mbit+2mbit",
        ),
    ),
    Option(
        name="ovs.burst",
        scope=Scope.NETWORK,
        field="port.burst",
        parse=rates.burst,
        text=rates.burst_text,
        example="-o ovs.rate=100mbit -o ovs.burst=64kb",
        default="what the rate sends in 50 ms",
        help="How much may go at once above `ovs.rate`: `64kb`.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.rate=10mbit,driver-opt=ovs.burst=64kb",
        ),
    ),
    Option(
        name="ovs.broadcast",
        scope=Scope.NETWORK,
        field="port.broadcast",
        on_segment="OVN limits bytes, not packets; hold the container to a rate with ovs.rate",
        parse=rates.broadcast,
        text=rates.broadcast_text,
        example="-o ovs.broadcast=100",
        default="none",
        help="Broadcasts and multicasts that a container may send in a second.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.broadcast=100",
        ),
    ),
    Option(
        name="ovs.dscp",
        scope=Scope.NETWORK,
        field="port.dscp",
        on_segment="OVN lays the flows of its ports, and marks nothing here; leave it out",
        parse=rates.dscp,
        text=rates.dscp_text,
        example="-o ovs.dscp=ef",
        default="none: as containers mark it",
        help="Mark (DSCP) of what each container sends, IPv4 and IPv6, for switches and routers "
        "beyond: 0 to 63, or a name: `ef`, `af41`, `cs1`.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.dscp=af41",
            help="As for a network. `none` lets the container off.",
        ),
    ),
    Option(
        name="ovs.delay",
        scope=Scope.NETWORK,
        field="port.delay_us",
        parse=rates.time_us,
        text=_some(rates.time_text),
        example="-o ovs.delay=20ms",
        default="none",
        help="Delay of packets in each direction, `20ms`. Needs netem in the kernel.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.delay=20ms",
        ),
    ),
    Option(
        name="ovs.jitter",
        scope=Scope.NETWORK,
        field="port.jitter_us",
        parse=rates.time_us,
        text=_some(rates.time_text),
        example="-o ovs.delay=20ms -o ovs.jitter=5ms",
        default="none",
        help="How much `ovs.delay` varies up and down, `5ms`; packets may overtake each other.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.delay=20ms,driver-opt=ovs.jitter=5ms",
        ),
    ),
    Option(
        name="ovs.loss",
        scope=Scope.NETWORK,
        field="port.loss_ppm",
        parse=rates.share_ppm,
        text=_some(rates.share_text),
        example="-o ovs.loss=1%",
        default="none",
        help="Share of packets that is lost in each direction, `1%`.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.loss=1%",
        ),
    ),
    Option(
        name="ovs.corrupt",
        scope=Scope.NETWORK,
        field="port.corrupt_ppm",
        parse=rates.share_ppm,
        text=_some(rates.share_text),
        example="-o ovs.corrupt=1%",
        default="none",
        help="Share of packets that get a wrong bit in each direction, `1%`.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.corrupt=1%",
        ),
    ),
    Option(
        name="ovs.duplicate",
        scope=Scope.NETWORK,
        field="port.duplicate_ppm",
        parse=rates.share_ppm,
        text=_some(rates.share_text),
        example="-o ovs.duplicate=1%",
        default="none",
        help="Share of packets that come twice, in each direction, `1%`.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.duplicate=1%",
        ),
    ),
    Option(
        name="ovs.reorder",
        scope=Scope.NETWORK,
        field="port.reorder_ppm",
        parse=rates.share_ppm,
        text=_some(rates.share_text),
        example="-o ovs.delay=10ms -o ovs.reorder=25%",
        default="none",
        help="Share of packets that are not delayed and overtake others, in each direction, "
        "`25%`; needs `ovs.delay`.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.delay=10ms,driver-opt=ovs.reorder=25%",
        ),
    ),
    Option(
        name="ovs.link",
        scope=Scope.NETWORK,
        field="port.cable",
        parse=_one_of(Cable),
        example="-o ovs.link=down",
        default="`up`",
        help="`down`: the cable between a container and its switch is pulled; both ends see no "
        "carrier. `ovsnet set … --for 30s` plugs it in again by itself.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.link=down",
        ),
    ),
    Option(
        name="ovs.mirror",
        scope=Scope.NETWORK,
        field="port.mirror",
        parse=mirror_target.parse,
        text=mirror_target.text,
        example="-o ovs.mirror=sink:ids",
        default="none",
        help="Where copies of all packets in the network's VLAN go: `sink:WORD`, a container of "
        "the same bridge with `ovs.sink=WORD`; `nic:eth2`, a NIC of this host; `gre:ADDRESS` or "
        "`erspan:ADDRESS`, another host.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.mirror=sink:ids",
            default="none",
            help="Where copies of what this container sends and gets go, as for a network.",
        ),
    ),
    Option(
        name="ovs.rstp",
        scope=Scope.NETWORK,
        field="features.rstp",
        on_segment=_BY_OVN,
        parse=bridge_words.rstp,
        text=bridge_words.rstp_text,
        example="-o ovs.bridge=br-tree -o ovs.mode=isolated -o ovs.rstp=containers",
        default="`false`",
        help="`containers`: the bridge speaks RSTP with containers, one of which may become the "
        "tree's root. All its networks must say so, without gateway, uplink, internal port or "
        "guard.",
        fixed="a bridge keeps it as long as it stands; make another network on another bridge",
    ),
    Option(
        name="ovs.patch",
        scope=Scope.NETWORK,
        field="patches",
        on_segment=_BY_OVN,
        parse=values.bridges,
        text="+".join,
        example="-o ovs.bridge=br-leaf -o ovs.patch=br-core -o ovs.vlan=30",
        default="none",
        help="Bridges of ovsnet's to join the network's own to, several with `+`. `ovs.vlan` and "
        "`ovs.trunks` cross. Networks that meet so all say it, or `ovs.shared=true`.",
    ),
    Option(
        name="ovs.patch_link",
        scope=Scope.NETWORK,
        field="patch_cable",
        on_segment=_BY_OVN,
        parse=_one_of(Cable),
        example="-o ovs.bridge=br-leaf -o ovs.patch=br-core -o ovs.vlan=30 -o ovs.patch_link=down",
        default="`up`",
        help="`down`: the network's patches are pulled, whichever network uses them. With `ovsnet "
        "set`, as `ovs.link`.",
    ),
    Option(
        name="ovs.mcast",
        scope=Scope.NETWORK,
        field="features.mcast",
        on_segment=_BY_OVN,
        parse=values.flag,
        example="-o ovs.mcast=true",
        default="`false`",
        help="`true`: multicasts go only to ports that listen (IGMP, MLD snooping). Bridge option: "
        "works only on a bridge that ovsnet made; all its networks that set it must agree.",
    ),
    Option(
        name="ovs.control_frames",
        scope=Scope.NETWORK,
        field="features.control_frames",
        on_segment=_BY_OVN,
        parse=bridge_words.control_frames,
        text=bridge_words.control_frames_text,
        example="-o ovs.control_frames=forward",
        default="`drop`",
        help="`drop`: LLDP, LACP and BPDUs end at the bridge. `forward`: they pass, also by an "
        "uplink, so a container can become the LAN's root bridge. Bridge option, as "
        "`ovs.mcast`.",
    ),
    Option(
        name="ovs.controller",
        scope=Scope.NETWORK,
        field="features.controllers",
        on_segment=_BY_OVN,
        parse=bridge_words.controllers,
        text="+".join,
        example="-o ovs.controller=tcp:192.0.2.9:6653",
        default="none",
        help="OpenFlow controller of the bridge, `tcp:192.0.2.9:6653`; several with `+`. Bridge "
        "option, as `ovs.mcast`.",
        aliases=("ovs.bridge.controller",),
    ),
    Option(
        name="ovs.failmode",
        scope=Scope.NETWORK,
        field="features.fail_mode",
        on_segment=_BY_OVN,
        parse=bridge_words.fail_mode,
        example="-o ovs.controller=tcp:192.0.2.9 -o ovs.failmode=secure",
        default="`standalone`",
        help="What the bridge does without its controller. `standalone`: it switches by itself. "
        "`secure`: nothing. Bridge option, as `ovs.mcast`.",
    ),
    Option(
        name="ovs.protocols",
        scope=Scope.NETWORK,
        field="features.protocols",
        on_segment=_BY_OVN,
        parse=bridge_words.protocols,
        text="+".join,
        example="-o ovs.protocols=OpenFlow13+OpenFlow14",
        default="all",
        help="Versions of OpenFlow that the bridge speaks, `OpenFlow13+OpenFlow14`. Bridge option, "
        "as `ovs.mcast`.",
    ),
    Option(
        name="ovs.sflow",
        scope=Scope.NETWORK,
        field="features.sflow",
        on_segment=_BY_OVN,
        parse=bridge_words.sflow,
        text=bridge_words.exporter_text,
        example="-o ovs.sflow=192.0.2.9:6343/64",
        default="none",
        help="Collector of sFlow samples, `192.0.2.9:6343`. With `/64`, one of 64 packets is "
        "sampled. Bridge option, as `ovs.mcast`.",
    ),
    Option(
        name="ovs.netflow",
        scope=Scope.NETWORK,
        field="features.netflow",
        on_segment=_BY_OVN,
        parse=bridge_words.netflow,
        text=bridge_words.exporter_text,
        example="-o ovs.netflow=192.0.2.9:2055",
        default="none",
        help="Collector of NetFlow records, `192.0.2.9:2055`. Bridge option, as `ovs.mcast`.",
    ),
    Option(
        name="ovs.ipfix",
        scope=Scope.NETWORK,
        field="features.ipfix",
        on_segment=_BY_OVN,
        parse=bridge_words.ipfix,
        text=bridge_words.exporter_text,
        example="-o ovs.ipfix=192.0.2.9:4739/64",
        default="none",
        help="Collector of IPFIX records, `192.0.2.9:4739`. With `/64`, one of 64 packets is "
        "sampled. Bridge option, as `ovs.mcast`.",
    ),
    Option(
        name="ovs.sink",
        scope=Scope.NETWORK,
        field="port.sink",
        parse=values.label,
        example="--internal -o ovs.sink=ids",
        default="none",
        help="The network's container gets the copies that `ovs.mirror=sink:WORD` sends here, and "
        "nothing else from this network. Of several containers, the one with the lowest address "
        "gets them.",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.sink=ids",
            help="This container gets the copies that `ovs.mirror=sink:WORD` sends, and nothing "
            "else here: give it a second network. Of several, the one with the lowest address "
            "gets them.",
        ),
    ),
    Option(
        name="ovs.dry_run",
        scope=Scope.NETWORK,
        field="dry_run",
        parse=values.flag,
        example="-o ovs.dry_run=true",
        default="`false`",
        help="`true`: nothing is made; the refusal tells what would be. `ovsnet plan` tells more.",
        fixed="it is for `docker network create` alone",
    ),
    Option(
        name="ovs.gateway",
        scope=Scope.NETWORK,
        field="gateways",
        on_segment="its containers leave through docker_gwbridge; a router between segments is "
        "ovs.router, with --gateway for its address",
        parse=routes.gateway,
        text=routes.gateway_text,
        example="-o ovs.mode=flat -o ovs.gateway=10.1.0.254 --subnet 10.1.0.0/24",
        default="none",
        help="Router of a `flat` or `isolated` network: `container:NAME`, or an address of each "
        "family, with a comma; only a container with that `--ip` gets it. On others: as "
        "`--gateway`.",
    ),
    Option(
        name="ovs.mtu",
        scope=Scope.NETWORK,
        field="port.mtu",
        parse=values.mtu,
        example="-o ovs.mtu=1400",
        default="the uplink's, else the configured MTU, 1500",
        help="MTU in bytes, 68 to 65535; at least 1280 with IPv6.",
        aliases=("com.docker.network.driver.mtu", "ovs.bridge.mtu"),
        endpoint=OfEndpoint(
            example="driver-opt=ovs.mtu=1400",
            help="MTU of the container's interface in bytes, at most the network's.",
            aliases=("com.docker.network.driver.mtu",),
        ),
    ),
    Option(
        name="ovs.port",
        scope=Scope.NETWORK,
        field="port.kind",
        on_segment="its ports are veth pairs; leave it out",
        parse=_one_of(PortKind),
        example="-o ovs.port=internal",
        default="`veth`",
        help="What plugs containers into the bridge: `veth`, or `internal`, Open vSwitch's own "
        "device. On the userspace datapath a restart of ovs-vswitchd interrupts it until "
        "ovsnet has replaced it.",
        fixed="it would take the containers' interfaces away; make another network, or give "
        "single containers ovs.port at their next start",
        endpoint=OfEndpoint(
            example="driver-opt=ovs.port=internal",
            help="What plugs this container in: `veth` or `internal`.",
            fixed="it would take the container's interface away; start the container again with it",
        ),
    ),
    Option(
        name="ovs.uplink",
        scope=Scope.NETWORK,
        field="uplink",
        parse=values.nics,
        text="+".join,
        example="-o ovs.uplink=eth1 -o ovs.vlan=30",
        default="none, or that of the bridge's other networks",
        help="NIC from the bridge to the LAN, a trunk of the VLANs in use. `eth1+eth2`: a bond. "
        "Without `ovs.bridge` the bridge is the NIC's own, else a new `br-eth1`.",
        aliases=("ovs.bridge.bind_interface",),
        fixed="a NIC may carry the host and other networks; make another network with it and "
        "connect the containers to that",
    ),
    Option(
        name="ovs.bridge.add_ports",
        scope=Scope.NETWORK,
        field="uplink",
        parse=_added_port,
        example="-o ovs.bridge.add_ports=eth1 -o ovs.vlan=30",
        default="see `ovs.uplink`",
        help="dovesnap's word for one NIC, without an OpenFlow port number: `ovs.uplink`.",
        fixed="a NIC may carry the host and other networks; make another network with it and "
        "connect the containers to that",
    ),
    Option(
        name="ovs.bond",
        scope=Scope.NETWORK,
        field="bond",
        on_segment=_NO_WIRE,
        parse=_one_of(BondMode),
        example="-o ovs.uplink=eth1+eth2 -o ovs.bond=balance-slb -o ovs.vlan=30",
        default="`active-backup` with several NICs",
        help="How the NICs of an uplink share the traffic: `active-backup`, `balance-slb`, or "
        "`balance-tcp`, which needs LACP.",
    ),
    Option(
        name="ovs.lacp",
        scope=Scope.NETWORK,
        field="lacp",
        on_segment=_NO_WIRE,
        parse=_one_of(Lacp),
        example="-o ovs.uplink=eth1+eth2 -o ovs.lacp=active -o ovs.vlan=30",
        default="`off`; `active` with `balance-tcp`",
        help="LACP with the switch beyond a bond: `off`, `passive` or `active`.",
    ),
    Option(
        name="ovs.uplink_move",
        scope=Scope.NETWORK,
        field="uplink_move",
        on_segment=_NO_WIRE,
        parse=values.flag,
        example="-o ovs.uplink=eth0 -o ovs.uplink_move=true -o ovs.vlan=30",
        default="`false`",
        help="`true`: the uplink may be a NIC with the host's addresses and routes, which move to "
        "the bridge. If the gateway then does not answer, all is put back.",
        fixed="the host is where it was when the NIC was taken; make the bridge's networks again",
    ),
    Option(
        name="ovs.uplink_link",
        scope=Scope.NETWORK,
        field="uplink_cable",
        on_segment=_NO_WIRE,
        parse=_one_of(Cable),
        example="-o ovs.uplink=eth1 -o ovs.vlan=30 -o ovs.uplink_link=down",
        default="`up`",
        help="`down`: the uplink's cable is pulled, for all networks on it; its other end sees no "
        "carrier. With `ovsnet set`, as `ovs.link`. Not on the host's own NIC.",
    ),
    Option(
        name="ovs.uplink_rate",
        scope=Scope.NETWORK,
        field="uplink_rate",
        on_segment=_NO_WIRE,
        parse=rates.bits,
        text=rates.bits_text,
        example="-o ovs.uplink=eth1 -o ovs.vlan=30 -o ovs.uplink_rate=900mbit",
        default="none",
        help="What each NIC of the uplink sends at most, for all its networks. Marks decide who "
        "waits: DSCP 40 and above goes first, CS1 and LE last. `none`: no limit.",
    ),
    Option(
        name="ovs.datapath",
        scope=Scope.NETWORK,
        field="datapath",
        on_segment=_BY_OVN,
        parse=_one_of(Datapath),
        example="-o ovs.bridge=br-user -o ovs.datapath=netdev",
        default="`system` where the kernel has openvswitch, else `netdev`",
        help="Datapath of a bridge that is made for this network.",
        fixed="a bridge has one datapath for life; make another network on another bridge",
    ),
    Option(
        name="ovs.bridge.userspace",
        scope=Scope.NETWORK,
        field="datapath",
        on_segment=_BY_OVN,
        parse=_userspace,
        text=lambda datapath: values.text(datapath is Datapath.NETDEV),
        example="-o ovs.bridge=br-user -o ovs.bridge.userspace=true",
        default="see `ovs.datapath`",
        help="dovesnap's word: `true` is `ovs.datapath=netdev`, `false` is `system`.",
        fixed="a bridge has one datapath for life; make another network on another bridge",
    ),
    Option(
        name="ovs.ifprefix",
        scope=Scope.NETWORK,
        field="interface_prefix",
        parse=values.interface_prefix,
        example="-o ovs.ifprefix=lan",
        default="`eth`",
        help="Beginning of the interface's name in containers; Docker appends a number.",
        aliases=("com.docker.network.container_iface_prefix",),
    ),
    Option(
        name="com.docker.network.bridge.enable_ip_masquerade",
        scope=Scope.NETWORK,
        field="masquerade",
        on_segment=_NO_GATEWAY,
        parse=values.flag,
        example="-o com.docker.network.bridge.enable_ip_masquerade=false",
        default="`true`",
        help="`false`: a `nat` network's packets leave with their own source address.",
    ),
    Option(
        name="com.docker.network.bridge.host_binding_ipv4",
        scope=Scope.NETWORK,
        field="bindings",
        on_segment="docker_gwbridge publishes its ports; name the host's address in each -p",
        parse=routes.one_of_each_family,
        example="-o com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
        default="every address of the host",
        help="Host address for ports that `-p` publishes without one: IPv4, IPv6, or one of each "
        "with a comma. A family that is not named is not published. On `nat` networks.",
    ),
    Option(
        name="ovs.mac",
        scope=Scope.ENDPOINT,
        field="mac",
        parse=values.mac,
        example="driver-opt=ovs.mac=02:00:00:00:00:07",
        default="made from the address",
        help="MAC address of the container's interface; as `--mac-address`, but of one network.",
        aliases=("kathara.mac_addr",),
        fixed="others on the segment know the container by it; start the container again with it",
    ),
    Option(
        name="com.docker.network.endpoint.ifname",
        scope=Scope.ENDPOINT,
        field="interface",
        parse=_interface,
        example="driver-opt=com.docker.network.endpoint.ifname=lan0",
        default="`ovs.ifprefix` and a number",
        help="Name of the interface in the container, with Docker 29.8 or newer. Older ones do not "
        "take it from a plugin: the log and `ovsnet endpoint show` say so.",
        fixed="Docker names the interface when it starts the container; start it again with it",
    ),
    Option(
        name="ovs.ofport",
        scope=Scope.ENDPOINT,
        field="ofport",
        on_segment=_BY_OVN,
        parse=_ofport,
        example="driver-opt=ovs.ofport=77",
        default="any free one",
        help="OpenFlow port number on the bridge, 1 to 65279; refused if another port has it.",
    ),
    Option(
        name="ovs.protected",
        scope=Scope.ENDPOINT,
        field="protected",
        parse=values.flag,
        example="driver-opt=ovs.protected=true",
        default="`false`",
        help="`true`: this container reaches no other container of the bridge, or of the segment, "
        "that has `ovs.protected=true`. It reaches the gateway and all others.",
    ),
    Option(
        name="ipam.space",
        scope=Scope.IPAM,
        field="space",
        on_segment="a segment is an address space; leave one of them out",
        parse=values.space,
        example="--ipam-opt ipam.space=team1 -o ovs.space=team1",
        default="the IPAM driver's",
        help="Address space: subnets may repeat between spaces, never inside one. Repeat it as `-o "
        "ovs.space`.",
        fixed="the pool was made with it; make the network again",
    ),
    Option(
        name="ipam.segment",
        scope=Scope.IPAM,
        field="segment",
        parse=values.segment,
        example="--ipam-opt ipam.segment=blue -o ovs.segment=blue --subnet 10.50.0.0/24",
        default="none",
        help="Segment that the addresses are of; repeats `ovs.segment`.",
        fixed="the addresses are of that segment; make another network",
    ),
    Option(
        name="ipam.prefix",
        scope=Scope.IPAM,
        field="prefix",
        on_segment="its first host says --subnet; leave it out",
        parse=_prefix,
        example="--ipam-opt ipam.prefix=26",
        default="the size in the configuration",
        help="Prefix length of a subnet that is chosen for the network; `26,64` on one with IPv4 "
        "and IPv6.",
        fixed="the pool was made with it; make the network again",
    ),
    Option(
        name="ipam.exclude",
        scope=Scope.IPAM,
        field="excluded",
        parse=_excluded,
        example="--ipam-opt ipam.exclude=10.9.0.5,10.9.0.10-10.9.0.20 --subnet 10.9.0.0/24",
        default="none",
        help="Addresses inside of `--subnet` that are given only on request: `10.0.0.5`, "
        "`10.0.0.10-10.0.0.20` or `10.0.0.128/26`, several with commas.",
        fixed="the pool was made with it; make the network again",
    ),
    Option(
        name="ipam.quarantine",
        scope=Scope.IPAM,
        field="quarantine_s",
        on_segment=_NOT_SHARED,
        parse=_quarantine_s,
        example="--ipam-opt ipam.quarantine=30s",
        default="`0s`",
        help="How long a released address is not chosen again: `30s`, `5m` or `2h`. Its last "
        "holder, known by name, gets it earlier, and so does a request for that address.",
        fixed="the pool was made with it; make the network again",
    ),
    Option(
        name="ipam.limit",
        scope=Scope.IPAM,
        field="limit",
        on_segment=_NOT_SHARED,
        parse=_limit,
        example="--ipam-opt ipam.limit=50",
        default="none",
        help="How many addresses of each subnet may be held at once, its gateway's included.",
        fixed="the pool was made with it; make the network again",
    ),
    Option(
        name="ipam.probe",
        scope=Scope.IPAM,
        field="probe",
        parse=values.flag,
        example="--ipam-opt ipam.probe=true",
        default="`false`",
        help="`true`: before a container gets an address, ask the segment by ARP or ND, at most 1 "
        "s, and pass over addresses in use. Networks of ovsnet, not OVN's segments.",
        fixed="the pool was made with it; make the network again",
    ),
)

_ROWS: Mapping[Scope, Sequence[Option]] = {
    scope: [
        *(r.of_endpoint(r.endpoint) for r in TABLE if r.endpoint and scope is Scope.ENDPOINT),
        *(r for r in TABLE if r.scope is scope),
    ]
    for scope in Scope
}

_NAMES: Mapping[Scope, Mapping[str, Option]] = {
    scope: {name: row for row in rows for name in (row.name, *row.aliases)}
    for scope, rows in _ROWS.items()
}

_DOVESNAP = frozenset(
    f"ovs.bridge.{name}"
    for name in (
        "add_copro_ports",
        "default_acl",
        "dhcp",
        "dpid",
        "lbport",
        "mirror_tunnel_vid",
        "nat_acl",
        "ovs_local_mac",
        "preallocate_ports",
        "vlan_out_acl",
    )
)
"""Options of dovesnap's for which there is nothing here (yet)."""

_BRIDGE = "com.docker.network.bridge."
_NOT_DONE = {
    f"{_BRIDGE}inhibit_ipv4": "ovs.mode=flat puts no address of the host's on a network",
    f"{_BRIDGE}trusted_host_interfaces": "containers of ovs.mode=routed are reached by their own "
    "addresses",
    f"{_BRIDGE}firewalld_zone": "all gateways of ovsnet are in the zone of `ovsnet firewalld`",
    f"{_BRIDGE}default_bridge": "only Docker's own network `bridge` is that",
    "com.docker.network.host_ipv4": "what leaves has the address of the link that it leaves by, or "
    "its own with ovs.mode=routed",
}
_NOT_DONE["com.docker.network.host_ipv6"] = _NOT_DONE["com.docker.network.host_ipv4"]
"""Options of Docker's bridge up to engine 29 for which there is nothing here, and what there is."""

_OURS = ("ovs.", "ipam.")

_GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv"
_MIXABLE = frozenset({Mode.NAT, Mode.ROUTED})


def network(typed: Mapping[str, str], *, internal: bool) -> NetworkOptions:
    """Read ``docker network create -o``.

    Raises:
        InvalidOptionError: an option is unknown, misplaced, out of range or contradicts another.
    """
    typed = of_others.of_network(typed)
    settled, ignored = _settle(Scope.NETWORK, typed)
    settled |= _modes(settled.get("mode"), settled.get("mode4"), settled.get("mode6"))
    options = NetworkOptions(
        **_grouped(settled, port=PortOptions, features=Features),
        typed=typed,
        ignored=ignored,
        off_segment=_off_segment(Scope.NETWORK, typed),
    )
    if internal and options.mode not in (None, Mode.FLAT, Mode.ISOLATED):
        raise InvalidOptionError(
            f"--internal contradicts ovs.mode={options.mode}: an internal network has no way out; "
            "leave one of them out"
        )
    return options


def _modes(said: Mode | None, ipv4: Mode | None, ipv6: Mode | None) -> dict[str, Mode | None]:
    """Return ``mode`` and ``mode6`` from ``ovs.mode`` and Docker's words for each family."""
    if ipv4 is None and ipv6 is None:
        return {"mode": said}
    for family, mode in ((4, ipv4), (6, ipv6)):
        if said is not None and mode not in (None, said):
            raise InvalidOptionError(
                f"ovs.mode={said} and {_GATEWAY_MODE}{family}={mode} contradict each other; "
                "leave one of them out"
            )
    # Of a family that it is told nothing of, Docker's bridge driver takes nat.
    other = said or (Mode.NAT if (ipv4 or ipv6) in _MIXABLE else ipv4 or ipv6)
    ipv4, ipv6 = ipv4 or other, ipv6 or other
    if ipv4 is ipv6:
        return {"mode": ipv4, "mode6": None}
    if not {ipv4, ipv6} <= _MIXABLE:
        raise InvalidOptionError(
            f"{_GATEWAY_MODE}4={ipv4} and {_GATEWAY_MODE}6={ipv6} cannot be had on one network: "
            "only nat and routed go together; use two networks, or one ovs.mode for both"
        )
    return {"mode": ipv4, "mode6": ipv6}


def endpoint(typed: Mapping[str, str]) -> EndpointOptions:
    """Read the driver options of one container on one network; errors as ``network``."""
    settled, ignored = _settle(Scope.ENDPOINT, typed)
    return EndpointOptions(
        **_grouped(settled, port=PortOptions),
        typed=typed,
        ignored=ignored,
        off_segment=_off_segment(Scope.ENDPOINT, typed),
    )


def pool(typed: Mapping[str, str], *, segment: str | None = None) -> PoolOptions:
    """Read ``docker network create --ipam-opt``; errors as ``network``.

    ``segment`` is the one whose driver was named, and is meant if no other one is typed.
    """
    settled, ignored = _settle(Scope.IPAM, typed)
    if segment is not None:
        settled.setdefault("segment", segment)
    unfit = _off_segment(Scope.IPAM, typed)
    if "segment" in settled and unfit:
        raise InvalidOptionError(unfit)
    return PoolOptions(**settled, ignored=ignored)


def _off_segment(scope: Scope, typed: Mapping[str, str]) -> str:
    for key, text in typed.items():
        option = _NAMES[scope].get(key.lower())
        if option is not None and option.on_segment:
            return f"{key}={text} on a segment: {option.on_segment}"
    return ""


def row(scope: Scope, key: str) -> Option:
    """Return the row of an option of ours; errors as ``network``, for other people's keys too."""
    found = _NAMES[scope].get(key.lower())
    if found is None:
        _refuse_unless_foreign(scope, key)
        raise InvalidOptionError(
            f"{quote(key)}: no option of ovsnet's; `ovsnet options` lists them"
        )
    return found


def known(scope: Scope, key: str) -> bool:
    """Whether ``key`` is an option of ours in ``scope``."""
    return key.lower() in _NAMES[scope]


def rows(scope: Scope | None = None) -> Sequence[Option]:
    """Return the rows of one scope or of all, in the order in which people read them.

    One of both scopes is there for each, as it is there.
    """
    return [row for each in Scope if scope in (None, each) for row in _ROWS[each]]


def markdown() -> str:
    """Return the tables for ``ovsdriver/README.md``, with a line's end after the last row."""
    return "\n".join(_table(scope) for scope in Scope)


def _table(scope: Scope) -> str:
    titles = {Scope.NETWORK: "Networks", Scope.ENDPOINT: "Containers", Scope.IPAM: "Addresses"}
    lines = [f"**{titles[scope]}**: `{scope.command}`", ""]
    lines += [
        "| option | typed as `EXAMPLE` | default | `set` | segment | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows(scope):
        also = ", ".join(f"`{alias}`" for alias in row.aliases)
        text = f"{row.help} Also: {also}." if also else row.help
        live = "no" if row.fixed else "yes"
        there = "no" if row.on_segment else "yes"
        lines.append(
            f"| `{row.name}` | `{row.example}` | {row.default} | {live} | {there} | {text} |"
        )
    return "\n".join(lines) + "\n"


def _settle(scope: Scope, typed: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return values by field, and the keys that are other people's."""
    settled: dict[str, Any] = {}
    said: dict[str, str] = {}
    ignored = []
    for key, text in typed.items():
        row = _NAMES[scope].get(key.lower())
        if row is None:
            if scope is not Scope.ENDPOINT or key.lower() not in of_others.LABELS:
                _refuse_unless_foreign(scope, key)
            ignored.append(key)
            continue
        value = _value(row, key, text)
        if row.field in settled and settled[row.field] != value:
            raise InvalidOptionError(
                f"{said[row.field]} and {key}={text} contradict each other, for they mean the "
                "same; leave one of them out"
            )
        settled[row.field] = value
        said[row.field] = f"{key}={text}"
    return settled, tuple(ignored)


def _grouped(settled: Mapping[str, Any], **kinds: Callable[..., object]) -> dict[str, Any]:
    """Return values by field, those of ``port.mtu`` and the like as one object for each group."""
    plain = {name: value for name, value in settled.items() if "." not in name}
    groups: dict[str, dict[str, Any]] = {group: {} for group in kinds}
    for name in settled.keys() - plain.keys():
        group, _, inner = name.partition(".")
        groups[group][inner] = settled[name]
    return plain | {group: kinds[group](**inner) for group, inner in groups.items()}


def _value(row: Option, key: str, text: str) -> object:
    if not text:
        raise InvalidOptionError(f"{key}: no value; write {key}=… or leave it out")
    try:
        return row.parse(text)
    except ValueError as error:
        raise InvalidOptionError(f"{key}: {error}") from error


def _refuse_unless_foreign(scope: Scope, key: str) -> None:
    name = key.lower()
    for other in Scope:
        if name in _NAMES[other]:
            raise InvalidOptionError(
                f"{key}: an option of {other.phrase}, not of {scope.phrase}; "
                f"write {other.usage(name)}"
            )
    known = _NAMES[scope]
    if name in _DOVESNAP:
        raise InvalidOptionError(f"{key}: an option of dovesnap's, not of ovsnet's; leave it out")
    if scope is Scope.NETWORK and name in _NOT_DONE:
        raise InvalidOptionError(f"{key}: ovsnet does not do that; {_NOT_DONE[name]}; leave it out")
    if scope is Scope.NETWORK and name.startswith(_BRIDGE):
        bridges = [each for each in known if each.startswith(_BRIDGE)]
        raise InvalidOptionError(
            f"{quote(key)}: no such option of {scope.phrase}{values.nearest(name, bridges)}"
        )
    if name.startswith(_OURS) or name.count(".") < 2:
        raise InvalidOptionError(
            f"{quote(key)}: no such option of {scope.phrase}"
            f"{values.nearest(name, known) or '; `ovsnet options` lists them'}"
        )
    if mistyped := _nearly(name, known) or _inside(name, known):
        raise InvalidOptionError(
            f"{quote(key)}: no such option of {scope.phrase}; did you mean `{mistyped}`?"
        )


def _inside(name: str, known: Iterable[str]) -> str | None:
    """Return the option of ours that ``name`` ends like, behind somebody's domain."""
    ours = [each for each in known if each.startswith(_OURS)]
    _, dot, tail = name.partition(".")
    while dot:
        near = difflib.get_close_matches(tail, ours, n=1, cutoff=0.8)
        if tail.startswith(_OURS) and near:
            return near[0]
        _, dot, tail = tail.partition(".")
    return None


def _nearly(name: str, known: Iterable[str]) -> str | None:
    """Return the name that ``name`` is a slip of: one half of it right, the other almost.

    Whole names are not compared: ``com.docker.network.bridge.`` makes strangers look alike.
    """
    left, _, right = name.rpartition(".")
    for other in known:
        known_left, _, known_right = other.rpartition(".")
        if left == known_left:
            pair = (right, known_right)
        elif right == known_right:
            pair = (left, known_left)
        else:
            continue
        if difflib.SequenceMatcher(None, *pair).ratio() > 0.8:
            return other
    return None
