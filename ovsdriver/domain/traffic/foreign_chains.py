"""What other people's chains at the forward hook do to packets that our table accepted. Pure.

A packet of a kind is walked through the rules, as far as they can be read. Where they cannot, the
doubt is theirs: only what is certainly dropped is a finding.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ovsdriver.domain.traffic.firewall import ACCEPT_MARK

DOCKER_USER = "DOCKER-USER"
"""The chain that Docker leaves to administrators: what they drop there is meant."""

_DEPTH = 16
"""The kernel refuses to nest chains deeper (NFT_JUMP_STACK_SIZE)."""

_MARK_RULE = f"-m mark --mark {ACCEPT_MARK:#x}/{ACCEPT_MARK:#x} -j ACCEPT"


class Subject(Enum):
    """What a condition of a rule is about."""

    IN = "incoming link"
    OUT = "outgoing link"
    STATE = "state of the connection"
    FAMILY = "family"
    PROTOCOL = "protocol"
    MARK = "mark"
    OTHER = "anything else"


class Verdict(Enum):
    """What a rule does with a packet that fulfils its conditions."""

    NONE = "goes on"
    ACCEPT = "accepts"
    DROP = "drops"
    RETURN = "returns"
    JUMP = "jumps"
    GOTO = "goes to"
    UNKNOWN = "does something"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a rule."""

    subject: Subject
    values: tuple[str, ...] = ()
    """Any of them; link names may end in ``*``. For a mark: value and mask, in decimal."""
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule: all of its conditions, then the verdict."""

    conditions: tuple[Condition, ...] = ()
    verdict: Verdict = Verdict.NONE
    target: str = ""
    """For a jump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet that our table accepted and marked."""

    family: int
    incoming: str
    """Name of a link; empty: not known."""
    outgoing: str
    state: str
    """``new`` or ``established``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignChain:
    """A base chain of others at the forward hook, and the chains that it may jump to."""

    program: str
    """``iptables``, ``ip6tables`` or ``nft``."""
    family: str
    """nftables' word for it: ``ip``, ``ip6`` or ``inet``."""
    table: str
    name: str
    policy: str
    chains: Mapping[str, Sequence[Rule]]
    """Rules of all chains of its table by name."""

    @property
    def families(self) -> tuple[int, ...]:
        """Families of the packets that it sees."""
        return {"ip": (4,), "ip6": (6,)}.get(self.family, (4, 6))

    def same_place(self, other: "ForeignChain") -> bool:
        """Whether both are the same chain, read in different ways."""
        mine = (self.family, self.table, self.name)
        return mine == (other.family, other.table, other.name)


def crossing(*, family: int, gateway: str, outgoing: str) -> tuple[Packet, Packet]:
    """Return the first packet of a connection outwards, and an answer to it."""
    return (
        Packet(family=family, incoming=gateway, outgoing=outgoing, state="new"),
        Packet(family=family, incoming=outgoing, outgoing=gateway, state="established"),
    )


def drops(chain: ForeignChain, packet: Packet) -> Sequence[str]:
    """Return where ``chain`` certainly drops ``packet``; empty if it may not.

    That is the names of the chains that lead there, the last of which drops; its policy has no
    name.
    """
    verdict, path = _walk(chain, chain.name, packet, depth=0)
    if verdict in (Verdict.RETURN, Verdict.NONE):
        return (chain.name, "") if chain.policy == "drop" else ()
    return path if verdict is Verdict.DROP else ()


def finding(chain: ForeignChain, packets: Iterable[Packet]) -> str:
    """Return a sentence if ``chain`` drops one of ``packets``, and what to type; else nothing."""
    for packet in packets:
        path = drops(chain, packet) if packet.family in chain.families else ()
        if path:
            what = (
                "what containers of nat networks send out"
                if packet.state == "new"
                else "the answers to containers of nat networks"
            )
            meant = DOCKER_USER in path
            title = _title(chain, DOCKER_USER if meant else chain.name)
            cure = _exemption(chain) if meant else _cure(chain)
            return f"{title} drops {what} over IPv{packet.family} ({_why(path)}); {cure}"
    return ""


def _why(path: Sequence[str]) -> str:
    return "its policy is drop" if not path[-1] else f"a rule of chain {path[-1]}"


