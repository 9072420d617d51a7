"""Read chains from libnftables' JSON."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ovsdriver.adapters.firewall.expressions import Object
from ovsdriver.adapters.firewall.iptables_reader import VERDICTS as IPTABLES_VERDICTS
from ovsdriver.domain.traffic.chains import BaseChain, Condition, Rule, Subject, Together, Verdict

_UNKNOWN = Condition(subject=Subject.OTHER)
_NO_SETS: Mapping[str, Sequence[Any]] = {}

_NFT_VERDICTS = {
    "accept": Verdict.ACCEPT,
    "drop": Verdict.DROP,
    "reject": Verdict.DROP,
    "return": Verdict.RETURN,
    "jump": Verdict.JUMP,
    "goto": Verdict.GOTO,
    "queue": Verdict.UNKNOWN,
    "masquerade": Verdict.MASQUERADE,
    "snat": Verdict.MASQUERADE,
    "redirect": Verdict.UNKNOWN,
    "tproxy": Verdict.UNKNOWN,
}
_NFT_HARMLESS = frozenset({"counter", "log", "mangle", "notrack", "flow"})

_FAMILIES = ("ip", "ip6", "inet")


def forward_chains(chains: Iterable[Object], *, own_tables: Collection[str]) -> list[Object]:
    """Return the base chains of others at the forward hook that see routed packets."""
    return [
        chain
        for chain in chains
        if chain.get("hook") == "forward"
        and chain["family"] in _FAMILIES
        and not (chain["family"] == "inet" and chain["table"] in own_tables)
    ]


def from_nft(
    chain: Object,
    rules: Mapping[str, Sequence[Object]],
    sets: Mapping[str, Sequence[Any]] = _NO_SETS,
) -> BaseChain:
    """Return a base chain as nftables has it.

    Args:
        chain: itself.
        rules: those of its table, by chain.
        sets: elements of named sets of the table, and pairs of its named maps, as far as read.
    """
    return BaseChain(
        program="nft",
        family=chain["family"],
        table=chain["table"],
        name=chain["name"],
        policy=chain.get("policy", "accept"),
        chains={
            name: [rule for each in found for rule in _nft_rules(each, sets)]
            for name, found in rules.items()
        },
        hook=chain.get("hook", "forward"),
        priority=chain["prio"] if isinstance(chain.get("prio"), int) else 0,
        translates=chain.get("type") == "nat",
    )


def from_ruleset(objects: Iterable[Object]) -> list[BaseChain]:
    """Return the base chains that see IP packets, of all tables that ``objects`` are of."""
    bases: list[Object] = []
    rules: dict[tuple[str, str], dict[str, list[Object]]] = {}
    sets: dict[tuple[str, str], dict[str, Sequence[Any]]] = {}
    for each in objects:
        ((kind, body),) = each.items()
        if not isinstance(body, dict) or body.get("family") not in _FAMILIES:
            continue
        table = (body["family"], body.get("table", ""))
        if kind == "chain":
            rules.setdefault(table, {}).setdefault(body["name"], [])
            bases += [body] if "hook" in body else []
        elif kind == "rule":
            rules.setdefault(table, {}).setdefault(body["chain"], []).append(body)
        elif kind in ("set", "map"):
            sets.setdefault(table, {})[body["name"]] = body.get("elem", ())
    found = []
    for base in bases:
        table = (base["family"], base["table"])
        known = sets.get(table, {})
        below = {name: spelled_out(listed, known) for name, listed in rules[table].items()}
        found.append(from_nft(base, below, known))
    return found


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


def _nft_rules(rule: Object, sets: Mapping[str, Sequence[Any]]) -> list[Rule]:
    """Return a rule as it is; one that ends in a map of verdicts or places as one for each."""
    conditions: list[Condition | Together] = []
    said = {"comment": rule.get("comment", ""), "handle": rule.get("handle", 0)}
    for part in rule.get("expr", ()):
        ((word, body),) = part.items()
        if word == "match":
            conditions += _nft_conditions(body, sets)
        elif word == "vmap":
            return [replace(each, **said) for each in _nft_verdict_map(body, conditions, sets)]
        elif word == "dnat":
            return [replace(each, **said) for each in _nft_translations(body, conditions, sets)]
        elif word in _NFT_VERDICTS or _xt(word, body, "target"):
            return [replace(each, **said) for each in _nft_verdict(part, conditions)]
        elif not (
            word in _NFT_HARMLESS or (_xt(word, body, "match") and body["name"] == "comment")
        ):
            conditions.append(_UNKNOWN)
    return []


def _nft_verdict(part: Object, conditions: Sequence[Condition | Together]) -> list[Rule]:
    ((word, body),) = part.items()
    if word == "xt":
        verdict = IPTABLES_VERDICTS.get(body["name"], Verdict.NONE)
    else:
        verdict = _NFT_VERDICTS[word]
    target = body["target"] if word in ("jump", "goto") else ""
    return [Rule(conditions=tuple(conditions), verdict=verdict, target=target)]


def _nft_verdict_map(
    body: Object, conditions: Sequence[Condition | Together], sets: Mapping[str, Sequence[Any]]
) -> list[Rule]:
    match body:
        case {"key": key, "data": {"set": list(pairs)}}:
            return [
                rule
                for value, verdict in pairs
                if not _NFT_VERDICTS.keys().isdisjoint(verdict)
                for rule in _nft_verdict(
                    verdict,
                    [
                        *conditions,
                        *_nft_conditions({"op": "==", "left": key, "right": value}, sets),
                    ],
                )
            ]
        case _:
            return [Rule(conditions=tuple(conditions), verdict=Verdict.UNKNOWN)]


def _nft_translations(
    body: Object, conditions: Sequence[Condition | Together], sets: Mapping[str, Sequence[Any]]
) -> list[Rule]:
    """Return a rule for each place that a packet's destination may become."""
    match body:
        case {"addr": {"map": {"key": key, "data": data}}}:
            pairs = sets.get(data[1:], ()) if isinstance(data, str) else data.get("set", ())
        case {"addr": str(address), **rest}:
            target = " ".join([address, *([str(rest["port"])] if "port" in rest else [])])
            return [Rule(conditions=tuple(conditions), verdict=Verdict.TRANSLATE, target=target)]
        case _:
            return [Rule(conditions=tuple(conditions), verdict=Verdict.UNKNOWN)]
    found = []
    for value, place in pairs:
        known = _nft_conditions({"op": "==", "left": key, "right": value}, sets)
        parts = place["concat"] if isinstance(place, dict) and "concat" in place else [place]
        found.append(
            Rule(
                conditions=(*conditions, *known),
                verdict=Verdict.TRANSLATE,
                target=" ".join(map(str, parts)),
            )
        )
    return found


