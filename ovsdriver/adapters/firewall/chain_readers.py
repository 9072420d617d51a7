"""Read other people's chains: from libnftables' JSON, and from what ``iptables -S`` prints."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ovsdriver.adapters.firewall.docker_user import ACCEPT, FORWARD, Listing, behind
from ovsdriver.adapters.firewall.nft_rules import Object
from ovsdriver.domain.traffic.foreign_chains import Condition, ForeignChain, Rule, Subject, Verdict

_UNKNOWN = Condition(subject=Subject.OTHER)

_NFT_VERDICTS = {
    "accept": Verdict.ACCEPT,
    "drop": Verdict.DROP,
    "reject": Verdict.DROP,
    "return": Verdict.RETURN,
    "jump": Verdict.JUMP,
    "goto": Verdict.GOTO,
    "queue": Verdict.UNKNOWN,
}
_NFT_HARMLESS = frozenset({"counter", "log", "mangle", "notrack", "flow"})

_IPTABLES_VERDICTS = {
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.DROP,
    "REJECT": Verdict.DROP,
    "RETURN": Verdict.RETURN,
    "NFQUEUE": Verdict.UNKNOWN,
    "QUEUE": Verdict.UNKNOWN,
}


def forward_chains(chains: Iterable[Object], *, own_table: str) -> list[Object]:
    """Return the base chains of others at the forward hook that see routed packets."""
    return [
        chain
        for chain in chains
        if chain.get("hook") == "forward"
        and chain["family"] in ("ip", "ip6", "inet")
        and (chain["family"], chain["table"]) != ("inet", own_table)
    ]


def from_nft(chain: Object, rules: Mapping[str, Sequence[Object]]) -> ForeignChain:
    """Return a base chain as nftables has it; ``rules`` are those of its table, by chain."""
    return ForeignChain(
        program="nft",
        family=chain["family"],
        table=chain["table"],
        name=chain["name"],
        policy=chain.get("policy", "accept"),
        chains={
            name: [rule for each in found for rule in _nft_rules(each)]
            for name, found in rules.items()
        },
    )


def named_maps(rules: Iterable[Object]) -> set[str]:
    """Return the names of the verdict maps that ``rules`` look in."""
    return {body["data"][1:] for body in _vmaps(rules) if isinstance(body["data"], str)}


def spelled_out(rules: Iterable[Object], maps: Mapping[str, Sequence[Any]]) -> list[Object]:
    """Return ``rules`` with the pairs of ``maps`` in the place of the maps' names."""

    def spelled(part: Object) -> Object:
        match part:
            case {"vmap": {"data": str(name)} as body}:
                return {"vmap": {**body, "data": {"set": list(maps.get(name[1:], ()))}}}
            case _:
                return part

    return [{**rule, "expr": [spelled(each) for each in rule.get("expr", ())]} for rule in rules]


def targets(rules: Sequence[Object]) -> set[str]:
    """Return the names of the chains that ``rules`` jump or go to."""
    verdicts = [part for rule in rules for part in rule.get("expr", ())]
    for body in _vmaps(rules):
        if isinstance(body["data"], dict):
            verdicts += [verdict for _, verdict in body["data"].get("set", ())]
    return {part[word]["target"] for part in verdicts for word in ("jump", "goto") if word in part}


def _vmaps(rules: Iterable[Object]) -> Iterator[Object]:
    return (part["vmap"] for rule in rules for part in rule.get("expr", ()) if "vmap" in part)


def from_iptables(program: str, listing: Listing, *, assume_ours: bool) -> ForeignChain:
    """Return iptables' FORWARD.

    Args:
        program: ``iptables`` or ``ip6tables``.
        listing: of the whole filter table.
        assume_ours: read FORWARD as if our accept stood behind DOCKER-USER, as it will with the
            first network that needs it.
    """
    chains: dict[str, list[Rule]] = {}
    policy = "accept"
    for line in listing.lines:
        match line:
            case ("-P", name, target):
                chains.setdefault(name, [])
                if name == FORWARD:
                    policy = target.lower()
            case ("-N", name):
                chains.setdefault(name, [])
            case _:
                pass
    for line in listing.lines:
        if line[:1] == ("-A",):
            chains.setdefault(line[1], []).append(_iptables_rule(line[2:], chains))
    forward = [line[2:] for line in listing.lines if line[:2] == ("-A", FORWARD)]
    place = behind(forward) if assume_ours else None
    if place is not None:
        chains[FORWARD].insert(place, _iptables_rule(ACCEPT, chains))
    return ForeignChain(
        program=program,
        family="ip" if program == "iptables" else "ip6",
        table="filter",
        name=FORWARD,
        policy=policy,
        chains=chains,
    )


def _nft_rules(rule: Object) -> list[Rule]:
    """Return a rule as it is; one that ends in a literal verdict map as one for each verdict."""
    conditions: list[Condition] = []
    for part in rule.get("expr", ()):
        ((word, body),) = part.items()
        if word == "match":
            conditions.append(_nft_condition(body))
        elif word == "vmap":
            return _nft_verdict_map(body, conditions)
        elif word in _NFT_VERDICTS or _xt(word, body, "target"):
            return [_nft_verdict(part, conditions)]
        elif not (
            word in _NFT_HARMLESS or (_xt(word, body, "match") and body["name"] == "comment")
        ):
            conditions.append(_UNKNOWN)
    return []


