"""Access rules as they were typed (``ovs.allow``, ``ovs.deny``): who may begin what, with whom."""

from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPNetwork


class Side(StrEnum):
    """Who begins a connection, seen from the container that a rule is about."""

    TO = "to"
    """The container does; the rule is about whom it reaches."""
    FROM = "from"
    """The other one does."""


class PeerKind(StrEnum):
    """How a rule says whom it is about."""

    ANY = "any"
    PREFIX = "prefix"
    CONTAINER = "container"
    NETWORK = "network"
    HOST = "host"
    """This machine, at any of its addresses."""
    OUTSIDE = "outside"
    """What is neither this machine nor a container on it."""
    NAME = "name"
    """A DNS name, or all below one: ``*.example.com``."""


class AccessProtocol(StrEnum):
    """What a rule says of the protocol; without one it is about all of them."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    """Of IPv6, ICMPv6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """One rule: whom, by what, and who begins."""

    side: Side = Side.TO
    peer: PeerKind = PeerKind.ANY
    prefix: IPNetwork | None = None
    """Of :attr:`PeerKind.PREFIX`."""
    name: str = ""
    """Of a container, a network or DNS; that of DNS in lower case, without the last dot."""
    protocol: AccessProtocol | None = None
    first_port: int | None = None
    """Of TCP or UDP, at the side that is reached; None: all."""
    last_port: int | None = None

    def __hash__(self) -> int:
        # Options with a thousand of them are looked up at every attach; netaddr hashes slowly.
        prefix = None if self.prefix is None else self.prefix.value
        return hash((self.name, prefix, self.first_port, self.last_port))

    @property
    def text(self) -> str:
        """Return it as it can be typed: ``to 10.1.0.0/16 tcp/443``."""
        return " ".join(filter(None, (self.side, self._who, self._what)))

    @property
    def _who(self) -> str:
        if self.prefix is not None:
            whole = 32 if self.prefix.version == 4 else 128
            return str(self.prefix.ip if self.prefix.prefixlen == whole else self.prefix)
        if self.peer in (PeerKind.CONTAINER, PeerKind.NETWORK):
            return f"{self.peer}:{self.name}"
        return self.name or self.peer

    @property
    def _what(self) -> str:
        if self.protocol is None or self.first_port is None:
            return self.protocol or ""
        last = "" if self.last_port in (None, self.first_port) else f"-{self.last_port}"
        return f"{self.protocol}/{self.first_port}{last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Rules that have a name: ``ovs.rules`` of a network or a container says it."""

    name: str
    allow: tuple[AccessRule, ...] = ()
    deny: tuple[AccessRule, ...] = ()
