"""From access policies to the objects of their own nftables table, as libnftables' JSON. Pure.

Three base chains see every packet that crosses a gateway, just before ``nft_rules``' chains do, and
only ever drop. They tell the other side of a container's connection by hook and link: the host, the
outside, or another container; then the addresses that conntrack has of the connection lead to the
policy's chain, whichever way the packet goes. What the connection is judged by does not depend on
the packet: who began it, and the reply's source, which is where it ended up after translation.

A policy has a chain for each side it judges, and of those a second one for peers that are the host
or outside, if it has a word about them: that one decides alone. In a chain are as many rules as the
policy has kinds of peers, and in the sets behind them as many elements as there are cells; a
container is an element in some maps. Nothing of a policy is changed while it stands.

Elements of names come and go with answers (``access_table.py``), and are no part of what is
compared.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from netaddr import IPAddress

from ovsdriver.adapters.firewall.access_shape import Element, Shape, same
from ovsdriver.adapters.firewall.expressions import (
    Object,
    address_type,
    ct,
    goto,
    match,
    meta,
    payload,
    translated,
)
from ovsdriver.domain.access.cells import Cell, Span, cells, places, protocol_number
from ovsdriver.domain.access.policy import Judgement, Member, Policy, Reach, Zone
from ovsdriver.domain.records.names import GATEWAY_PREFIX
from ovsdriver.domain.records.options.access import Side
from ovsdriver.ports import Verdict

MOST_LEARNT = 65535
"""Addresses in one set of names."""

MEMBERS, OUTSIDE = "members", "outside"

_DNS = 53
_BEFORE_OTHERS = -20
"""``nft_rules`` judges at -10. Output: after destinations were translated, at -100."""
_BEFORE_PUBLISHED = -105
_HEADERS = {4: "ip", 6: "ip6"}
_DHCP = ((68, 67), (546, 547))
_COMMENT_BYTES = 120
"""The kernel takes 128 with what is around them."""

_DENY, _ALLOW = "deny", "allow"
_COUNTER = [{"counter": None}]


@dataclass(frozen=True, slots=True)
class NameSet:
    """Rules about names of one protocol and range of ports share their addresses."""

    name: str
    family: int
    rules: Mapping[str, str]
    """The first rule about each name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What of a policy matters to its members, however many rules it has."""

    asks_names: bool
    zones: Mapping[Side, Sequence[Zone]]
    """Of each side that is judged: those that it has a word about."""

    @classmethod
    def of(cls, policy: Policy) -> "Kind":
        """Look at all rules of a policy."""
        zones = {side: _zones(judged) for side, judged in _sides(policy) if judged != Judgement()}
        return cls(policy.asks_names, zones)

    @property
    def judged(self) -> Iterable[tuple[Side, Zone | None]]:
        """Return the sides, and the zones of each."""
        for side, zones in self.zones.items():
            yield side, None
            for zone in zones:
                yield side, zone


def skeleton(
    table: str,
    judged: Collection[tuple[Side, Zone | None]],
    *,
    names_port: int = 0,
    names_at: Iterable[IPAddress] = (),
    asking: bool = False,
) -> Shape:
    """Return what is there whatever the policies are.

    Args:
        table: name of the table, of family ``inet``.
        judged: what policies judge; where there is no such one, no packet is asked about it.
        names_port: where the name server answers; 0: nowhere.
        names_at: servers that may be asked; none: all.
        asking: there are members that ask for names.
    """
    build = _Builder(table, judged)
    build.set(OUTSIDE, "ifname")
    for family in _HEADERS:
        address = address_type(family)
        build.set(f"{MEMBERS}{family}", address)
        for where in ("", "host_", "outside_"):
            for side in Side:
                build.map(f"{where}{side}{family}", address)
        if asking:
            build.set(f"asking{family}", address)
    for side in Side:
        build.map(f"link_{side}6", ["ifname", address_type(6)])
    build.chain("forward", hook="forward", prio=_BEFORE_OTHERS)
    build.chain("input", hook="input", prio=_BEFORE_OTHERS)
    build.chain("output", hook="output", prio=_BEFORE_OTHERS)
    _ways_in(build)
    _host(build, names_port=names_port if asking else 0)
    _zone(build, "outward", Zone.OUTSIDE)
    build.rule("outward", goto("inside"))
    _inside(build)
    _astray(build)
    if asking:
        _names(build, names_port, names_at)
    return build.shape


def _ways_in(build: "_Builder") -> None:
    """Tell the other side of what crosses a gateway, whichever way it goes."""
    ours = f"{GATEWAY_PREFIX}*"
    if build.sides(Zone.OUTSIDE):
        build.rule(
            "forward",
            match(meta("iifname"), ours),
            match(meta("oifname"), ours),
            goto("inside"),
        )
    for near, far in (("i", "o"), ("o", "i")):
        crossing = match(meta(f"{near}ifname"), ours)
        if build.sides(Zone.OUTSIDE):
            build.rule(
                "forward",
                crossing,
                match(meta(f"{far}ifkind"), "bridge"),
                match(meta(f"{far}ifname"), f"@{OUTSIDE}", op="!="),
                goto("inside"),
            )
            build.rule("forward", crossing, goto("outward"))
        else:
            build.rule("forward", crossing, goto("inside"))
    build.rule("input", match(meta("iifname"), ours), goto("host_in"))
    build.rule("output", match(meta("oifname"), ours), goto("host_out"))
    # What was translated at this hook still has the link of before.
    build.rule("output", translated(), goto("host_out"))


def _host(build: "_Builder", *, names_port: int) -> None:
    build.chain("served")
    if names_port:
        build.rule(
            "served",
            translated(),
            match(ct("proto-dst", "original"), _DNS),
            match(ct("proto-src", "reply"), names_port),
            {"accept": None},
            comment="names",
        )
    for chain, link, back in (("host_in", "iifname", False), ("host_out", "oifname", True)):
        build.chain(chain)
        for client, server in _DHCP:
            source, destination = (server, client) if back else (client, server)
            build.rule(
                chain,
                match(payload("udp", "sport"), source),
                match(payload("udp", "dport"), destination),
                {"accept": None},
                comment="DHCP",
            )
        build.rule(chain, {"jump": {"target": "served"}})
        # Two networks may have the same link-local address.
        for side in build.sides():
            held = ct("ip6 saddr", _DIRECTION_OF_OWN[side])
            build.rule(chain, _led({"concat": [meta(link), held]}, f"link_{side}6"))
        _zone(build, chain, Zone.HOST)
        build.rule(chain, goto("inside"))


_DIRECTION_OF_OWN = {Side.TO: "original", Side.FROM: "reply"}
"""Whose source the container's own address is, by the side that judges."""
_DIRECTION_OF_PEER = {Side.TO: "reply", Side.FROM: "original"}


