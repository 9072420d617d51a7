"""What a trace asks of this host on its way through: a protocol, and the answers' shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from netaddr import IPAddress

from ovsdriver.domain.traffic.chains import BaseChain


class RouteFault(Enum):
    """Why the kernel sends a packet nowhere."""

    NONE = "it does not"
    NO_ROUTE = "no route"
    REFUSED = "a route that refuses: prohibit, unreachable, blackhole"
    FILTERED = "the reverse path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the kernel would send a packet."""

    link: str = ""
    gateway: IPAddress | None = None
    """None: the target itself is on the link."""
    source: IPAddress | None = None
    """The address that this host would send with; None: not said."""
    fault: RouteFault = RouteFault.NONE


class HostView(Protocol):
    """This host, as it is now."""

    @property
    def chains(self) -> Sequence[BaseChain]:
        """Base chains of IP packets, of everybody."""
        ...

    def is_local(self, address: IPAddress) -> bool:
        """Whether it is an address of this host's."""
        ...

    def has(self, link: str, address: IPAddress) -> bool:
        """Whether it is an address of that link."""
        ...

    def holder(self, address: IPAddress) -> str:
        """Return the link that has an address; empty if none has."""
        ...

    def kind(self, link: str) -> str:
        """Return the kind of a link: ``bridge``, ``veth``; empty for hardware."""
        ...

    def mtu(self, link: str) -> int:
        """Return a link's MTU in bytes; 0: there is no such link."""
        ...

    def up(self, link: str) -> bool:
        """Whether a link is up and has a carrier."""
        ...

    def route(
        self, target: IPAddress, *, source: IPAddress | None = None, incoming: str = ""
    ) -> Route:
        """Ask the kernel where a packet goes.

        Args:
            target: whom it is for.
            source: whose it is; needed with ``incoming``.
            incoming: the link it came in by; empty: this host sends it.
        """
        ...

    def returns(self, source: IPAddress, link: str) -> bool:
        """Whether there is a way to ``source`` through ``link``."""
        ...

    def not_forwarding(self, link: str, family: int) -> str:
        """Return the setting that keeps what comes in by a link here; empty if none does."""
        ...
