"""Read chains from what ``iptables -S`` prints."""

from collections.abc import Mapping, Sequence

from ovsdriver.adapters.firewall.docker_user import ACCEPT, FORWARD, Listing, behind
from ovsdriver.domain.traffic.chains import BaseChain, Condition, Rule, Subject, Together, Verdict

_UNKNOWN = Condition(subject=Subject.OTHER)

VERDICTS = {
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.DROP,
    "REJECT": Verdict.DROP,
    "RETURN": Verdict.RETURN,
    "NFQUEUE": Verdict.UNKNOWN,
    "QUEUE": Verdict.UNKNOWN,
    "MASQUERADE": Verdict.MASQUERADE,
    "SNAT": Verdict.MASQUERADE,
    "DNAT": Verdict.UNKNOWN,
    "REDIRECT": Verdict.UNKNOWN,
}
"""Of targets that are no chains; others go on."""


def from_iptables(
    program: str, listing: Listing, *, assume_ours: bool, name: str = FORWARD
) -> BaseChain:
    """Return a base chain of iptables.

    Args:
        program: ``iptables`` or ``ip6tables``.
        listing: of the whole filter table.
        assume_ours: read FORWARD as if our accept stood behind DOCKER-USER, as it will with the
            first network that needs it.
        name: ``FORWARD``, ``INPUT`` or ``OUTPUT``.
    """
    chains: dict[str, list[Rule]] = {}
    policy = "accept"
    for line in listing.lines:
        match line:
            case ("-P", listed, target):
                chains.setdefault(listed, [])
                if listed == name:
                    policy = target.lower()
            case ("-N", listed):
                chains.setdefault(listed, [])
            case _:
                pass
    for line in listing.lines:
        if line[:1] == ("-A",):
            chains.setdefault(line[1], []).append(_iptables_rule(line[2:], chains))
    forward = [line[2:] for line in listing.lines if line[:2] == ("-A", FORWARD)]
    place = behind(forward) if assume_ours else None
    if place is not None:
        chains[FORWARD].insert(place, _iptables_rule(ACCEPT, chains))
    return BaseChain(
        program=program,
        family="ip" if program == "iptables" else "ip6",
        table="filter",
        name=name,
        policy=policy,
        chains=chains,
        hook=name.lower(),
    )


def _iptables_rule(words: Sequence[str], chains: Mapping[str, object]) -> Rule:
    conditions: list[Condition | Together] = []
    negated = False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "!":
            negated = True
            continue
        if word in ("-j", "-g"):
            # what follows are the target's own options
            return _iptables_target(word, rest[0] if rest else "", conditions, chains)
        value = rest.pop(0) if rest and not rest[0].startswith("-") and rest[0] != "!" else ""
        if word not in ("-m", "--comment"):
            conditions.append(_iptables_condition(word, value, negated=negated))
        negated = False
    return Rule(conditions=tuple(conditions))


def _iptables_target(
    word: str, target: str, conditions: Sequence[Condition | Together], chains: Mapping[str, object]
) -> Rule:
    if target in chains:
        verdict = Verdict.JUMP if word == "-j" else Verdict.GOTO
        return Rule(conditions=tuple(conditions), verdict=verdict, target=target)
    verdict = VERDICTS.get(target, Verdict.NONE)
    return Rule(conditions=tuple(conditions), verdict=verdict)


_SUBJECTS = {
    "-i": Subject.IN,
    "-o": Subject.OUT,
    "-p": Subject.PROTOCOL,
    "-s": Subject.SOURCE,
    "-d": Subject.DESTINATION,
    "--dport": Subject.PORT,
    "--dports": Subject.PORT,
    "--state": Subject.STATE,
    "--ctstate": Subject.STATE,
    "--mark": Subject.MARK,
}


def _iptables_condition(option: str, value: str, *, negated: bool) -> Condition:
    subject = _SUBJECTS.get(option, Subject.OTHER)
    match subject:
        case Subject.IN | Subject.OUT:
            values: tuple[str, ...] = (f"{value[:-1]}*" if value.endswith("+") else value,)
        case Subject.PORT:
            values = tuple(value.replace(":", "-").split(","))
        case Subject.STATE:
            values = tuple(value.lower().split(","))
        case Subject.MARK:
            number, _, mask = value.partition("/")
            values = (str(int(number, 0)), str(int(mask or "0xffffffff", 0)))
        case Subject.OTHER:
            return _UNKNOWN
        case _:
            values = (value,)
    return Condition(subject=subject, values=values, negated=negated)