def _title(chain: ForeignChain, name: str) -> str:
    if chain.program == "nft":
        return f"nftables chain {chain.family} {chain.table} {name}"
    return f"{chain.program} chain {name}"


def _exemption(chain: ForeignChain) -> str:
    """Say what to type where an administrator's own drop may not be meant for us."""
    typed = _insert(chain, DOCKER_USER)
    return f"ovsnet keeps to it; to except its networks, type: {typed}"


def _cure(chain: ForeignChain) -> str:
    if chain.table == "firewalld":
        # Its zones are the only way in: what others add to its table is lost, or not let in at all.
        return "type: ovsnet firewalld"
    if chain.program == "nft":
        return (
            f"type: {_insert(chain, chain.name)}, and put it into the file that this host loads "
            "its rules from"
        )
    for ufw, file in (
        ("ufw-before-forward", "before.rules"),
        ("ufw6-before-forward", "before6.rules"),
    ):
        if ufw in chain.chains:
            return (
                f"put the line '-A {ufw} {_MARK_RULE}' before COMMIT of *filter in "
                f"/etc/ufw/{file} and type: ufw reload"
            )
    command = _insert(chain, chain.name)
    if any(rule.target == DOCKER_USER for rule in chain.chains.get(chain.name, ())):
        # Before the accept, or what administrators drop there would bind us no more.
        command = f"{command} && {chain.program} -I {chain.name} -j {DOCKER_USER}"
    return f"type: {command}, and save it the way this host saves its rules"


def _insert(chain: ForeignChain, name: str) -> str:
    """Return the command that has a chain accept what our table accepted, before all else."""
    if chain.program == "nft":
        where = " ".join(map(shlex.quote, (chain.family, chain.table, name)))
        return f"nft insert rule {where} 'meta mark & {ACCEPT_MARK:#x} == {ACCEPT_MARK:#x} accept'"
    return f"{chain.program} -I {name} {_MARK_RULE}"


def _walk(
    chain: ForeignChain, name: str, packet: Packet, *, depth: int
) -> tuple[Verdict, Sequence[str]]:
    if depth > _DEPTH:
        return Verdict.UNKNOWN, ()
    for rule in chain.chains.get(name, ()):
        holds = _all_hold(rule.conditions, packet)
        if holds is False or rule.verdict is Verdict.NONE:
            continue
        verdict: Verdict = rule.verdict
        path: Sequence[str] = ()
        if verdict in (Verdict.JUMP, Verdict.GOTO):
            verdict, path = _walk(chain, rule.target, packet, depth=depth + 1)
            if verdict is Verdict.RETURN and rule.verdict is Verdict.JUMP:
                continue
        if holds is None and verdict in (Verdict.DROP, Verdict.RETURN):
            # Perhaps; perhaps not.
            continue
        return verdict, (name, *path)
    return Verdict.RETURN, ()


def _all_hold(conditions: Iterable[Condition], packet: Packet) -> bool | None:
    """Whether all hold; None if that cannot be told."""
    known: bool | None = True
    for condition in conditions:
        holds = _holds(condition, packet)
        if holds is None:
            known = None
        elif holds is condition.negated:
            return False
    return known


def _holds(condition: Condition, packet: Packet) -> bool | None:
    """Whether the condition holds before it is negated; None if that cannot be told."""
    values = condition.values
    match condition.subject:
        case Subject.IN | Subject.OUT as way:
            return _named(packet.incoming if way is Subject.IN else packet.outgoing, values)
        case Subject.STATE:
            return packet.state in values
        case Subject.FAMILY:
            return f"ipv{packet.family}" in values
        case Subject.PROTOCOL if not condition.negated:
            # The packet may be of any; what a rule does for one of them saves no others.
            return "all" in values
        case Subject.MARK if int(values[1]) & ~ACCEPT_MARK == 0:
            return ACCEPT_MARK & int(values[1]) == int(values[0])
        case _:
            # Of the other bits of the mark nothing is known either.
            return None


def _named(link: str, patterns: Iterable[str]) -> bool | None:
    if not link:
        return None
    return any(
        link.startswith(pattern[:-1]) if pattern.endswith("*") else link == pattern
        for pattern in patterns
    )
