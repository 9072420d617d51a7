"""Policies: rules with addresses in the place of names, and the containers that they hold for."""

from dataclasses import dataclass
from enum import StrEnum

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.access import AccessProtocol


class Zone(StrEnum):
    """Peers that no list of addresses says."""

    HOST = "host"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Peers and ports. A rule of the user's is one or several of them."""

    rule: str
    """The rule as a person types it, for counters, traces and comments."""
    prefix: IPNetwork | None = None
    """None, and no zone and no names: everybody."""
    zone: Zone | None = None
    names: tuple[str, ...] = ()
    """DNS names; addresses are put in while they are asked for."""
    protocol: AccessProtocol | None = None
    first_port: int = 0
    last_port: int = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What holds for connections that begin on one side: deny first, then allow, then the rest."""

    deny: tuple[Reach, ...] = ()
    allow: tuple[Reach, ...] = ()
    closed: bool = False
    """What no rule is about is dropped: somebody typed an ``allow`` for this side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What holds for the containers that share it."""

    key: str
    """Of what it says: two with the same key say the same. Twelve hexadecimal digits."""
    to: Judgement = Judgement()
    """Of connections that the container begins."""
    from_: Judgement = Judgement()
    """Of those that others begin with it."""

    @property
    def asks_names(self) -> bool:
        """Whether its containers' DNS goes through our name server."""
        return any(each.names for each in (*self.to.deny, *self.to.allow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A container's end on one network, and its policy."""

    endpoint: EndpointId
    network: NetworkId
    policy: str
    """Key of its policy."""
    gateway: str = ""
    """The gateway's device in the host's namespace; empty: its network has none."""
    mac: EUI
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPlan:
    """The whole of it."""

    policies: tuple[Policy, ...] = ()
    """By key, ascending."""
    members: tuple[Member, ...] = ()
    """By endpoint, ascending."""
    names_port: int = 0
    """Port of this host's, TCP and UDP: what members whose policy asks for names send to port 53
    is led there, wherever it was sent. 0: there is none yet, and it is dropped."""
    names_at: tuple[IPAddress, ...] = ()
    """If any, only what was sent to these or to this host; the rest is dropped."""
