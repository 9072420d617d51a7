"""From the plan to the objects of our nftables table, as libnftables' JSON has them. Pure.

JSON, so that no text is ever put together: a name can be wrong, it cannot become a rule.
The order of members and the way expressions are written are those in which libnftables prints
them (libnftables-json(5)), so that what stands can be compared with what should.

``spoofed``, before the kernel looks a packet's connection up, drops what comes from a gateway with
a source that is not of its network. So a forged packet is no part of anybody's connection, is
never translated, and reaches neither the host nor what is beyond it.

Two base chains at the forward hook, the second only while it is needed:

``forward``, just before the priority at which iptables and most others filter, judges what
crosses a gateway of ours and nothing else: it accepts with a mark or drops, and everything that
touches no gateway passes it untouched.

``guard``, a little later, drops what crosses no gateway of ours but would not have been forwarded
at all had we not switched forwarding on; see ``ovsdriver.domain.traffic.forwarding``.

What is for the host itself is judged in two places. ``asked``, before any translation, drops what a
container asks of another network's gateway, so that neither a service nor a port that is published
there is reached. ``input`` closes the rest where a network wants it (``ovs.host``), after
translation: published ports are reached always.

``nameless``, on a host of a fleet, refuses what asks for names of segments and is on none.

While ports are published there are three more base chains. ``prerouting`` and ``output``
translate the destination of what is for an address of this host; ``loopback`` drops what arrives
with an address of 127.0.0.0/8 before that: it could otherwise reach a port that is published for
this host alone, and, since such packets may leave by our gateways, what listens there.

Rules match interfaces by name and through sets: a gateway comes and goes with vswitchd under a
new index, and a table for 500 networks has as many rules as one for a single network.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import Any

from netaddr import IPAddress

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
from ovsdriver.domain.records.model import Publication
from ovsdriver.domain.records.names import GATEWAY_PREFIX, PLUG_PREFIX, PROBE_PREFIX
from ovsdriver.domain.records.segments import NAME_SERVER
from ovsdriver.domain.traffic.firewall import ACCEPT_MARK, FirewallPlan, GatewayRules, Guard, plain
from ovsdriver.domain.traffic.isolation import closings, openings

_ICMP, _ICMPV6 = socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6

_RAW = -300
_DSTNAT = -100
_FILTER = 0
_SRCNAT = 100
"""nft(8), "standard priority names"."""

GATEWAYS = "gateways"
"""Name of the set of our gateways."""

_SPANS = "ranges"
"""Of the name of a map that has ranges of ports, each of which stays as it is."""

_FAMILIES = {4: "ipv4", 6: "ipv6"}
_HEADERS = {4: "ip", 6: "ip6"}
_LOOPBACK = {"prefix": {"addr": "127.0.0.0", "len": 8}}


def render(
    plan: FirewallPlan,
    *,
    table: str,
    outside: Iterable[str] = (),
    guard: Guard | None = None,
    bridges: Iterable[str] = (),
) -> Sequence[Object]:
    """Return the objects inside of the table, in the order in which they can be added.

    Args:
        plan: what networks want; one that wants nothing gives no objects: no table is needed.
        table: name of the table, of family ``inet``.
        outside: Linux bridges that do not lead to other containers.
        guard: what to keep from being forwarded on our account.
        bridges: all Linux bridges of the host, which pass frames on that a guard must not judge.

    Raises:
        ValueError: a link's name is one that rules cannot carry; see ``plain``.
    """
    build = _Builder(table)
    if plan.refuses_names:
        build.chain("nameless", kind="filter", hook="prerouting", prio=_RAW)
        _nameless(build)
    if not plan.gateways:
        return build.objects
    guard = guard or Guard()
    gateways = [gateway.link for gateway in plan.gateways]
    build.set(GATEWAYS, gateways)
    apart: set[str] = set()
    for family in _FAMILIES:
        opened = openings(plan.gateways, family=family)
        build.set(f"masqueraded{family}", opened.masqueraded)
        build.set(f"reachable{family}", opened.reachable)
        build.set(f"mutual{family}", opened.mutual)
        build.holders(family, plan.gateways)
        apart.update(opened.apart)
    build.pairs("apart", apart)
    closed = closings(plan.gateways)
    if plan.legs:
        build.set("legs", plan.legs)
    build.set("narrow", closed.narrow)
    build.set("silent", closed.silent)
    build.set("outside", outside)
    build.chain("allow")
    build.chain("from_gateway")
    build.chain("to_gateway")
    build.chain("others")
    build.chain("narrow")
    build.chain("spoofed", kind="filter", hook="prerouting", prio=_RAW)
    build.chain("asked", kind="filter", hook="prerouting", prio=_DSTNAT - 10)
    build.chain("input", kind="filter", hook="input", prio=_FILTER - 10)
    build.chain("forward", kind="filter", hook="forward", prio=_FILTER - 10)
    build.chain("postrouting", kind="nat", hook="postrouting", prio=_SRCNAT)
    _allow(build)
    _spoofed(build)
    _others(build)
    _asked(build)
    _input(build)
    _forward(build)
    _from_gateway(build, legs=bool(plan.legs))
    _to_gateway(build)
    _postrouting(build)
    if plan.published:
        _publish(build, plan, gateways)
    if guard:
        _guard(build, guard, bridges)
    return build.objects


def _allow(build: "_Builder") -> None:
    mark = meta("mark")
    build.rule(
        "allow", {"mangle": {"key": mark, "value": {"|": [mark, ACCEPT_MARK]}}}, {"accept": None}
    )


def _nameless(build: "_Builder") -> None:
    # Before a route is looked up: where there is none the host would answer otherwise, and a
    # resolver does not take that for an end of the matter.
    build.rule(
        "nameless",
        match(payload("ip", "daddr"), str(NAME_SERVER)),
        {"reject": {"type": "icmp", "expr": "port-unreachable"}},
        comment="not on a segment",
    )


def _spoofed(build: "_Builder") -> None:
    # The way back to the source is not through the gateway it came from. By the routes and not by
    # a set of subnets, because the routes are what an answer would follow; the subnet of a gateway
    # is a route of it, another network's is one of another. The kernel's own sources pass: none at
    # all (DHCP, detection of duplicates), and link-local ones, which it does not forward.
    build.rule(
        "spoofed",
        match(meta("iifname"), f"@{GATEWAYS}"),
        match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, right=False),
        {"drop": None},
        comment="source is not of this network",
    )
    # On the userspace datapath the host's stack sees what comes out of a container's plug, too.
    # Strict reverse paths drop all of it but broadcasts that have no source, as DHCP's.
    for prefix in (PLUG_PREFIX, PROBE_PREFIX):
        build.rule(
            "spoofed",
            match(meta("iifname"), f"{prefix}*"),
            {"drop": None},
            comment="no link of the host's",
        )


def _others(build: "_Builder") -> None:
    """Let pass what the host has begun with one of these addresses, and who is at home there."""
    chain = "others"
    for family, header in _HEADERS.items():
        own = {"concat": [meta("iifname"), payload(header, "daddr")]}
        build.rule(chain, match(own, f"@own{family}"), {"return": None})
    build.rule(chain, *_answers(), {"return": None})
    build.rule(chain, {"drop": None}, comment="another network's gateway")


def _asked(build: "_Builder") -> None:
    # By name and not by @gateways: another instance's containers are others' too. Not those of
    # Linux bridges, see _input.
    for family, header in _HEADERS.items():
        build.rule(
            "asked",
            match(meta("iifname"), f"{GATEWAY_PREFIX}*"),
            match(payload(header, "daddr"), f"@held{family}"),
            goto("others"),
        )


def _input(build: "_Builder") -> None:
    # What sits on bridges of others is judged here: with bridge-nf-call-iptables frames that a
    # bridge only passes on come through prerouting too, and may be for the same address elsewhere.
    for family, header in _HEADERS.items():
        build.rule(
            "input",
            *_of_others(),
            match(payload(header, "daddr"), f"@held{family}"),
            goto("others"),
        )
    build.rule("input", match(meta("iifname"), "@narrow"), goto("narrow"))
    chain = "narrow"
    build.rule(chain, *_answers(), {"return": None})
    # Without it there is no IPv6. The kernel answers for addresses of that link alone.
    kinds = {"set": ["nd-neighbor-solicit", "nd-neighbor-advert"]}
    build.rule(chain, match(payload("icmpv6", "type"), kinds), {"return": None})
    # With "iif" an address is local if that very link has it, the link-local one of IPv6 as well.
    at_home = {"fib": {"result": "type", "flags": ["daddr", "iif"]}}
    build.rule(
        chain, match(at_home, "local", op="!="), {"drop": None}, comment="not the gateway's own"
    )
    # What is led to the host by its own rules is none that the container has asked of it: that is
    # how names in access rules are answered.
    build.rule(chain, translated(), {"return": None})
    build.rule(
        chain,
        match(meta("iifname"), "@silent"),
        match(meta("l4proto"), {"set": [int(_ICMP), int(_ICMPV6)]}, op="!="),
        {"drop": None},
        comment="no services",
    )


def _answers() -> Sequence[Object]:
    """Match what answers the host in a connection that the host began."""
    return (
        match(ct("direction"), "reply"),
        match(ct("state"), "established", op="in"),
    )


def _of_others() -> Sequence[Object]:
    """Match what comes from a bridge that other people's containers are plugged into."""
    return (
        match(meta("iifkind"), "bridge"),
        match(meta("iifname"), "@outside", op="!="),
    )


