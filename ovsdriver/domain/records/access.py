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