def _zone(build: "_Builder", chain: str, zone: Zone) -> None:
    build.chain(chain)
    for family, header in _HEADERS.items():
        for side in build.sides(zone):
            own = ct(f"{header} saddr", _DIRECTION_OF_OWN[side])
            build.rule(chain, _led(own, f"{zone}_{side}{family}"))


def _inside(build: "_Builder") -> None:
    build.chain("inside")
    build.chain("astray")
    states = {"match": {"op": "in", "left": ct("state"), "right": ["invalid", "untracked"]}}
    build.rule("inside", states, goto("astray"))
    for family, header in _HEADERS.items():
        for side in build.sides():
            own = ct(f"{header} saddr", _DIRECTION_OF_OWN[side])
            build.rule("inside", _led(own, f"{side}{family}"))


def _astray(build: "_Builder") -> None:
    """Drop what is of no connection, so that nothing says who began it."""
    kinds = [
        "mld-listener-query",
        "mld-listener-report",
        "mld-listener-done",
        "nd-router-solicit",
        "nd-router-advert",
        "nd-neighbor-solicit",
        "nd-neighbor-advert",
        "nd-redirect",
        "mld2-listener-report",
    ]
    # conntrack never looks at these, and without them there is no IPv6
    build.rule("astray", match(payload("icmpv6", "type"), {"set": kinds}), {"accept": None})
    for family, header in _HEADERS.items():
        for end in ("saddr", "daddr"):
            place = payload(header, end)
            build.rule("astray", match(place, f"@{MEMBERS}{family}"), {"drop": None})


