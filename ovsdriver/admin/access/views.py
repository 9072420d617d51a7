"""Access rules as they are told: sets, whom they hold for, and what they have met."""

from collections.abc import Mapping
from dataclasses import dataclass

from netaddr import IPAddress

from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.access import Side
from ovsdriver.ports import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesUser:
    """Who says ``ovs.rules``: a network, or a container on it itself."""

    network: NetworkId
    network_name: str
    """Empty if it is not known, as of a container."""
    endpoint: EndpointId | None = None
    container: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesUse:
    """A set of rules, and who uses it."""

    name: str
    configured: bool
    """It is in the configuration; else a command made it."""
    allow: tuple[str, ...] = ()
    """Rules, as they can be typed."""
    deny: tuple[str, ...] = ()
    users: tuple[RulesUser, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleMet:
    """A rule, and what it has met since it was made."""

    side: Side
    verdict: Verdict
    rule: str = ""
    """As it can be typed; empty: all that no rule is about."""
    said_by: str = ""
    """``ovs.allow``, ``ovs.deny``, or ``rules NAME``."""
    nobody: bool = False
    """It names a container or network that nobody is called now."""
    packets: int = 0
    octets: int = 0

    @property
    def about(self) -> str:
        """What it is about, for people: its side is told beside it."""
        if not self.rule:
            return "everything else"
        what = self.rule.removeprefix(f"{self.side} ")
        return f"{what} (nobody has that name now)" if self.nobody else what


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEnd:
    """A container's end on a network, and the rules that hold for it."""

    network: NetworkId
    network_name: str
    endpoint: EndpointId
    container: str
    addresses: tuple[IPAddress, ...]
    policy: str
    """Its key: ends with the same one are counted together."""
    shared: int
    """How many others have it."""
    rules: tuple[RuleMet, ...]
    """In the order in which they are asked, ``to`` first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesReport:
    """What is known of a set, or of what a container or network has."""

    set: RulesUse | None = None
    """None: the target is none."""
    ends: tuple[JudgedEnd, ...] = ()
    """Of the containers that have rules: of the target, or of the set's users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What holds for containers that have access rules."""

    plan: AccessPlan
    learnt: Mapping[str, Mapping[str, tuple[IPAddress, ...]]]
    """Addresses that are let in now, by key of the policy and DNS name of its rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesChanged:
    """A set after it was changed."""

    set: RulesUse
    containers: tuple[RulesUser, ...]
    """For whom it holds now."""
    pending: str = ""
    """Why it is not in force yet; empty: it is."""
