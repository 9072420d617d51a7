"""What a trace is answered with: a list of hops, and one sentence. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What becomes of a packet at a hop."""

    PASS = "pass"  # noqa: S105 - a word of the answer
    STOP = "stop"
    UNSURE = "unsure"
    """It goes on, and whether that helps is decided where this host cannot look."""


class Kind(StrEnum):
    """What a hop is, for whoever draws it."""

    CONTAINER = "container"
    BRIDGE = "bridge"
    SEGMENT = "segment"
    GATEWAY = "gateway"
    HOST = "host"
    RULES = "rules"
    ROUTE = "route"
    LINK = "link"
    OUTSIDE = "outside"
    DNS = "dns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a packet is."""

    name: str
    """``web``, ``br-ovsnet``, ``this host``; of hops that follow each other the same means the
    same place."""
    kind: Kind


THIS_HOST = Place(name="this host", kind=Kind.HOST)
OUTSIDE = Place(name="outside", kind=Kind.OUTSIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One thing on the way that was looked at."""

    name: str
    """As of its place."""
    kind: Kind
    verdict: Verdict
    sentence: str
    """What is so there, and if it stops the packet what to type."""
    by: str = ""
    """The option, rule or setting that decides: ``ovs.icc=false of lab``; empty: none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked."""

    protocol: str = "icmp"
    port: int | None = None

    def __str__(self) -> str:
        """Return what a person types: ``tcp/5432``."""
        return self.protocol if self.port is None else f"{self.protocol}/{self.port}"


def good(place: Place, sentence: str, by: str = "") -> Hop:
    """Return a hop that lets the packet pass."""
    return _hop(place, Verdict.PASS, sentence, by)


def bad(place: Place, sentence: str, by: str = "") -> Hop:
    """Return a hop where it ends."""
    return _hop(place, Verdict.STOP, sentence, by)


def unsure(place: Place, sentence: str, by: str = "") -> Hop:
    """Return a hop of which this host knows too little."""
    return _hop(place, Verdict.UNSURE, sentence, by)


def _hop(place: Place, verdict: Verdict, sentence: str, by: str) -> Hop:
    return Hop(name=place.name, kind=place.kind, verdict=verdict, sentence=sentence, by=by)


def up_to_the_first_stop(hops: Iterable[Hop]) -> Sequence[Hop]:
    """Return ``hops`` as far as the packet gets."""
    found: list[Hop] = []
    for each in hops:
        found.append(each)
        if each.verdict is Verdict.STOP:
            break
    return found


def reaches(hops: Sequence[Hop]) -> bool | None:
    """Whether the packet gets to the end; None: that is decided elsewhere."""
    verdicts = {each.verdict for each in hops}
    if Verdict.STOP in verdicts:
        return False
    return None if Verdict.UNSURE in verdicts else True


def sentence(source: str, target: str, asked: Question, hops: Sequence[Hop]) -> str:
    """Return the one sentence that matters."""
    for verdict, words in ((Verdict.STOP, "does not reach"), (Verdict.UNSURE, "may reach")):
        for each in hops:
            if each.verdict is verdict:
                return f"{source} {words} {target} ({asked}): {each.sentence}"
    return f"{source} reaches {target} ({asked}), as far as this host can tell"
