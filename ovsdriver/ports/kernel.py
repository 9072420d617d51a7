"""The kernel's links, queues, sandboxes, NICs, firewall and ports."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.model import HostPort, Publication, Transport
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.records.options.shaping import LinkShape
from ovsdriver.domain.records.uplink_notes import NicState
from ovsdriver.domain.traffic.firewall import FirewallPlan
from ovsdriver.domain.wires.observed import LinkTies, Measured, ObservedLink, RouteKind
from ovsdriver.domain.wires.plumbing import Gateway, Probe, Tap, Veth
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.domain.wires.ways import WayChange
from ovsdriver.ports.access import AccessFirewall


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route of the host, of any table."""

    destination: IPNetwork
    """``0.0.0.0/0`` or ``::/0`` for a default route."""
    kind: RouteKind = RouteKind.UNICAST
    link: str = ""
    table: int = 254
    gateway: IPAddress | None = None


class Links(Protocol):
    """The host's links, addresses and routes, through netlink, off the loop."""

    async def ensure_veth(self, veth: Veth, born: Callable[[], None] | None = None) -> None:
        """Make the pair, host end up, both with MTU, or put right what is there of ours.

        A link of that name without our alias: ConflictError.

        Args:
            veth: the pair.
            born: called on the loop when both ends of a new pair are there, for who goes on with
                the host's while the rest is set. Not if they were there before.
        """
        ...

    async def ensure_tap(self, tap: Tap) -> None:
        """Give a container's internal port its MAC, MTU and our mark; it stays down.

        A link of that name that is none of vswitchd's, or is another endpoint's: ConflictError.
        """
        ...

    async def mark_bridge(self, name: str) -> None:
        """Mark the own device of a bridge of ours, if it is there and has no mark of anybody's."""
        ...

    async def remove_link(self, name: str) -> bool:
        """Delete a link of ours, in a batch with others; False if not there.

        A veth pair by its host end; or the tap of an internal port, when vswitchd, which should
        have deleted it with its port, was not there; or a bridge's own. Answers when the deletion
        is certain to happen, which may be before it has.
        """
        ...

    async def ensure_gateway(self, gateway: Gateway) -> None:
        """Give the internal port its MAC, MTU, addresses and sysctls, and set it up."""
        ...

    async def ensure_probe(self, probe: Probe) -> None:
        """Give the internal port its MAC and MTU, and set it up so that the host is not there."""
        ...

    async def links(self) -> Mapping[str, ObservedLink]:
        """Return every link of the host's namespace by name."""
        ...

    async def measured(self) -> Mapping[str, Measured]:
        """Return what passed every link of the host's namespace, by name, as its device counts."""
        ...

    async def routes(self, near: Sequence[IPNetwork]) -> Sequence[Route]:
        """Return the unicast routes that share an address with one of ``near``; a thousand at most.

        Of all tables but local; one for each way of a multipath route. Default routes are never
        near: every host has them.
        """
        ...

    async def routes_by(self, link: str) -> Sequence[Route]:
        """Return the unicast routes through a link, default ones too; a thousand at most."""
        ...

    async def ties(self, link: str) -> LinkTies:
        """Return what of the host refers to a link; nothing if it is not there."""
        ...

    async def taken(self, near: Sequence[IPNetwork]) -> Sequence[Route]:
        """Return what of some subnets the host has spoken for: every route near them.

        Of all tables and of every :class:`RouteKind`, so the host's own addresses are in it, and
        what it throws away, for instance the aggregates that a routing daemon announces.
        """
        ...

    async def tso(self, tap: str) -> bool:
        """Whether the vswitchd that holds ``tap`` runs with userspace TSO."""
        ...

    async def sandbox_alive(self, path: str) -> bool:
        """Whether ``path`` is a live network namespace handle, not an empty file left over."""
        ...

    async def sandbox_used(self, path: str, *, glance: bool = False, started: bool = False) -> bool:
        """Whether a process is in the network namespace behind ``path``.

        With ``glance`` also True where it would take longer than some milliseconds to know. With
        ``started`` a process does not count that waits there to become the container's first one.

        UnavailableError if we may not know.
        """
        ...

    async def ensure_offload(self, sandbox: str, mac: EUI, *, tx: bool) -> bool:
        """Set TX checksum offload of the link with ``mac`` in a sandbox; False if not there."""
        ...

    async def ensure_mtu(self, veth: Veth, sandbox: str) -> bool:
        """Give both ends of a pair of ours their MTU, the container's wherever it is by now.

        False, and nothing is changed, if there is no such pair. The bridge's end comes last.
        """
        ...

    async def neighbours(
        self, link: str, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, EUI]:
        """Ask by ARP and ND who has ``addresses`` on the segment of ``link``; return who answers.

        Takes at most ``within_s``, all of it if one of them is nobody's.
        """
        ...