def _names(build: "_Builder", port: int, servers: Iterable[IPAddress]) -> None:
    build.chain("names", kind="nat", hook="prerouting", prio=_BEFORE_PUBLISHED)
    listed = [(each.version, str(each)) for each in servers]
    for family, header in _HEADERS.items():
        asked = [
            match(meta("iifname"), f"{GATEWAY_PREFIX}*"),
            match(payload(header, "saddr"), f"@asking{family}"),
            match(meta("l4proto"), {"set": [6, 17]}),
            match(payload("th", "dport"), _DNS),
        ]
        if listed:
            name, elements = f"servers{family}", [text for of, text in listed if of == family]
            build.set(name, address_type(family))
            build.shape.elements[name].update((each, each) for each in elements)
            elsewhere = {"fib": {"result": "type", "flags": ["daddr"]}}
            build.rule(
                "names",
                *asked,
                match(payload(header, "daddr"), f"@{name}", op="!="),
                match(elsewhere, "local", op="!="),
                {"drop": None},
                comment="another server",
            )
        build.rule("names", *asked, {"redirect": {"port": port}} if port else {"drop": None})


def of_policy(policy: Policy, table: str) -> Shape:
    """Return the chains of a policy, and their sets with elements."""
    build = _Builder(table)
    for side, judged in _sides(policy):
        if judged == Judgement():
            continue
        _Judged(build, policy.key, side, judged).render()
    return build.shape


def of_member(member: Member, kind: Kind) -> Mapping[str, Mapping[str, Element]]:
    """Return the elements of a container, by set and key."""
    found: dict[str, dict[str, Element]] = {}

    def put(name: str, key: Element, chain: str = "") -> None:
        element = [key, {"jump": {"target": chain}}] if chain else key
        found.setdefault(name, {})[same(key)] = element

    own = [(each.version, str(each)) for each in member.addresses]
    link_local = ""
    if any(version == 6 for version, _ in own):
        link_local = str(member.mac.ipv6_link_local())
        put(f"{MEMBERS}6", link_local)
    for version, address in own:
        put(f"{MEMBERS}{version}", address)
        if kind.asks_names:
            put(f"asking{version}", address)
    for side, zones in kind.zones.items():
        general = f"{side}_{member.policy}"
        apart = {zone: f"{side}_{zone}_{member.policy}" for zone in zones}
        for version, address in own:
            put(f"{side}{version}", address, general)
            for zone, chain in apart.items():
                put(f"{zone}_{side}{version}", address, chain)
        if link_local:
            place = {"concat": [member.gateway, link_local]}
            put(f"link_{side}6", place, apart.get(Zone.HOST, general))
    return found


def name_sets(policy: Policy) -> Sequence[NameSet]:
    """Return the sets that addresses of a policy's names are put into."""
    return [
        each
        for side, judged in _sides(policy)
        for verb, reaches in _verbs(judged)
        for kind in _named(reaches)
        for each in _sets_of(kind, side, verb, policy.key)
    ]


@dataclass(frozen=True, slots=True)
class Counted:
    """A set or chain, and what its counters count."""

    side: Side
    verdict: Verdict


def counted(policy: Policy) -> Mapping[str, Counted]:
    """Return what the counters of a policy's sets and chains count, by name."""
    found: dict[str, Counted] = {}
    for side, judged in _sides(policy):
        for verb, verdict in ((_DENY, Verdict.DENIED), (_ALLOW, Verdict.ALLOWED)):
            counts = Counted(side, verdict)
            for family in _HEADERS:
                found[f"{side}_{verb}{family}_{policy.key}"] = counts
            for zone in Zone:
                found[f"{side}_{verb}_{zone}_{policy.key}"] = counts
        for chain in (side, *(f"{side}_{zone}" for zone in Zone)):
            found[f"{chain}_{policy.key}"] = Counted(side, Verdict.CLOSED)
        for verb, reaches in _verbs(judged):
            verdict = Verdict.DENIED if verb == _DENY else Verdict.ALLOWED
            for kind in _named(reaches):
                for each in _sets_of(kind, side, verb, policy.key):
                    found[each.name] = Counted(side, verdict)
    return found


def rules(policy: Policy) -> Sequence[tuple[Side, Verdict, str]]:
    """Return what is counted of a policy, in the order in which it is judged."""
    found: dict[tuple[Side, Verdict, str], None] = {}
    for side, judged in _sides(policy):
        found |= dict.fromkeys((side, Verdict.DENIED, each.rule) for each in judged.deny)
        found |= dict.fromkeys((side, Verdict.ALLOWED, each.rule) for each in judged.allow)
        if judged.closed:
            found[side, Verdict.CLOSED, ""] = None
    return list(found)


