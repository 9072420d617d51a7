"""What a container's interface is like in its sandbox, so that it can be made again as it was.

Docker sets it up without telling us how: the number in its name, the routes, the one network that
has the default route, the settings. So it is looked at from time to time and noted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.model import NO_OPTIONS, Endpoint, Network, Way, beside
from ovsdriver.domain.records.on_link import Held, HeldAddress
from ovsdriver.domain.wires import desired

_LONGEST_PREFIX = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """A link in a sandbox: as it was seen, or as it should be."""

    name: str
    """``eth0``; ``eth%d`` for the first free number."""
    index: int = 0
    """0: any."""
    mac: EUI
    mtu: int
    up: bool = True
    master: str = ""
    """The bridge or bond in the same sandbox that it is a port of."""
    held: Held = field(default_factory=Held)
    neighbours: tuple[str, ...] = ()
    """Entries that somebody made for good, as the kernel describes them, in hexadecimal digits."""
    settings: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """Kernel settings (sysctls) that are not what a new link of this sandbox has:
    ``ipv6/conf/disable_ipv6`` and the like, without the link's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperLink(LinkState):
    """A link that somebody in the container has put on top of another, such as a VLAN of it."""

    lower: str
    """Name of the link that it is on; the kernel deletes it with that one."""
    kind: str
    """``vlan``, ``macvlan``, …"""
    data: str
    """What belongs to the kind, as the kernel describes it, in hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLink(LinkState):
    """A container's end of an endpoint's link."""

    sandbox: str
    """Path of the namespace."""
    uppers: tuple[UpperLink, ...] = ()
    """What is on top of it, each behind the one that it is on."""
    gateways: tuple[IPAddress, ...] = ()
    """Of what was never seen: default routes, in case the sandbox has none."""
    on_link: tuple[IPNetwork, ...] = ()
    """Of what was never seen: subnets that are reached without a gateway."""
    ways: tuple[Way, ...] = ()
    """Of what was never seen: routes by routers that are no gateways."""
    restoring: bool = False
    """It is being made again. What is seen meanwhile is half of it."""

    @property
    def excess(self) -> str:
        """What of it would not be put back if it were lost, for people; empty: nothing."""
        parts = []
        for each in (self, *self.uppers):
            for kept, more, what in (
                (len(each.held.addresses), each.held.more_addresses, "addresses"),
                (len(each.held.routes), each.held.more_routes, "routes"),
            ):
                if more:
                    parts.append(f"{more} of the {kept + more} {what} of {each.name}")
        return " and ".join(parts)


def never_seen(
    network: Network, endpoint: Endpoint, *, sandbox: str, prefix: str, named: str = ""
) -> SandboxLink:
    """Return what Docker makes of ``endpoint``, as far as that can be told from outside."""
    gateways = (
        gateway
        for each in endpoint.addresses
        if (gateway := network.gateway_of(each)) is not None and gateway != each.ip
    )
    return SandboxLink(
        sandbox=sandbox,
        # the kernel takes 15 bytes for a name, and for the pattern of one
        name=named or (f"{prefix}%d" if len(prefix) <= _LONGEST_PREFIX else f"{prefix}0"),
        mac=endpoint.mac,
        mtu=desired.mtu(network, endpoint),
        held=Held(
            addresses=tuple(
                HeldAddress(address=each, permanent=True, message="") for each in endpoint.addresses
            )
        ),
        settings=(
            NO_OPTIONS
            if any(each.version == 6 for each in endpoint.addresses)
            else {"ipv6/conf/disable_ipv6": "1"}
        ),
        gateways=tuple(gateways),
        ways=endpoint.ways,
        on_link=beside(network, endpoint),
    )
