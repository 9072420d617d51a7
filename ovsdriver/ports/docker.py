"""Docker's own view, read in the background."""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import NO_OPTIONS, EndpointId, NetworkId
from ovsdriver.domain.tracing.name_servers import Servers


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEndpoint:
    """An endpoint as Docker lists it."""

    endpoint: EndpointId
    network: NetworkId
    container: str
    """The container's name."""
    container_id: str = ""
    """Empty for an endpoint without a container."""
    addresses: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSubnet:
    """A subnet of a Docker network whose addresses an IPAM plugin gives, of any network driver."""

    network: NetworkId
    cidr: IPNetwork
    ipam: str
    """The IPAM driver's name, as the user typed it."""
    options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """``--ipam-opt``."""
    local: bool = True
    """Of scope ``local``; swarm's networks have addresses that no daemon alone lists."""
    kept: Mapping[IPAddress, str] = field(default_factory=dict)
    """The gateway, as far as Docker shows it, and every ``--aux-address`` with its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """One reading of Docker's API."""

    id: str
    """``/info`` ID of the daemon."""
    version: str
    networks: Mapping[NetworkId, str]
    """Names by id, of every network that uses our driver or any other."""
    endpoints: Mapping[EndpointId, EngineEndpoint]
    subnets: tuple[EngineSubnet, ...] = ()
    """Of networks that have one of their own: those that others are only modelled on have none."""
    containers: frozenset[str] = frozenset()
    """Ids of all containers, those that do not run as well."""


class Engine(Protocol):
    """Docker's API, read only, never inside a handler."""

    async def read(self) -> EngineView:
        """Read networks and endpoints; UnavailableError if dockerd does not answer."""
        ...

    async def list_networks(self) -> tuple[str, AbstractSet[NetworkId]]:
        """Return the daemon's id and those of all its networks; UnavailableError as above.

        Much cheaper than everything.
        """
        ...

    async def called(
        self, network: NetworkId, endpoints: Collection[EndpointId]
    ) -> Mapping[EndpointId, Sequence[str]]:
        """Return what containers are called on a network: their names first, then aliases.

        Of those endpoints that have a container by now. Waits while one of these is being started,
        10 s at most; UnavailableError as above.
        """
        ...

    async def asks(self, container: str) -> Servers:
        """Return whom a container, by name or id, and Docker on its account ask for DNS names.

        UnavailableError: dockerd does not answer, or nobody knows (yet).
        """
        ...

    async def until_gone(self, answered: Callable[[], None]) -> None:
        """Return when the daemon that answers now ends; UnavailableError if none answers.

        ``answered`` is called when it did.

        The one call here without a limit of its own.
        """
        ...
