"""What may be asked of the process: each request, and what it is answered with.

The classes here are the whole list. A request is a dataclass on :class:`Ask`, whose parameter is
its answer; both are JSON by the codec. A desk has a method for it (``answers()`` says which), and
whoever asks, the command line or a page, writes the request and reads the answer.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

from netaddr import IPAddress, IPNetwork

from ipam.model import Reservation
from ovsdriver.admin.access.views import Access, RulesChanged, RulesReport, RulesUse
from ovsdriver.admin.events.views import EventPage
from ovsdriver.admin.graph.views import Graph
from ovsdriver.admin.measures.views import TrafficReport
from ovsdriver.admin.views import (
    Changed,
    Changes,
    Forgotten,
    LeasePage,
    Made,
    PlanReport,
    PoolUse,
    Released,
    ReleasedPool,
    RepairReport,
    Report,
    Reserved,
    SegmentReport,
    SegmentUse,
    Status,
)
from ovsdriver.codec import Written
from ovsdriver.docker.ipam import global_twin
from ovsdriver.domain.events.event import EventType
from ovsdriver.domain.events.query import Query
from ovsdriver.domain.records.options.timed import Spell
from ovsdriver.service.fleet.hosts import Fleet
from ovsdriver.service.forgotten.purge import Purged
from ovsdriver.words import access_words, values

T = TypeVar("T", covariant=True)

READ_S = 15.0
"""For an answer from memory or of one page, and for Docker, which has 10 s to tell its names."""

CHANGE_S = 120.0
"""For removing and mending: every port of a large purge or network waits for the switch."""

PAGE = 1000
PAGE_MOST = 5000
"""Leases of one answer: about 1 MB of JSON, and one read between two commits."""

IN_QUERY = "ask"
"""What of a query has the request, where it is asked for by GET."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
"""As Docker allows them (moby, daemon/names/names.go)."""

_GLOBAL = global_twin("")


def _space(text: str) -> str:
    # Swarm's own have that end, and their addresses may be reserved too.
    values.space(text.removesuffix(_GLOBAL))
    return text