def _xt(word: str, body: Any, kind: str) -> bool:
    return word == "xt" and isinstance(body, dict) and body.get("type") == kind and "name" in body


def _nft_conditions(
    match: Object, sets: Mapping[str, Sequence[Any]]
) -> Sequence[Condition | Together]:
    """Return what a match asks, and what it takes for granted: ports are those of a protocol."""
    left, op, right = match["left"], match["op"], _elements(match["right"], sets)
    if not isinstance(left, dict) or op not in ("==", "!=", "in") or right is None:
        return [_UNKNOWN]
    if "concat" in left:
        return [_nft_together(left["concat"], right, negated=op == "!=")]
    values = tuple(map(_nft_value, right))
    known = tuple(each for each in values if each is not None)
    if len(known) < len(values):
        return [_UNKNOWN]
    return [*_granted(left), _nft_condition(left, known, negated=op == "!=")]


def _nft_condition(left: Object, values: tuple[str, ...], *, negated: bool) -> Condition:
    mask = _marked(left)
    if mask is not None:
        if len(values) != 1 or not values[0].isdecimal():
            return _UNKNOWN
        return Condition(subject=Subject.MARK, values=(values[0], str(mask)), negated=negated)
    subject = _nft_subject(left)
    if subject is Subject.OTHER or (_key(left) == ("ct", "status") and values != ("dnat",)):
        return _UNKNOWN
    return Condition(subject=subject, values=values, negated=negated)


