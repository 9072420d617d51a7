"""What is tried, and what the outcome of all of it is. Pure: ``attempts.py`` does the trying."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ovsdriver.words.values import nearest, quote

RATE = 20_000_000
"""Bits a second of the container whose rate is tried."""
TOLERANCE = 0.2
_SENT_ENOUGH = 1.2
"""Times the rate that has to be sent, for what is lost to be the rate's doing."""

IPV4_HEADERS = 28
"""Bytes of IPv4 and ICMP before what a ping carries."""
IPV6_HEADERS = 48


class Outcome(StrEnum):
    """How a case ended."""

    OK = "ok"
    FAIL = "fail"
    NOT_TRIED = "not tried"
    """It cannot be tried on this host; that says nothing of it, so it is no success."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that has to work."""

    name: str
    """For ``--only``."""
    title: str
    """What is so if it is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A case, and how it ended."""

    name: str
    title: str
    outcome: Outcome
    text: str
    """What was seen; why it failed, or why it was not tried."""
    seconds: float


class FailedError(Exception):
    """A case that does not work; the text says what was seen."""


class NotTriedError(Exception):
    """A case that cannot be tried here; the text says why."""


ATTACH = Case("attach", "Docker's calls make two networks and plug containers in")
CLEAN = Case("clean", "nothing of all this is left behind")

CASES: Sequence[Case] = (
    ATTACH,
    Case("same-v4", "containers of a network reach each other over IPv4"),
    Case("same-v6", "containers of a network reach each other over IPv6"),
    Case("full-frames", "frames as long as the MTU pass unchanged"),
    Case("closed", "another network is closed"),
    Case("gateway", "the gateway answers"),
    Case("outside-v4", "the outside is reached over IPv4"),
    Case("outside-v6", "the outside is reached over IPv6"),
    Case("published-host", "a published port answers at an address of this host"),
    Case("published-loopback", "a published port answers at 127.0.0.1 and ::1"),
    Case("published-other", "a published port answers whoever comes from elsewhere"),
    Case("guard", "with ovs.guard, packets from forged addresses are dropped"),
    Case("rate", "ovs.rate holds in both directions"),
    Case("uplinks", "on each uplink's VLAN the gateway answers ARP"),
    Case("names", "containers reach who answers for names"),
    CLEAN,
)
"""In the order in which they are tried. The first has to work for the others to be tried at all."""

_ALWAYS = (ATTACH, CLEAN)


def chosen(only: Sequence[str]) -> Sequence[Case]:
    """Return the cases that were asked for, with those that belong to every trial.

    Args:
        only: names, or words that they begin with (``published``); none: all cases.

    Raises:
        ValueError: there is no such case.
    """
    for word in only:
        if not any(_means(word, case) for case in CASES):
            near = nearest(word, [case.name for case in CASES])
            raise ValueError(f"{quote(word)}: no such case{near}; `ovsnet test --list` has all")
    return [
        case
        for case in CASES
        if not only or case in _ALWAYS or any(_means(word, case) for word in only)
    ]


def _means(word: str, case: Case) -> bool:
    return case.name == word or case.name.startswith(f"{word}-")


def good(results: Sequence[Result], only: Sequence[str]) -> bool:
    """Whether it is: nothing failed, and of each word of ``only`` a case was tried."""
    tried = {each.name: each.outcome for each in results if each.outcome is not Outcome.NOT_TRIED}
    return Outcome.FAIL not in tried.values() and all(
        any(_means(word, case) for case in CASES if case.name in tried) for word in only
    )


def rate(way: str, *, sent_bits: float, got_bits: float) -> str:
    """Judge a rate by what was sent and what arrived, both in bits a second.

    Raises:
        FailedError: it differs from ``RATE`` by more than ``TOLERANCE``.
        NotTriedError: too little was sent to tell.
    """
    if got_bits > RATE * (1 + TOLERANCE):
        raise FailedError(f"{_mbit(got_bits)} {way}, with ovs.rate={_mbit(RATE)}")
    if sent_bits < RATE * _SENT_ENOUGH:
        raise NotTriedError(f"this host sent only {_mbit(sent_bits)} {way}; it is too busy")
    if got_bits < RATE * (1 - TOLERANCE):
        raise FailedError(f"only {_mbit(got_bits)} {way}, with ovs.rate={_mbit(RATE)}")
    return f"{_mbit(got_bits)} {way}"


def _mbit(bits: float) -> str:
    return f"{bits / 1e6:.0f}mbit"


def mixed(texts: Sequence[str], untried: Sequence[str]) -> str:
    """Return what a case of several parts says, of which some were not tried.

    Raises:
        NotTriedError: none was.
    """
    if not texts:
        raise NotTriedError("; ".join(untried))
    return "; ".join((*texts, *(f"not tried: {each}" for each in untried)))
