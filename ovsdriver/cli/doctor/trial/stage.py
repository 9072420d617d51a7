"""What a trial makes: networks and containers, by whoever makes them."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.cli.doctor.trial.left import SPACE
from ovsdriver.cli.doctor.trial.rooms import Room

BASE4 = IPNetwork("198.18.0.0/15")
"""RFC 2544 keeps it for tests like these, so nobody's network has it."""
BASE6 = IPNetwork("fd6f:7673:7465::/48")

NETWORK_OPTIONS: Mapping[str, str] = {"ovs.space": SPACE, "ovs.mode": "nat"}
IPAM_OPTIONS: Mapping[str, str] = {"ipam.space": SPACE}

TRIES = 16
"""Of subnets, where some are in use all the same."""


class RefusedError(Exception):
    """ovsnet, or Docker, refused; the text is its sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet of a network, and its gateway."""

    cidr: IPNetwork
    gateway: IPAddress | None
    pool: str = ""
    """Our IPAM's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that was made, or one that was there."""

    id: str
    name: str
    subnets: Sequence[Subnet]

    def gateway(self, family: int) -> IPAddress | None:
        """Return the gateway of a family, if it has one."""
        found = (each.gateway for each in self.subnets if each.cidr.version == family)
        return next(found, None)


@dataclass(slots=True, kw_only=True)
class Container:
    """A container that was started."""

    name: str
    network: Network
    room: Room
    link: str
    """Its interface's name."""
    mac: EUI
    addresses: Sequence[IPNetwork]
    endpoint: str = ""
    """The id of its endpoint."""
    held: Sequence[tuple[str, IPAddress]] = field(default_factory=tuple)
    """Its leases, by pool."""

    def address(self, family: int) -> IPAddress | None:
        """Return its address of a family, if it has one."""
        return next((each.ip for each in self.addresses if each.version == family), None)


class Stage(Protocol):
    """Makes them. A thing that cannot be made: RefusedError, and nothing is left of it."""

    def network(self, name: str, *, families: Sequence[int]) -> Network:
        """Make a network with NAT and subnets of :func:`subnets`."""
        ...

    def container(
        self,
        name: str,
        network: Network,
        *,
        options: Mapping[str, str] | None = None,
        ports: Mapping[int, int] | None = None,
    ) -> Container:
        """Start a container on a network.

        Args:
            name: of the container.
            network: of this stage, or of somebody else's.
            options: of its endpoint, by name.
            ports: what is published: ports of this host, and TCP ports of the container.
        """
        ...

    def remove(self, container: Container) -> None:
        """End a container."""
        ...

    def clear(self) -> None:
        """Remove all that was made, and what earlier trials left."""
        ...

    @property
    def name_server(self) -> str:
        """Which server containers ask for names; empty: those of this host."""
        ...


def subnets(families: Sequence[int]) -> Iterator[Sequence[IPNetwork]]:
    """Yield subnets of a trial's own ranges, one of each family, in a random order."""
    for number in secrets.SystemRandom().sample(range(512), TRIES):
        four = IPNetwork(f"{IPAddress(BASE4.first + number * 256)}/24")
        six = IPNetwork(f"{IPAddress(BASE6.first + (number << 64), 6)}/64")
        yield [each for each in (four, six) if each.version in families]


def on_free_subnets(
    families: Sequence[int], made: Callable[[Sequence[IPNetwork]], Network]
) -> Network:
    """Return the network that ``made`` makes on the first subnets that overlap nothing.

    Raises:
        RefusedError: it was refused for something else, or no subnet is free.
    """
    last: RefusedError | None = None
    for chosen in subnets(families):
        try:
            return made(chosen)
        except RefusedError as error:
            last = error
            if "overlap" not in str(error):
                break
    raise last or RefusedError("no subnet is free")
