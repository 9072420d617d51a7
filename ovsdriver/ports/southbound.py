"""OVN's southbound database: the hosts of a fleet as OVN knows them; read when a person asks."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Chassis:
    """A host that OVN's controller has registered."""

    name: str
    address: str = ""
    """Of its end of the tunnels."""
    heard: int = 0
    """The last call that its controller has answered, see ``Northbound.call``."""
    at: float = 0.0
    """When it did; seconds since the epoch, by that host's clock. 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SouthboundView:
    """What the southbound database says now."""

    called: int
    """The last call that was passed on to the hosts."""
    chassis: tuple[Chassis, ...]


class Southbound(Protocol):
    """Hosts of the fleet; ``UnavailableError`` if no server answers in time."""

    def servers(self) -> tuple[str, ...]:
        """Return its servers, ``ssl:10.77.0.1:6642``, as this host's OVN has been told them."""
        ...

    async def read(self) -> SouthboundView:
        """Ask for all hosts."""
        ...

    async def forget(self, host: str) -> bool:
        """Take a host's registration away; one that lives registers itself anew.

        True also if there is none. False: the database lets no other host do that.
        """
        ...
