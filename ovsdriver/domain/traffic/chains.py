"""Chains of packet filters, and what a packet meets that is walked through them. Pure.

Rules are told as far as they can be read. Where they cannot, or where something of the packet is
not known, the doubt is theirs: a drop counts if it is certain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.traffic.firewall import ACCEPT_MARK

_DEPTH = 16
"""The kernel refuses to nest chains deeper (NFT_JUMP_STACK_SIZE)."""

NO_LINK = "/"
"""In the place of a link's name: there is none. What this host sends itself came in by no link."""

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "ipv6-icmp": 58, "sctp": 132}
"""IANA's numbers of those that rules name."""

_PORTLESS = (1, 58)


class Subject(Enum):
    """What a condition of a rule is about."""

    IN = "incoming link"
    OUT = "outgoing link"
    IN_KIND = "kind of the incoming link"
    OUT_KIND = "kind of the outgoing link"
    STATE = "state of the connection"
    DIRECTION = "direction in the connection"
    FAMILY = "family"
    PROTOCOL = "protocol"
    MARK = "mark"
    SOURCE = "source"
    DESTINATION = "destination"
    ASKED = "destination of the connection's first packet, as its sender wrote it"
    PORT = "destination port"
    ICMP = "type of ICMP"
    LOCAL = "the destination is an address of this host's"
    AT_HOME = "the destination is an address of the incoming link"
    RETURNS = "the way back to the source is the incoming link"
    OTHER = "anything else"