def _container(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        raise ValueError(
            f"{values.quote(text)} cannot be a container's name: letters, digits, `_`, `.` and "
            "`-`, a letter or digit first"
        )
    return text


def _event_kind(text: str) -> str:
    kind = text.partition(".")[0]
    if kind not in tuple(EventType):
        raise ValueError(
            f"{values.quote(text)} is no type of events: {', '.join(EventType)}; or one of their "
            "actions, as link.down"
        )
    return text


Address = Annotated[IPAddress, Written(values.address)]
Subnet = Annotated[IPNetwork, Written(values.subnet)]
Space = Annotated[str, Written(_space)]
AnySpace = Annotated[str, Written(lambda text: _space(text) if text else "")]
Container = Annotated[str, Written(_container)]
Segment = Annotated[str, Written(values.segment)]
RuleSetName = Annotated[str, Written(access_words.set_name)]
Rules = Annotated[str, Written(lambda text: access_words.text(access_words.parse(text)))]
"""One access rule, or several in one text."""
EventKind = Annotated[str, Written(_event_kind)]


class Ask(Generic[T]):
    """A request that is answered with a ``T``."""

    __slots__ = ()

    SECONDS: ClassVar[float] = READ_S
    """The answer is given up after so long."""
    LOOKS: ClassVar[bool] = False
    """Whoever may look may ask it: it changes nothing, here or anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowStatus(Ask[Status]):
    """The process as a whole; answered while degraded, too."""

    LOOKS: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowState(Ask[Report]):
    """Everything there is."""

    LOOKS: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowGraph(Ask[Graph]):
    """What is connected to what."""

    LOOKS: ClassVar[bool] = True

    seen: int = -1
    """The version that is known already."""
    wait_s: float = 0.0
    """So long, 10 s at most, the answer waits for another version than ``seen``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTraffic(Ask[TrafficReport]):
    """What passed containers, gateways and uplinks; names as Docker said them last."""

    LOOKS: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions(Ask[Changed]):
    """Change options of what stands, all of them or none."""

    SECONDS: ClassVar[float] = CHANGE_S

    target: str
    """A network or a container, see :func:`ovsdriver.admin.by_name.target`."""
    options: Mapping[str, str]
    """As typed; an empty value is "as if it were never said"."""
    spell: Spell | None = None
    """None: for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNetwork(Ask[PlanReport]):
    """What a network would make, from what a person would type to ``docker network create``."""

    LOOKS: ClassVar[bool] = True

    options: Mapping[str, str]
    subnets: tuple[Subnet, ...] = ()
    gateways: tuple[Address, ...] = ()
    internal: bool = False
    ipv6: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveNetwork(Ask[str]):
    """Remove a network that Docker does not know any more, with what belongs to it; its id."""

    SECONDS: ClassVar[float] = CHANGE_S

    name: str
    """Docker's, or the begin of its id."""
    force: bool = False
    """Also if Docker still has it, or containers are on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile(Ask[RepairReport]):
    """Look at everything now, into every container too, and mend it."""

    SECONDS: ClassVar[float] = CHANGE_S

    dry_run: bool = False
    """Only say what would be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge(Ask[Purged]):
    """Remove everything with our mark; answered while degraded, too."""

    SECONDS: ClassVar[float] = CHANGE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPools(Ask[tuple[PoolUse, ...]]):
    """Pools and how full they are."""

    LOOKS: ClassVar[bool] = True

    of: str = ""
    """A pool's id or subnet, or a network; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLeases(Ask[LeasePage]):
    """A page of a pool's leases, by address."""

    LOOKS: ClassVar[bool] = True

    pool: str
    """Its id."""
    after: Address | None = None
    limit: int = PAGE
    """1 to ``PAGE_MOST``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Ask[Released]):
    """Release an address that has no holder any more."""

    address: Address
    pool: str = ""
    """Its id or subnet."""
    network: str = ""
    force: bool = False
    """Also if something holds it, or may hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePool(Ask[ReleasedPool]):
    """Release a pool that no network has any more, with all of its addresses."""

    pool: str
    """Its id."""
    force: bool = False
    """Also if a network has it, or may have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a reserved address is; nothing said: anywhere."""

    pool: str = ""
    """Id or subnet."""
    network: str = ""
    """Docker's name, or the begin of its id."""
    space: AnySpace = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReservations(Where, Ask[tuple[Reserved, ...]]):
    """Reserved addresses there."""

    LOOKS: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve(Where, Ask[Made]):
    """Keep an address for a container, or for whoever asks for it by address."""

    address: Address | None = None
    """None: the lowest free one of the network's, or of the only pool that fits."""
    name: Container = ""
    """The container; needed where there is no address."""
    note: str = ""
    """For people; empty leaves the earlier one."""
    replace: bool = False
    """Also if it is kept for another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreserve(Where, Ask[Reservation]):
    """Keep an address for nobody any more."""

    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One reservation of a list."""

    space: Space
    address: Address
    name: Container = ""
    note: str = ""

    @property
    def reservation(self) -> Reservation:
        """Return it as the IPAM has it."""
        return Reservation(space=self.space, address=self.address, name=self.name, note=self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReservations(Ask[Changes]):
    """Keep every address of a list, all or none."""

    reservations: tuple[Wanted, ...] = ()
    prune: tuple[Space, ...] = ()
    """Spaces whose further reservations end."""
    prune_all: bool = False
    """They end in every space."""
    replace: bool = False
    """Addresses may be put aside for other names than they are."""
    dry_run: bool = False
    """Only say what would be changed, or refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRules(Ask[tuple[RulesUse, ...]]):
    """Sets of access rules, and who uses them."""

    LOOKS: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRules(Ask[RulesReport]):
    """A set, or the access rules of containers, with what they have met."""

    LOOKS: ClassVar[bool] = True

    target: str
    """A set; or a network or a container, see :func:`ovsdriver.admin.by_name.target`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowAccess(Ask[Access]):
    """What access rules come to, with addresses in the place of names."""

    LOOKS: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRules(Ask[RulesChanged]):
    """Keep a set of access rules."""

    SECONDS: ClassVar[float] = CHANGE_S

    name: RuleSetName
    allow: tuple[Rules, ...] = ()
    deny: tuple[Rules, ...] = ()
    add: bool = False
    """What the set has stays; else it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRules(Ask[str]):
    """Keep a set of access rules no more; its name."""

    name: RuleSetName


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSegments(Ask[tuple[SegmentUse, ...]]):
    """Segments over several hosts, all that there are."""

    LOOKS: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowSegment(Ask[SegmentReport]):
    """One segment, and who has its addresses."""

    LOOKS: ClassVar[bool] = True

    name: Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class ListHosts(Ask[Fleet]):
    """Hosts of the fleet; each is asked for a sign of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetHost(Ask[Forgotten]):
    """Give the addresses of a host back that died."""

    SECONDS: ClassVar[float] = CHANGE_S

    host: str
    """Its name in the fleet."""
    force: bool = False
    """Also if it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEvents(Ask[EventPage]):
    """A page of what happened, the oldest first."""

    LOOKS: ClassVar[bool] = True

    after: int = 0
    """Id of the last one that was seen; 0: none."""
    since: float | None = None
    """Seconds since the epoch; None: from the oldest that is kept."""
    types: tuple[EventKind, ...] = ()
    network: str = ""
    """Docker's name, or the begin of its id."""
    container: str = ""
    """Docker's name, or the begin of the endpoint's id."""
    initial_state: bool = False
    """First tell of every network and every attached endpoint that it is ``present``."""
    limit: int = PAGE
    """1 to ``PAGE_MOST``."""

    @property
    def query(self) -> Query:
        """Return which events are meant."""
        return Query(types=frozenset(self.types), network=self.network, container=self.container)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What comes instead of an answer, with another status than 200."""

    error: str = ""


def word(kind: type[Ask[object]]) -> str:
    """Return how a request is called where it is asked for: ``list-pools``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


Answers = Mapping[type[Ask[object]], Callable[[Any], Awaitable[object]]]
"""What answers a request, by its class."""

BY_WORD: Mapping[str, type[Ask[object]]] = {
    word(each): each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, Ask) and each is not Ask
}
"""Every request above."""


def answer(kind: type[Ask[T]]) -> type[T]:
    """Return what a request is answered with."""
    bases = cast(Any, kind).__orig_bases__
    (found,) = (get_args(each)[0] for each in bases if get_origin(each) is Ask)
    return cast(type[T], found)