class Shapes(Protocol):
    """What the kernel does to what leaves links: rates, delays, losses."""

    async def on_host(self, link: str, shape: LinkShape) -> bool:
        """Have a link of the host shaped so; False if it is already, or is not there.

        The kernel cannot do it: UnsupportedError. Somebody else shapes it: ConflictError.
        """
        ...

    async def inside(self, sandbox: str, mac: EUI, shape: LinkShape) -> bool:
        """Have the veth with ``mac`` in a sandbox shaped so; False if it is not there (yet).

        Errors as ``on_host``.
        """
        ...

    async def observed(self) -> Mapping[str, LinkShape]:
        """Return what of ours is on links of the host, by name."""
        ...

    async def able(self, shape: LinkShape) -> bool:
        """Whether the kernel can shape a link so; found out where nobody is."""
        ...

    def same(self, one: LinkShape, other: LinkShape) -> bool:
        """Whether both are one to the kernel, which rounds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLink:
    """An endpoint's link as it was seen in its sandbox."""

    link: SandboxLink
    attached: bool
    """It leads to the switch; else it is what is left of one."""


class Sandboxes(Protocol):
    """Links inside of containers' network namespaces, through netlink, off the loop."""

    async def look(
        self, sandbox: str, link: Veth | Tap, noted: SandboxLink | None = None
    ) -> SeenLink | None:
        """Return the container's end of a link; None if it is not there, or the sandbox is dead.

        What is left of a pair whose other end is gone is known by what was ``noted`` of it.
        """
        ...

    async def restore(self, sandbox: str, link: Veth | Tap, wanted: SandboxLink) -> Sequence[str]:
        """Put the device that is in the host's namespace there, as ``wanted``, and announce it.

        What is left of an earlier one is deleted. Returns what the kernel did not take, in words.
        Another interface has the name: ConflictError. There is no device to put there, or the
        sandbox is dead: UnavailableError.
        """
        ...

    async def settle_ways(
        self, sandbox: str, link: Veth | Tap, change: WayChange, *, dry: bool = False
    ) -> bool | None:
        """Give the container's end of a link the routes of ``change``; whether that changed any.

        None, and nothing is done, if that end is not there (yet), or the sandbox is dead. A route
        that somebody else has to the same place is left, and ours is not put. With ``dry`` only
        told, nothing done.
        """
        ...

    async def measured(self, marked: Mapping[str, str]) -> Mapping[str, Measured]:
        """Return what passed links in sandboxes, by their marks, as their devices count.

        ``marked`` has the path of its sandbox for the mark (alias) of each. One that is not there,
        or whose sandbox is dead, is left out.
        """
        ...