def _nft_verdict(part: Object, conditions: Sequence[Condition]) -> Rule:
    ((word, body),) = part.items()
    if word == "xt":
        verdict = _IPTABLES_VERDICTS.get(body["name"], Verdict.NONE)
    else:
        verdict = _NFT_VERDICTS[word]
    target = body["target"] if word in ("jump", "goto") else ""
    return Rule(conditions=tuple(conditions), verdict=verdict, target=target)


def _nft_verdict_map(body: Object, conditions: Sequence[Condition]) -> list[Rule]:
    match body:
        case {"key": key, "data": {"set": list(pairs)}}:
            return [
                _nft_verdict(
                    verdict,
                    [*conditions, _nft_condition({"op": "==", "left": key, "right": value})],
                )
                for value, verdict in pairs
                if not _NFT_VERDICTS.keys().isdisjoint(verdict)
            ]
        case _:
            return [Rule(conditions=tuple(conditions), verdict=Verdict.UNKNOWN)]


def _xt(word: str, body: Any, kind: str) -> bool:
    return word == "xt" and isinstance(body, dict) and body.get("type") == kind and "name" in body


def _nft_condition(match: Object) -> Condition:
    left, op = match["left"], match["op"]
    values = _nft_values(match["right"])
    if not isinstance(left, dict) or op not in ("==", "!=", "in") or values is None:
        return _UNKNOWN
    mask = _marked(left)
    if mask is not None:
        if len(values) != 1 or not values[0].isdecimal():
            return _UNKNOWN
        return Condition(subject=Subject.MARK, values=(values[0], str(mask)), negated=op == "!=")
    subject = _NFT_SUBJECTS.get(_key(left), Subject.OTHER)
    if _key(left) == ("ct", "status") and values == ("dnat",):
        subject = Subject.STATE  # as iptables has it, where DNAT is a state
    if subject is Subject.OTHER:
        return _UNKNOWN
    return Condition(subject=subject, values=values, negated=op == "!=")


_NFT_SUBJECTS = {
    ("meta", "iifname"): Subject.IN,
    ("meta", "iif"): Subject.IN,
    ("meta", "oifname"): Subject.OUT,
    ("meta", "oif"): Subject.OUT,
    ("meta", "nfproto"): Subject.FAMILY,
    ("meta", "l4proto"): Subject.PROTOCOL,
    ("ct", "state"): Subject.STATE,
}


def _key(left: Object) -> tuple[str, str]:
    ((word, body),) = left.items()
    return word, body.get("key", "") if isinstance(body, dict) else ""


def _marked(left: Object) -> int | None:
    """Return the mask of ``meta mark & mask``; all bits for the bare mark; None for others."""
    match left:
        case {"&": [{"meta": {"key": "mark"}}, int(mask)]}:
            return mask
        case {"meta": {"key": "mark"}}:
            return 0xFFFFFFFF
        case _:
            return None


def _nft_values(right: Any) -> tuple[str, ...] | None:
    """Return the literal values on the right of a match; None if it is not made of such."""
    if isinstance(right, dict) and set(right) == {"set"}:
        right = right["set"]
    if isinstance(right, str | int):
        right = [right]
    if not isinstance(right, list) or not all(isinstance(each, str | int) for each in right):
        return None
    values = tuple(map(str, right))
    return None if any(value.startswith("@") for value in values) else values


def _iptables_rule(words: Sequence[str], chains: Mapping[str, object]) -> Rule:
    conditions: list[Condition] = []
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
    word: str, target: str, conditions: Sequence[Condition], chains: Mapping[str, object]
) -> Rule:
    if target in chains:
        verdict = Verdict.JUMP if word == "-j" else Verdict.GOTO
        return Rule(conditions=tuple(conditions), verdict=verdict, target=target)
    verdict = _IPTABLES_VERDICTS.get(target, Verdict.NONE)
    return Rule(conditions=tuple(conditions), verdict=verdict)


def _iptables_condition(option: str, value: str, *, negated: bool) -> Condition:
    match option:
        case "-i" | "-o":
            subject = Subject.IN if option == "-i" else Subject.OUT
            pattern = f"{value[:-1]}*" if value.endswith("+") else value
            return Condition(subject=subject, values=(pattern,), negated=negated)
        case "--ctstate" | "--state":
            states = tuple(value.lower().split(","))
            return Condition(subject=Subject.STATE, values=states, negated=negated)
        case "-p":
            return Condition(subject=Subject.PROTOCOL, values=(value,), negated=negated)
        case "--mark":
            number, _, mask = value.partition("/")
            values = (str(int(number, 0)), str(int(mask or "0xffffffff", 0)))
            return Condition(subject=Subject.MARK, values=values, negated=negated)
        case _:
            return _UNKNOWN
