"""DNS names of policies: who may ask for what, and which addresses of an answer are let in. Pure.

Of an answer counts what follows from the question alone: addresses of the name itself, or of the
name that its aliases lead to. Whatever else a server adds is worth nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.access.policy import Policy, Reach, Zone

PORT = 61053
"""Where name servers at gateways listen: above the ports that the kernel gives out by itself."""
FLOOR_S = 60
"""For how long at least an address is let in: clients keep what they were told for a while."""
CEILING_S = 3600
"""At most; what is told to clients is cut to it."""
PER_ANSWER = 32
"""Addresses of one answer."""
PER_NAME = 1024
"""Addresses that are let in at once for one name of a rule, which may be a wildcard."""
_MOST_ALIASES = 8
_BELOW = "*."
_NOBODYS = tuple(
    IPNetwork(each)
    for each in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8"),
    )
)
"""Where nobody is, only this host, or a link, or many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRecord:
    """One record of an answer: an alias, or an address."""

    name: str
    """Whose, in lower case, without the last dot."""
    seconds: int
    """For how long the server says that it holds, 0 or more."""
    alias: str = ""
    """The name that it leads to, likewise; empty: it is an address."""
    address: IPAddress | None = None


def covers(pattern: str, name: str) -> bool:
    """Whether a name of a rule is about ``name``, both in lower case; ``*.`` is all below.

    A dot with an odd number of backslashes before it is inside of a label, and separates nothing.
    """
    if not pattern.startswith(_BELOW):
        return name == pattern
    if not name.endswith(pattern[1:]) or len(name) < len(pattern):
        return False
    below = name[: 1 - len(pattern)]
    return (len(below) - len(below.rstrip("\\"))) % 2 == 0


def covering(policy: Policy, name: str) -> Sequence[str]:
    """Return those names of a policy's rules that are about ``name``."""
    return [each for each in names_of(policy) if covers(each, name)]


def names_of(policy: Policy) -> Sequence[str]:
    """Return all names that a policy's rules have, each once."""
    reaches = (*policy.to.deny, *policy.to.allow)
    return tuple(dict.fromkeys(name for each in reaches for name in each.names))


def answered(policy: Policy, name: str) -> bool:
    """Whether a container may have ``name`` looked up.

    What it cannot reach it need not know: a question could carry out what is to stay inside.
    """
    return unbounded(policy) or any(
        covers(each, name) for reach in policy.to.allow for each in reach.names
    )


def unbounded(policy: Policy) -> bool:
    """Whether a container may reach something at whatever address a name has."""
    return not policy.to.closed or any(_anywhere(each) for each in policy.to.allow)


def _anywhere(reach: Reach) -> bool:
    if reach.prefix is not None:
        return bool(reach.prefix.prefixlen == 0)
    return not reach.names and reach.zone in (None, Zone.OUTSIDE)


def let_in(
    name: str, records: Sequence[NameRecord], *, own: Callable[[IPAddress], bool]
) -> Mapping[IPAddress, int]:
    """Return which addresses of the answer about ``name`` may be reached, and for how many seconds.

    Args:
        name: what was asked for, in lower case, without the last dot.
        records: of the answer, in any order.
        own: tells whether an address is this host's; none of these is let in.
    """
    found: dict[IPAddress, int] = {}
    seconds = CEILING_S
    seen: set[str] = set()
    while name not in seen and len(seen) <= _MOST_ALIASES:
        seen.add(name)
        alias = ""
        for each in records:
            if each.name != name:
                continue
            if each.address is not None:
                if len(found) < PER_ANSWER and _elsewhere(each.address) and not own(each.address):
                    found[each.address] = max(FLOOR_S, min(seconds, each.seconds))
            elif not alias:
                alias, seconds = each.alias, min(seconds, each.seconds)
        if not alias:
            break
        name = alias
    return found


def _elsewhere(address: IPAddress) -> bool:
    """Whether an address can be somebody's elsewhere on the network."""
    return not any(address in each for each in _NOBODYS)


class Learned:
    """Which addresses are let in for which names, until when. Times are seconds of any clock."""

    def __init__(self) -> None:
        self._until: dict[str, dict[IPAddress, float]] = {}

    def admit(
        self, names: Iterable[str], addresses: Mapping[IPAddress, int], *, now: float
    ) -> Mapping[IPAddress, int]:
        """Remember addresses for names of rules; return those for which there is room in all."""
        places = [self._until.setdefault(name, {}) for name in names]
        for place in places:
            for address in [each for each, until in place.items() if until <= now]:
                del place[address]
        admitted = {}
        for address, seconds in addresses.items():
            if all(address in place or len(place) < PER_NAME for place in places):
                admitted[address] = seconds
                for place in places:
                    place[address] = max(now + seconds, place.get(address, 0))
        return admitted

    def of(self, name: str, *, now: float) -> Mapping[IPAddress, int]:
        """Return what is let in for a name of a rule, and for how many more seconds."""
        return {
            address: max(1, round(until - now))
            for address, until in self._until.get(name, {}).items()
            if until > now
        }

    def ending(self, name: str, *, now: float, by: float) -> Collection[IPAddress]:
        """Return what is let in for a name of a rule, but not beyond a time."""
        held = self._until.get(name, {})
        return {address for address, until in held.items() if now < until <= by}

    def keep(self, names: Iterable[str]) -> None:
        """Forget all other names."""
        kept = set(names)
        self._until = {name: place for name, place in self._until.items() if name in kept}