def _nft_together(
    keys: Sequence[Object], rows: Sequence[Any], *, negated: bool
) -> Condition | Together:
    subjects = tuple(map(_nft_subject, keys))
    found = []
    for row in rows:
        parts = row.get("concat", ()) if isinstance(row, dict) else ()
        values = tuple(map(_nft_value, parts))
        if len(values) != len(subjects) or None in values:
            return _UNKNOWN
        found.append(tuple(each for each in values if each is not None))
    return Together(subjects=subjects, rows=tuple(found), negated=negated)


_NFT_SUBJECTS = {
    ("meta", "iifname"): Subject.IN,
    ("meta", "iif"): Subject.IN,
    ("meta", "oifname"): Subject.OUT,
    ("meta", "oif"): Subject.OUT,
    ("meta", "iifkind"): Subject.IN_KIND,
    ("meta", "oifkind"): Subject.OUT_KIND,
    ("meta", "nfproto"): Subject.FAMILY,
    ("meta", "l4proto"): Subject.PROTOCOL,
    ("ct", "state"): Subject.STATE,
    ("ct", "status"): Subject.STATE,  # "dnat" alone: as iptables has it, where DNAT is a state
    ("ct", "direction"): Subject.DIRECTION,
}
_NFT_FIELDS = {
    "saddr": Subject.SOURCE,
    "daddr": Subject.DESTINATION,
    "dport": Subject.PORT,
    "type": Subject.ICMP,
}
_FAMILY_OF = {"ip": "ipv4", "ip6": "ipv6"}


_FIBS = {
    ("type", "daddr"): Subject.LOCAL,
    ("type", "daddr iif"): Subject.AT_HOME,
    ("oif", "iif saddr"): Subject.RETURNS,
}


def _nft_subject(left: Any) -> Subject:
    match left:
        case {"payload": {"protocol": str(protocol), "field": str(field)}}:
            typed = field != "type" or protocol in ("icmp", "icmpv6")
            return _NFT_FIELDS.get(field, Subject.OTHER) if typed else Subject.OTHER
        case {"ct": {"key": "ip daddr" | "ip6 daddr", "dir": "original"}}:
            return Subject.ASKED
        case {"fib": {"result": str(result), "flags": flags}}:
            return _FIBS.get((result, _flags(flags)), Subject.OTHER)
        case dict():
            return _NFT_SUBJECTS.get(_key(left), Subject.OTHER)
        case _:
            return Subject.OTHER


def _flags(flags: Any) -> str:
    return " ".join(sorted([flags] if isinstance(flags, str) else flags))


def _granted(left: Object) -> Sequence[Condition]:
    match left:
        case {"payload": {"protocol": "ip" | "ip6" as protocol}}:
            return [Condition(subject=Subject.FAMILY, values=(_FAMILY_OF[protocol],))]
        case {"payload": {"protocol": "tcp" | "udp" | "sctp" | "icmp" | "icmpv6" as protocol}}:
            return [Condition(subject=Subject.PROTOCOL, values=(protocol,))]
        case _:
            return []


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


def _elements(right: Any, sets: Mapping[str, Sequence[Any]]) -> Sequence[Any] | None:
    """Return what stands on the right of a match, one by one; None if it is not known."""
    if isinstance(right, str) and right.startswith("@"):
        return sets.get(right[1:])
    if isinstance(right, dict) and set(right) == {"set"}:
        right = right["set"]
    return right if isinstance(right, list) else [right]


def _nft_value(element: Any) -> str | None:
    """Return a literal as conditions have it; None if it is something else."""
    match element:
        case {"elem": {"val": value}}:
            return _nft_value(value)
        case {"prefix": {"addr": str(address), "len": int(length)}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case str() | int() if not str(element).startswith("@"):
            return str(element)
        case _:
            return None