def _forward(build: "_Builder") -> None:
    # Both chains end in a drop, so what goes from one gateway to another is judged as leaving.
    build.rule("forward", match(meta("iifname"), f"@{GATEWAYS}"), goto("from_gateway"))
    build.rule("forward", match(meta("oifname"), f"@{GATEWAYS}"), goto("to_gateway"))


def _from_gateway(build: "_Builder", *, legs: bool) -> None:
    chain = "from_gateway"
    _published(build, chain)
    if legs:
        build.rule(chain, match(meta("iifname"), "@legs"), {"drop": None}, comment="no router")
    build.rule(
        chain,
        match({"concat": [meta("iifname"), meta("oifname")]}, "@apart"),
        {"drop": None},
        comment="not to each other",
    )
    for family in _FAMILIES:
        build.rule(
            chain,
            _family(family),
            match(meta("iifname"), f"@mutual{family}"),
            match(meta("oifname"), f"@mutual{family}"),
            _states("established", "related", "new"),
        )
    build.rule(
        chain, match(meta("oifname"), f"@{GATEWAYS}"), {"drop": None}, comment="another network"
    )
    build.rule(
        chain,
        match(meta("oifkind"), "bridge"),
        match(meta("oifname"), "@outside", op="!="),
        {"drop": None},
        comment="containers of others",
    )
    # Not "invalid" and not "untracked": neither can be translated, and would leave with the
    # container's own address. Replies only where the outside may begin, see to_gateway.
    build.rule(chain, match(ct("direction"), "original"), _states("established", "related", "new"))
    for family in _FAMILIES:
        build.rule(
            chain,
            _family(family),
            match(meta("iifname"), f"@reachable{family}"),
            _states("established", "related"),
        )
    build.rule(chain, {"drop": None})