class Verdict(Enum):
    """What a rule does with a packet that fulfils its conditions."""

    NONE = "goes on"
    ACCEPT = "accepts"
    DROP = "drops"
    RETURN = "returns"
    JUMP = "jumps"
    GOTO = "goes to"
    MASQUERADE = "rewrites the source"
    TRANSLATE = "rewrites the destination"
    UNKNOWN = "does something"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a rule."""

    subject: Subject
    values: tuple[str, ...] = ()
    """Any of them; link names may end in ``*``, addresses and ports may be ``A-B``, addresses
    ``A/LENGTH``. For a mark: value and mask, in decimal."""
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Several things that are looked up at once, as in a set of pairs."""

    subjects: tuple[Subject, ...]
    rows: tuple[tuple[str, ...], ...]
    """Any of them; in each a value for each subject."""
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule: all of its conditions, then the verdict."""

    conditions: tuple[Condition | Together, ...] = ()
    verdict: Verdict = Verdict.NONE
    target: str = ""
    """For a jump: the chain. For a translation: the address, and the port behind a space, if that
    becomes another one."""
    comment: str = ""
    handle: int = 0
    """By which nftables lists it; 0: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet at a hook; None and "": not known."""

    family: int
    incoming: str
    """Name of a link; empty: not known."""
    outgoing: str
    state: str
    """``new`` or ``established``."""
    marked: bool = True
    """Our table accepted it."""
    incoming_kind: str | None = None
    outgoing_kind: str | None = None
    reply: bool = False
    """It answers who began the connection."""
    translated: bool = False
    """The connection's destination was rewritten."""
    protocol: int = 0
    """IANA's; 0: any."""
    source: IPAddress | None = None
    destination: IPAddress | None = None
    asked: IPAddress | None = None
    port: int | None = None
    """That it is for."""
    local: bool | None = None
    at_home: bool | None = None
    returns: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseChain:
    """A chain at a hook, and the chains that it may jump to."""

    program: str
    """``iptables``, ``ip6tables`` or ``nft``."""
    family: str
    """nftables' word for it: ``ip``, ``ip6`` or ``inet``."""
    table: str
    name: str
    policy: str
    chains: Mapping[str, Sequence[Rule]]
    """Rules of all chains of its table by name."""
    hook: str = "forward"
    priority: int = 0
    translates: bool = False
    """It is of the kind that sees the first packet of a connection alone."""

    @property
    def families(self) -> tuple[int, ...]:
        """Families of the packets that it sees."""
        return {"ip": (4,), "ip6": (6,)}.get(self.family, (4, 6))

    def same_place(self, other: "BaseChain") -> bool:
        """Whether both are the same chain, read in different ways."""
        mine = (self.family, self.table, self.name)
        return mine == (other.family, other.table, other.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a base chain does with a packet."""

    verdict: Verdict
    """``ACCEPT``, ``DROP``, ``MASQUERADE``, ``TRANSLATE`` or ``UNKNOWN``."""
    path: tuple[str, ...] = ()
    """The chains that lead to the rule that decides; of a policy the base chain, and an empty
    name."""
    rule: Rule | None = None
    """None: the policy."""
    sure: bool = True
    """False: whether the rule sees such a packet cannot be told."""


def judge(chain: BaseChain, packet: Packet, *, strict: bool = False) -> Judged:
    """Return what ``chain`` does with ``packet``.

    ``strict``: an accept of which it cannot be told whether it sees the packet does not.
    """
    found = _walk(chain, chain.name, packet, depth=0, strict=strict)
    if found.verdict in (Verdict.RETURN, Verdict.NONE):
        dropped = chain.policy == "drop"
        return Judged(verdict=Verdict.DROP if dropped else Verdict.ACCEPT, path=(chain.name, ""))
    return found


def _walk(chain: BaseChain, name: str, packet: Packet, *, depth: int, strict: bool) -> Judged:
    if depth > _DEPTH:
        return Judged(verdict=Verdict.UNKNOWN)
    for rule in chain.chains.get(name, ()):
        holds = _all_hold(rule.conditions, packet)
        if holds is False or rule.verdict is Verdict.NONE:
            continue
        found = Judged(verdict=rule.verdict, rule=rule)
        if rule.verdict in (Verdict.JUMP, Verdict.GOTO):
            found = _walk(chain, rule.target, packet, depth=depth + 1, strict=strict)
            if found.verdict is Verdict.RETURN and rule.verdict is Verdict.JUMP:
                continue
        if holds is None and (strict or found.verdict in (Verdict.DROP, Verdict.RETURN)):
            # Perhaps; perhaps not.
            continue
        return Judged(
            verdict=found.verdict,
            path=(name, *found.path),
            rule=found.rule,
            sure=found.sure and holds is not None,
        )
    return Judged(verdict=Verdict.RETURN)


def _all_hold(conditions: Iterable[Condition | Together], packet: Packet) -> bool | None:
    """Whether all hold; None if that cannot be told."""
    known: bool | None = True
    for condition in conditions:
        holds = _holds(condition, packet)
        if holds is None:
            known = None
        elif holds is condition.negated:
            return False
    return known


def _holds(condition: Condition | Together, packet: Packet) -> bool | None:
    """Whether the condition holds before it is negated; None if that cannot be told."""
    if isinstance(condition, Together):
        return _any(
            _all(_is(packet, *pair) for pair in zip(condition.subjects, row, strict=True))
            for row in condition.rows
        )
    values = condition.values
    match condition.subject:
        case Subject.PROTOCOL if not packet.protocol:
            # The packet may be of any; what a rule does for one of them saves no others.
            return None if condition.negated else "all" in values
        case Subject.MARK:
            value, mask = map(int, values)
            if mask & ~ACCEPT_MARK:
                # Of the other bits of the mark nothing is known.
                return None
            return (ACCEPT_MARK & mask if packet.marked else 0) == value
        case Subject.OTHER:
            return None
        case subject:
            return _any(_is(packet, subject, value) for value in values)


def _any(found: Iterable[bool | None]) -> bool | None:
    known: bool | None = False
    for each in found:
        if each:
            return True
        if each is None:
            known = None
    return known


def _all(found: Iterable[bool | None]) -> bool | None:
    known: bool | None = True
    for each in found:
        if each is None:
            known = None
        elif not each:
            return False
    return known


def _same(known: str | None, value: str) -> bool | None:
    return None if known is None else known == value


def _named(link: str, pattern: str) -> bool | None:
    if not link:
        return None
    return link.startswith(pattern[:-1]) if pattern.endswith("*") else link == pattern


def _number(value: str) -> int:
    return int(value) if value.isdecimal() else PROTOCOLS.get(value, -1)


def _within(address: IPAddress | None, value: str) -> bool | None:
    if address is None:
        return None
    first, dash, last = value.partition("-")
    if dash:
        low, high = IPAddress(first), IPAddress(last)
        return bool(low.version == address.version and low <= address <= high)
    network = IPNetwork(value)
    return bool(network.version == address.version and address in network)


def _port(packet: Packet, value: str) -> bool | None:
    if packet.port is None:
        return False if packet.protocol in _PORTLESS else None
    first, dash, last = value.partition("-")
    if not first.isdecimal():
        return None
    return int(first) <= packet.port <= int(last if dash else first)


_TESTS: Mapping[Subject, Callable[[Packet, str], bool | None]] = {
    Subject.IN: lambda packet, value: _named(packet.incoming, value),
    Subject.OUT: lambda packet, value: _named(packet.outgoing, value),
    Subject.IN_KIND: lambda packet, value: _same(packet.incoming_kind, value),
    Subject.OUT_KIND: lambda packet, value: _same(packet.outgoing_kind, value),
    # As iptables has it, where DNAT is a state.
    Subject.STATE: lambda packet, value: (
        value == packet.state or (value == "dnat" and packet.translated)
    ),
    Subject.DIRECTION: lambda packet, value: value == ("reply" if packet.reply else "original"),
    Subject.FAMILY: lambda packet, value: value == f"ipv{packet.family}",
    Subject.PROTOCOL: lambda packet, value: value == "all" or _number(value) == packet.protocol,
    Subject.SOURCE: lambda packet, value: _within(packet.source, value),
    Subject.DESTINATION: lambda packet, value: _within(packet.destination, value),
    Subject.ASKED: lambda packet, value: _within(packet.asked, value),
    Subject.PORT: lambda packet, value: _port(packet, value),
    Subject.ICMP: lambda packet, value: value == ("echo-reply" if packet.reply else "echo-request"),
    Subject.LOCAL: lambda packet, value: _same_fact(packet.local, value == "local"),
    Subject.AT_HOME: lambda packet, value: _same_fact(packet.at_home, value == "local"),
    Subject.RETURNS: lambda packet, value: _same_fact(packet.returns, value == "True"),
}
"""Whether that of a packet is a value; None if it cannot be told."""


def _is(packet: Packet, subject: Subject, value: str) -> bool | None:
    test = _TESTS.get(subject)
    return None if test is None else test(packet, value)


def _same_fact(known: bool | None, value: bool) -> bool | None:
    return None if known is None else known is value