def learnt(address: str, rule: str, seconds: int) -> Element:
    """Return the element of an address that belongs to a name."""
    return {"elem": {"val": address, "timeout": seconds, **_told(rule)}}


def commented(rule: str) -> str:
    """Return as much of a rule as an element can carry."""
    return rule.encode()[:_COMMENT_BYTES].decode(errors="ignore")


def _sides(policy: Policy) -> Sequence[tuple[Side, Judgement]]:
    return ((Side.TO, policy.to), (Side.FROM, policy.from_))


def _verbs(judged: Judgement) -> Sequence[tuple[str, Sequence[Reach]]]:
    return ((_DENY, judged.deny), (_ALLOW, judged.allow))


def _zones(judged: Judgement) -> Sequence[Zone]:
    found = {each.zone for each in (*judged.deny, *judged.allow)}
    return [zone for zone in Zone if zone in found]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What rules about names have in common, but for their names."""

    protocol: Any
    ports: Span
    rules: Mapping[str, str]

    @property
    def word(self) -> str:
        """Return it as part of a name: ``tcp_443``, ``udp_53-54``, ``all``."""
        if self.protocol is None:
            return "all"
        first, last = self.ports
        if (first, last) == (0, 0xFFFF):
            return str(self.protocol)
        return f"{self.protocol}_{first}" if first == last else f"{self.protocol}_{first}-{last}"


def _named(reaches: Iterable[Reach]) -> Sequence[_Kind]:
    kinds: dict[tuple[Any, Span], dict[str, str]] = {}
    for each in reaches:
        for name in each.names:
            place = (each.protocol, (each.first_port, each.last_port))
            kinds.setdefault(place, {}).setdefault(name, each.rule)
    return [_Kind(protocol, ports, rules) for (protocol, ports), rules in kinds.items()]


def _sets_of(kind: _Kind, side: Side, verb: str, key: str) -> Sequence[NameSet]:
    return [
        NameSet(f"{side}_{verb}{family}_{kind.word}_{key}", family, kind.rules)
        for family in _HEADERS
    ]


class _Judged:
    """Renders one side of a policy."""

    def __init__(self, build: "_Builder", key: str, side: Side, judged: Judgement) -> None:
        self._build = build
        self._key = key
        self._side = side
        self._judged = judged

    def render(self) -> None:
        for verb, reaches in _verbs(self._judged):
            for family in _HEADERS:
                self._addresses(verb, reaches, family)
            for zone in _zones(self._judged):
                self._ports(verb, reaches, zone)
            for kind in _named(reaches):
                for each in _sets_of(kind, self._side, verb, self._key):
                    self._build.learning(each.name, each.family)
        self._chain(f"{self._side}_{self._key}", None)
        for zone in _zones(self._judged):
            self._chain(f"{self._side}_{zone}_{self._key}", zone)

    def _chain(self, chain: str, zone: Zone | None) -> None:
        """Render what is judged of one kind of peer; of a zone it is the last word."""
        passes: Object = {"return": None} if zone is None else {"accept": None}
        self._build.chain(chain)
        for verb, reaches in _verbs(self._judged):
            verdict: Object = {"drop": None} if verb == _DENY else passes
            name = f"{self._side}_{verb}_{zone}_{self._key}"
            if name in self._build.shape.sets:
                self._build.rule(chain, match({"concat": _PLACE}, f"@{name}"), verdict)
            for family in _HEADERS:
                name = f"{self._side}_{verb}{family}_{self._key}"
                if name in self._build.shape.sets:
                    key = {"concat": [self._peer(family), *_PLACE]}
                    self._build.rule(chain, match(key, f"@{name}"), verdict)
            for kind in _named(reaches):
                for each in _sets_of(kind, self._side, verb, self._key):
                    self._name(chain, kind, each, verdict)
        if self._judged.closed:
            self._build.rule(chain, {"counter": None}, {"drop": None}, comment="closed")
        elif zone is not None:
            self._build.rule(chain, {"accept": None})

    def _name(self, chain: str, kind: _Kind, found: NameSet, verdict: Object) -> None:
        asked: list[Object] = []
        if kind.protocol is not None:
            number = protocol_number(kind.protocol, found.family)
            asked.append(match(ct("protocol"), number))
            if kind.ports != (0, 0xFFFF):
                first, last = kind.ports
                ports: int | Object = first if first == last else {"range": [first, last]}
                asked.append(match(ct("proto-src", "reply"), ports))
        peer = match(self._peer(found.family), f"@{found.name}")
        self._build.rule(chain, *asked, peer, verdict)

    def _peer(self, family: int) -> Object:
        return ct(f"{_HEADERS[family]} saddr", _DIRECTION_OF_PEER[self._side])

    def _addresses(self, verb: str, reaches: Sequence[Reach], family: int) -> None:
        text = _address_text(family)
        elements = {
            same(key): {"elem": {"val": key, **_told(each.rule)}}
            for each in cells(reaches, family=family)
            if (key := {"concat": [text(each.addresses), *_place(each)]})
        }
        if elements:
            kind = [address_type(family), *_PLACE_TYPES]
            name = f"{self._side}_{verb}{family}_{self._key}"
            self._build.counting(name, kind, elements)

    def _ports(self, verb: str, reaches: Sequence[Reach], zone: Zone) -> None:
        elements = {
            same(key): {"elem": {"val": key, **_told(each.rule)}}
            for each in places([each for each in reaches if each.zone is zone])
            if (key := {"concat": _place(each)})
        }
        if elements:
            name = f"{self._side}_{verb}_{zone}_{self._key}"
            self._build.counting(name, _PLACE_TYPES, elements)


class _Builder:
    """A shape that grows."""

    def __init__(self, table: str, judged: Collection[tuple[Side, Zone | None]] = ()) -> None:
        self._in = {"family": "inet", "table": table}
        self._judged = judged
        self.shape = Shape()

    def sides(self, zone: Zone | None = None) -> Sequence[Side]:
        return [side for side in Side if (side, zone) in self._judged]

    def set(self, name: str, kind: str | list[str], **more: object) -> None:
        self.shape.sets[name] = {"set": {**self._in, "name": name, "type": kind, **more}}
        self.shape.elements[name] = {}

    def counting(self, name: str, kind: list[str], elements: Mapping[str, Element]) -> None:
        self.set(name, kind, flags=["interval"], stmt=_COUNTER)
        self.shape.elements[name].update(elements)

    def learning(self, name: str, family: int) -> None:
        self.set(name, address_type(family), size=MOST_LEARNT, flags=["timeout"], stmt=_COUNTER)

    def map(self, name: str, kind: str | list[str]) -> None:
        described = {**self._in, "name": name, "type": kind, "map": "verdict"}
        self.shape.sets[name] = {"map": described}
        self.shape.elements[name] = {}

    def chain(self, name: str, *, kind: str = "filter", hook: str = "", prio: int = 0) -> None:
        described: Object = {**self._in, "name": name}
        if hook:
            described |= {"type": kind, "hook": hook, "prio": prio, "policy": "accept"}
        self.shape.chains[name] = {"chain": described}
        self.shape.rules.setdefault(name, [])

    def rule(self, chain: str, *expressions: Object, comment: str = "") -> None:
        described: Object = {**self._in, "chain": chain}
        if comment:
            described["comment"] = comment
        self.shape.rules.setdefault(chain, []).append(
            {"rule": {**described, "expr": list(expressions)}}
        )


def _place(cell: Cell) -> list[Any]:
    return [_span(cell.protocols), _span(cell.ports)]


def _span(span: Span) -> Any:
    first, last = span
    return first if first == last else {"range": [first, last]}


def _address_text(family: int) -> Callable[[Span], Any]:
    bits = 32 if family == 4 else 128

    def text(span: Span) -> Any:
        first, last = (str(ip_address(each.to_bytes(bits // 8, "big"))) for each in span)
        if first == last:
            return first
        size = span[1] - span[0] + 1
        if size & (size - 1) == 0 and span[0] % size == 0:
            return {"prefix": {"addr": first, "len": bits - size.bit_length() + 1}}
        return {"range": [first, last]}

    return text


def _told(rule: str) -> Object:
    return {"comment": commented(rule), "counter": {"packets": 0, "bytes": 0}}


_PLACE = [ct("protocol"), ct("proto-src", "reply")]
"""The protocol, and the port at the side that is reached."""
_PLACE_TYPES = ["inet_proto", "inet_service"]


def _led(key: Object, name: str) -> Object:
    return {"vmap": {"key": key, "data": f"@{name}"}}