def _to_gateway(build: "_Builder") -> None:
    chain = "to_gateway"
    for family, header in _HEADERS.items():
        asked = {"ct": {"key": f"{header} daddr", "dir": "original"}}
        build.rule(
            chain,
            *_of_others(),
            match(ct("direction"), "original"),
            match(asked, f"@held{family}"),
            {"drop": None},
            comment="published on a gateway of ours",
        )
    _published(build, chain)
    build.rule(chain, *_of_others(), {"drop": None}, comment="containers of others")
    build.rule(
        chain,
        match(meta("iifname"), f"{GATEWAY_PREFIX}*"),
        {"drop": None},
        comment="another instance's network",
    )
    # By direction and not only by state: a connection that someone began inwards while the table
    # was away (`nft flush ruleset`) is established too, and ends here.
    build.rule(chain, match(ct("direction"), "reply"), _states("established", "related"))
    for family in _FAMILIES:
        build.rule(
            chain,
            _family(family),
            match(meta("oifname"), f"@reachable{family}"),
            _states("established", "related", "new"),
        )
    build.rule(chain, {"drop": None})


def _published(build: "_Builder", chain: str) -> None:
    """Accept what someone with root's rights published by translating its destination.

    That is how Docker publishes ports of its own containers, which ours reach by the host's
    address like anybody else, and how ours are published. Without such a rule in a nat
    table no packet has the status, whatever a container sends.
    """
    build.rule(
        chain,
        translated(),
        _states("established", "related", "new"),
    )