class Nics(Protocol):
    """NICs that become uplinks, through netlink, off the loop."""

    async def state(self, nic: str) -> NicState | None:
        """Return how a NIC is; None if there is no such link."""
        ...

    async def take(self, nic: str, *, up: bool = True) -> None:
        """Set a NIC up or down, with the host silent on it; UnavailableError if there is none."""
        ...

    async def let_go(self, nic: str) -> None:
        """Wait, a moment at most, until the switch has let go of a NIC that has just left it."""
        ...

    async def give_back(self, nic: str, before: NicState) -> bool:
        """Make a NIC as it was; False if there is no such link any more."""
        ...

    async def held(self, link: str) -> Held:
        """Return what of the host is on a link; nothing if there is no such link."""
        ...

    async def move(self, what: Held, *, source: str, target: str) -> Sequence[str]:
        """Take addresses and routes from one link and put them on another, which is set up.

        Returns the routes that the kernel did not take. No ``target``: UnavailableError; a
        ``source`` that is gone is no matter.
        """
        ...

    async def put_neighbours(self, link: str, before: NicState) -> None:
        """Write down on a link whom a NIC had as permanent neighbours, and for whom it answered."""
        ...

    async def boot(self) -> str:
        """Return what tells this boot of the machine from others."""
        ...


class Firewall(Protocol):
    """Our nftables table and the forwarding switches that go with it."""

    @property
    def access(self) -> AccessFirewall:
        """What keeps access rules, and is asked and removed by itself."""
        ...

    async def ensure(self, plan: FirewallPlan) -> bool:
        """Make the table exactly ``plan``, atomically; False if it already was."""
        ...

    def preview(self, before: FirewallPlan, after: FirewallPlan) -> Sequence[str]:
        """Return what comes to our table from one plan to another, one object a line."""
        ...

    async def differs(self, plan: FirewallPlan) -> bool:
        """Whether :meth:`ensure` would change anything; changes nothing."""
        ...

    def renewed(self, gateway: str) -> None:
        """Say that a gateway's device may be another one than :meth:`ensure` has looked at."""
        ...

    async def cut(self, published: Collection[Publication]) -> None:
        """Have the kernel forget the connections to published ports.

        A packet of such a connection is then judged anew. What somebody sends without an end
        would otherwise follow its first packet, past new rules, for as long as it goes on.
        """
        ...

    async def remove(self) -> None:
        """Remove the table and our accepts, and put back every switch that we changed.

        UnavailableError if something did not answer; what could be removed is removed.
        """
        ...

    async def run(self) -> None:
        """Hear of what others change, until cancelled; UnavailableError: it cannot be heard of."""
        ...

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the loop when someone else changed nftables or iptables."""
        ...

    def on_gateway(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the name of each gateway whose device or addresses changed.

        By whomever: our own changes are told as well.
        """
        ...

    def on_carrier(self, callback: Callable[[str, bool | None], None]) -> None:
        """Call ``callback`` with every link that the kernel says something of.

        And whether it has a carrier; None: it is gone. Mostly nothing is different.
        """
        ...

    async def findings(self) -> Sequence[str]:
        """Return one sentence for each foreign chain that drops what we accept.

        UnavailableError if nftables or iptables did not answer.
        """
        ...


class HostPorts(Protocol):
    """Ports of this host, held so that no other program gets them; and the relay for ``::1``.

    They are held for as long as this process lives.
    """

    def held(self) -> Collection[HostPort]:
        """Return what is held."""
        ...

    async def hold(
        self,
        protocol: Transport,
        addresses: Sequence[IPAddress],
        ports: Sequence[int],
        *,
        count: int = 1,
    ) -> int | None:
        """Hold one port on all of ``addresses``, and return it; None if there is none free.

        Or ``count`` of them, from each of ``ports`` on. Of more than ``publishing.MOST_HELD``
        it is only made sure that nobody waits there now.

        Args:
            protocol: of the port.
            addresses: ``0.0.0.0`` or ``::`` for all of a family; at least one.
            ports: the first that is free on all of them is taken; none: any of those that the
                kernel hands out.

        Raises:
            UnsupportedError: an address is not this host's, or a port needs a privilege.
        """
        ...

    async def release(self, port: HostPort) -> bool:
        """Let go of a port and end its relay; False if it is not held."""
        ...

    async def relay(self, port: HostPort, address: IPAddress, target: int) -> None:
        """Serve a held port of ``::`` or ``::1`` on ``::1``, from and to a container's port.

        The kernel does not forward what is for ``::1``. Again for the same: nothing happens. Not
        for SCTP nor for more than ``publishing.MOST_HELD`` ports, where nothing happens either.
        """
        ...