def _postrouting(build: "_Builder") -> None:
    # By device, not by source: the source was judged when it was forwarded, and what the host
    # itself sends from a gateway's address is not a container's. iifname at this hook needs
    # Linux 5.7.
    for family in _FAMILIES:
        build.rule(
            "postrouting",
            _family(family),
            match(meta("iifname"), f"@masqueraded{family}"),
            match(meta("oifname"), f"@{GATEWAYS}", op="!="),
            {"masquerade": None},
        )


def _publish(build: "_Builder", plan: FirewallPlan, gateways: Sequence[str]) -> None:
    for family in _HEADERS:
        ours = [each for each in plan.published if each.host.version == family]
        for name, everywhere in (("published", False), ("everywhere", True)):
            found = [each for each in ours if each.at.everywhere is everywhere]
            build.targets(f"{name}{family}", family, found, by_address=not everywhere)
            build.spans(f"{name}{family}", family, found, by_address=not everywhere)
        build.places(f"detour{family}", family, plan.detours)
    build.pairs("hairpin", gateways)
    build.chain("publish")
    build.chain("loopback", kind="filter", hook="prerouting", prio=_RAW)
    build.chain("prerouting", kind="nat", hook="prerouting", prio=_DSTNAT)
    build.chain("output", kind="nat", hook="output", prio=_DSTNAT)
    for field in ("saddr", "daddr"):
        build.rule(
            "loopback",
            match(meta("iifname"), "lo", op="!="),
            match(payload("ip", field), _LOOPBACK),
            {"drop": None},
        )
    for chain in ("prerouting", "output"):
        build.rule(
            chain,
            match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"),
            {"jump": {"target": "publish"}},
        )
    # The kernel forwards neither: ::1 is for the relay, and a client of link-local address could
    # not be answered. Better refused at once by the host than never answered.
    build.rule(
        "publish",
        match(payload("ip6", "daddr"), {"set": ["::1", {"prefix": {"addr": "fe80::", "len": 10}}]}),
        {"return": None},
    )
    for name, by_address in (("published", True), ("everywhere", False)):
        for family, header in _HEADERS.items():
            address = [payload(header, "daddr")] if by_address else []
            _translate(build, f"{name}{family}", family, address)
            _translate(build, f"{name}{family}{_SPANS}", family, address)
    # The container would answer to a neighbour straight, with an address that the neighbour never
    # spoke to, and to 127.0.0.1 itself.
    build.rule(
        "postrouting",
        match({"concat": [meta("iifname"), meta("oifname")]}, "@hairpin"),
        translated(),
        {"masquerade": None},
    )
    # And it would answer by its other gateway, which is none of the connection's.
    for family, header in _HEADERS.items():
        build.rule(
            "postrouting",
            match({"concat": [meta("oifname"), payload(header, "daddr")]}, f"@detour{family}"),
            translated(),
            {"masquerade": None},
        )
    build.rule(
        "postrouting",
        match(meta("oifname"), f"@{GATEWAYS}"),
        match(payload("ip", "saddr"), _LOOPBACK),
        {"masquerade": None},
    )


def _translate(build: "_Builder", name: str, family: int, address: Sequence[Object]) -> None:
    """Give a packet the destination that a map has for it; one that it has none for goes on."""
    key = {"concat": [meta("l4proto"), *address, payload("th", "dport")]}
    # A rule of its own in each family: where there is no address in the key, nothing else says it.
    build.rule(
        "publish",
        *([] if address else [_family(family)]),
        {"dnat": {"family": _HEADERS[family], "addr": {"map": {"key": key, "data": f"@{name}"}}}},
    )


def _guard(build: "_Builder", guard: Guard, bridges: Iterable[str]) -> None:
    chain = "guard"
    guarded = guard.ipv4 | guard.ipv6
    build.pairs("bridged", [b for b in bridges if guard.ipv6_everywhere or b in guarded])
    build.set("guarded4", guard.ipv4)
    build.set("guarded6", guard.ipv6)
    build.chain(chain, kind="filter", hook="forward", prio=_FILTER - 5)
    build.rule(
        chain,
        match({"&": [meta("mark"), ACCEPT_MARK]}, ACCEPT_MARK),
        {"accept": None},
        comment="ours, or another instance's",
    )
    # With bridge-nf-call-iptables the frames that a bridge passes on come by here, in and out by
    # the bridge. A packet that is routed back to where it came from looks the same, and reaches
    # nobody whom its sender could not reach alone.
    build.rule(
        chain,
        match({"concat": [meta("iifname"), meta("oifname")]}, "@bridged"),
        {"accept": None},
        comment="passed on by one bridge",
    )
    # A dockerd that starts after us switches forwarding on for everybody, and brings its own
    # protection. Until we have seen that and lifted the guard, what its containers began outside
    # and what it published must not suffer; neither can be begun by a stranger.
    build.rule(chain, _states("established", "related", then={"accept": None}))
    build.rule(chain, translated(), {"accept": None})
    if guard.ipv4:
        build.rule(chain, _family(4), match(meta("iifname"), "@guarded4"), {"drop": None})
    if guard.ipv6_everywhere:
        # The same for its containers on their way out, by what they sit on, since no list of
        # links says it here. Between bridges nothing.
        build.rule(
            chain,
            _family(6),
            match(meta("oifkind"), "bridge"),
            match(meta("oifname"), "@outside", op="!="),
            {"drop": None},
        )
        build.rule(
            chain,
            _family(6),
            match(meta("iifkind"), "bridge"),
            match(meta("iifname"), "@outside", op="!="),
            {"accept": None},
        )
        build.rule(chain, _family(6), {"drop": None})
    elif guard.ipv6:
        build.rule(chain, _family(6), match(meta("iifname"), "@guarded6"), {"drop": None})


class _Builder:
    """Collects objects of one table."""

    def __init__(self, table: str) -> None:
        self._in = {"family": "inet", "table": table}
        self.objects: list[Object] = []

    def set(self, name: str, links: Iterable[str]) -> None:
        self._set(name, "ifname", _checked(links))

    def pairs(self, name: str, links: Iterable[str]) -> None:
        """Add a set of pairs of incoming and outgoing link, both the same."""
        pairs = [{"concat": [link, link]} for link in _checked(links)]
        self._set(name, ["ifname", "ifname"], pairs)

    def places(self, name: str, family: int, places: Iterable[tuple[str, IPAddress]]) -> None:
        """Add a set of pairs of a link and an address of ``family`` that is behind it."""
        found = sorted((link, str(ip)) for link, ip in places if ip.version == family)
        _checked(link for link, _ in found)
        elements = [{"concat": list(each)} for each in found]
        self._set(name, ["ifname", f"ipv{family}_addr"], elements)

    def _set(self, name: str, kind: str | list[str], elements: Sequence[str | Object]) -> None:
        described = {**self._in, "name": name, "type": kind}
        self.objects.append({"set": {**described, **({"elem": elements} if elements else {})}})

    def holders(self, family: int, gateways: Iterable[GatewayRules]) -> None:
        """Add the set of the host's addresses on gateways, and that of these with their links."""
        own = [(g.link, str(a)) for g in gateways for a in g.held if a.version == family]
        address = f"ipv{family}_addr"
        self._set(f"held{family}", address, sorted({each for _, each in own}))
        pairs = [{"concat": [link, each]} for link, each in sorted(own)]
        self._set(f"own{family}", ["ifname", address], pairs)

    def targets(
        self, name: str, family: int, published: Iterable[Publication], *, by_address: bool
    ) -> None:
        """Add a map from protocol, host address if ``by_address``, and port to a container's.

        Each port of a range by itself, where it becomes another one: rules cannot count.
        """
        elements = []
        for each in published:
            if _stays(each):
                continue
            for n in range(each.count):
                key = _key(each, each.host_port + n, by_address=by_address)
                elements.append([key, {"concat": [str(each.address), each.port + n]}])
        self._map(
            name, family, elements, by_address=by_address, to=[address_type(family), "inet_service"]
        )

    def spans(
        self, name: str, family: int, published: Iterable[Publication], *, by_address: bool
    ) -> None:
        """Add a map from the same with ranges of ports to a container's address."""
        elements = [
            [
                _key(each, {"range": [each.host_port, each.at.last]}, by_address=by_address),
                str(each.address),
            ]
            for each in published
            if _stays(each)
        ]
        self._map(
            f"{name}{_SPANS}",
            family,
            elements,
            by_address=by_address,
            to=address_type(family),
            flags=["interval"],
        )

    def _map(
        self,
        name: str,
        family: int,
        elements: Sequence[Sequence[Any]],
        *,
        by_address: bool,
        to: str | list[str],
        flags: Sequence[str] = (),
    ) -> None:
        described = {
            **self._in,
            "name": name,
            "type": ["inet_proto", *([address_type(family)] if by_address else []), "inet_service"],
            "map": to,
            **({"flags": flags} if flags else {}),
        }
        self.objects.append({"map": {**described, **({"elem": elements} if elements else {})}})

    def chain(
        self, name: str, *, kind: str | None = None, hook: str = "", prio: int = _FILTER
    ) -> None:
        described: Object = {**self._in, "name": name}
        if kind is not None:
            described |= {"type": kind, "hook": hook, "prio": prio, "policy": "accept"}
        self.objects.append({"chain": described})

    def rule(self, chain: str, *parts: Object | Sequence[Object], comment: str = "") -> None:
        expressions: list[Object] = []
        for part in parts:
            expressions.extend([part] if isinstance(part, dict) else part)
        described: Object = {**self._in, "chain": chain}
        if comment:
            described["comment"] = comment
        self.objects.append({"rule": {**described, "expr": expressions}})


def _stays(each: Publication) -> bool:
    """Whether it is a range whose ports are the same on both sides."""
    return each.count > 1 and each.host_port == each.port


def _key(each: Publication, port: int | Object, *, by_address: bool) -> Object:
    return {"concat": [each.protocol.number, *([str(each.host)] if by_address else []), port]}


def _checked(links: Iterable[str]) -> list[str]:
    found = sorted(set(links))
    for each in found:
        if not plain(each):
            raise ValueError(f"link name {each!r} cannot be written into a rule")
    return found


def _family(family: int) -> Object:
    return match(meta("nfproto"), _FAMILIES[family])


def _states(*states: str, then: Object | None = None) -> Sequence[Object]:
    state = match(ct("state"), list(states), op="in")
    return [state, then or goto("allow")]
