"""A packet's way through this host: hook by hook, and its answer's way back.

Nothing here knows what should be: rules are walked as they are given, ours like everybody's. The
view of the host is the only thing that looks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from netaddr import IPAddress

from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.names import GATEWAY_PREFIX
from ovsdriver.domain.tracing.hops import (
    THIS_HOST,
    Hop,
    Kind,
    Place,
    Question,
    Verdict,
    bad,
    good,
    unsure,
)
from ovsdriver.domain.tracing.host_view import HostView, Route, RouteFault
from ovsdriver.domain.tracing.lay import Home, Lay
from ovsdriver.domain.traffic import chains as filters
from ovsdriver.domain.traffic.chains import NO_LINK, PROTOCOLS, BaseChain, Judged, Packet

_RULES = Place(name="firewall", kind=Kind.RULES)


def first_packet(
    source: IPAddress, target: IPAddress, asked: Question, *, incoming: str = NO_LINK
) -> Packet:
    """Return the packet that a question is about, before it is looked at by anybody.

    Args:
        source: its sender.
        target: whom it is for.
        asked: the protocol, and the port.
        incoming: the link of this host that it comes in by; none: this host sends it.
    """
    icmp = "icmp" if target.version == 4 else "icmpv6"
    return Packet(
        family=target.version,
        incoming=incoming,
        outgoing="",
        state="new",
        marked=False,
        protocol=PROTOCOLS[icmp if asked.protocol == "icmp" else asked.protocol],
        source=source,
        destination=target,
        asked=target,
        port=asked.port,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Through:
    """What became of a packet on this host."""

    hops: Sequence[Hop]
    ends: bool = False
    """It was stopped."""
    outgoing: str = ""
    """The link it leaves by; empty: it stays on this host."""
    gateway: IPAddress | None = None
    """The router that it goes to; None: the target is on the link."""
    destination: IPAddress | None = None
    port: int | None = None
    seen_as: IPAddress | None = None
    """The source that its receiver sees."""
    translated: bool = False


def through(view: HostView, chains: Sequence[BaseChain], lay: Lay, packet: Packet) -> Through:
    """Walk a packet through this host, and if it is let through its answer back.

    Args:
        view: this host.
        chains: the rules to walk it through.
        lay: whose they are.
        packet: the first of a connection, see :func:`first_packet`.
    """
    return _Walk(view, chains, lay, packet).done()


class _StoppedError(Exception):
    """The packet ended."""


class _Walk:
    """One packet on its way."""

    def __init__(
        self, view: HostView, chains: Sequence[BaseChain], lay: Lay, packet: Packet
    ) -> None:
        self._view = view
        self._chains = sorted(chains, key=lambda each: each.priority)
        self._lay = lay
        self._first = packet
        self._hops: list[Hop] = []
        self._masquerade: Judged | None = None

    def done(self) -> Through:
        try:
            return self._go()
        except _StoppedError:
            return Through(hops=self._hops, ends=True)

    def _go(self) -> Through:
        packet = self._knowing(self._first)
        packet = self._send(packet) if packet.incoming == NO_LINK else self._come(packet)
        target = _known(packet.destination)
        if self._view.is_local(target):
            self._by_access_rules(packet)
            self._at("input", packet)
            self._say(self._welcome(packet))
            self._answer_of_host(packet)
            return Through(hops=self._hops, destination=target, port=packet.port)
        route = self._route(packet)
        packet = self._leaving(packet, route.link)
        self._by_access_rules(packet)
        if packet.incoming != NO_LINK:
            packet = self._at("forward", packet)
            self._say(self._passage(packet))
        source = packet.source or route.source
        packet = self._at("postrouting", replace(packet, source=source))
        if self._masquerade is not None:
            source = self._view.route(target).source or source
        self._answer(packet, route.link, source)
        return Through(
            hops=self._hops,
            outgoing=route.link,
            gateway=route.gateway,
            destination=target,
            port=packet.port,
            seen_as=source,
            translated=packet.translated,
        )

    def _come(self, packet: Packet) -> Packet:
        return self._knowing(self._at("prerouting", packet))

    def _send(self, packet: Packet) -> Packet:
        target = _known(packet.destination)
        if packet.source is None:
            packet = replace(packet, source=self._view.route(target).source)
        # Whether there is a way at all is seen behind the translation, which may lead elsewhere.
        outgoing = "lo" if self._view.is_local(target) else self._view.route(target).link
        packet = self._at("output", self._leaving(packet, outgoing))
        return self._knowing(replace(packet, outgoing=""))

    def _knowing(self, packet: Packet) -> Packet:
        """Return it with what the kernel's tables say of it."""
        view, target = self._view, _known(packet.destination)
        came = packet.incoming != NO_LINK
        return replace(
            packet,
            incoming_kind=view.kind(packet.incoming) if came else "",
            local=view.is_local(target),
            at_home=came and view.has(packet.incoming, target),
            returns=not came
            or packet.source is None
            or view.returns(packet.source, packet.incoming),
        )

    def _leaving(self, packet: Packet, link: str) -> Packet:
        return replace(packet, outgoing=link, outgoing_kind=self._view.kind(link))

    def _route(self, packet: Packet) -> Route:
        target = _known(packet.destination)
        if packet.incoming == NO_LINK:
            route = self._view.route(target)
            where = "this host"
        else:
            if setting := self._view.not_forwarding(packet.incoming, packet.family):
                self._stop(_forwarding_off(setting, packet.incoming))
            route = self._view.route(target, source=packet.source, incoming=packet.incoming)
            where = f"what comes in by {packet.incoming}"
        if route.fault is not RouteFault.NONE:
            self._stop(_no_way(route, packet, where))
        by = f" by router {route.gateway}" if route.gateway is not None else ""
        if not packet.reply:
            self._say(
                good(
                    Place(name=route.link, kind=self._kind(route.link)),
                    f"the routes of this host send it to {self._named(route.link)}{by}",
                )
            )
        return route

    def _by_access_rules(self, packet: Packet) -> None:
        for each in self._lay.access.across(_RULES, packet):
            if each.verdict is Verdict.STOP:
                self._stop(each)
            self._say(each)

    def _at(self, hook: str, packet: Packet) -> Packet:
        for chain in self._chains:
            sees = chain.hook == hook and packet.family in chain.families
            if not sees or (chain.translates and packet.state != "new"):
                continue
            judged = filters.judge(chain, packet)
            if judged.verdict is filters.Verdict.DROP:
                why = self._lay.why(chain, judged, packet)
                answers = "the answer comes back, and " if packet.reply else ""
                self._stop(bad(_RULES, f"{answers}{why.sentence}", by=why.by))
            self._doubt(chain, judged, packet)
            packet = self._changed(chain, judged, packet)
        return packet

    def _changed(self, chain: BaseChain, judged: Judged, packet: Packet) -> Packet:
        ours = self._lay.is_ours(chain)
        match judged.verdict:
            case filters.Verdict.MASQUERADE:
                self._masquerade = judged
            case filters.Verdict.TRANSLATE if judged.rule is not None:
                return self._translated(judged.rule.target, packet, ours=ours)
            case filters.Verdict.ACCEPT if ours and judged.rule is not None:
                return replace(packet, marked=True)
            case _:
                pass
        return packet

    def _translated(self, to: str, packet: Packet, *, ours: bool) -> Packet:
        address, _, port = to.partition(" ")
        target = IPAddress(address)
        name = self._lay.containers.get(target, "") if ours else ""
        place = _at_port(target, port or packet.port)
        self._say(
            good(
                THIS_HOST,
                f"port {packet.port} is published for {name or address}: it goes to {place}",
                by=f"published port {packet.port}" + (f" of {name}" if name else ""),
            )
        )
        return replace(
            packet,
            destination=target,
            port=int(port) if port else packet.port,
            translated=True,
        )

    def _doubt(self, chain: BaseChain, judged: Judged, packet: Packet) -> None:
        """Say so where a rule that cannot be read decides between passing and not."""
        if judged.sure or judged.verdict is not filters.Verdict.ACCEPT:
            return
        if filters.judge(chain, packet, strict=True).verdict is filters.Verdict.DROP:
            name = f"{chain.program} chain {judged.path[-1]}"
            self._say(
                unsure(_RULES, f"{name} has a rule that ovsnet cannot read, and it may be dropped")
            )

    def _welcome(self, packet: Packet) -> Hop:
        home = self._lay.home(packet.incoming)
        if home is None:
            return good(
                THIS_HOST, f"this host has {packet.destination}, and no rule of it stops it"
            )
        by = f"ovs.host={home.rules.host} of {home.name}"
        return good(
            THIS_HOST, f"this host has {packet.destination}, and {by} lets it reach that", by=by
        )

    def _passage(self, packet: Packet) -> Hop:
        here, there = self._lay.home(packet.incoming), self._lay.home(packet.outgoing)
        home = here or there
        if home is None:
            return good(THIS_HOST, "no rule of this host stops it")
        if packet.translated:
            return good(THIS_HOST, "what is published passes, and no rule of this host stops it")
        mode = home.rules.mode_of(packet.family)
        by = f"ovs.mode={mode} of {home.name}"
        return good(THIS_HOST, f"{by} lets it pass, and no rule of this host stops it", by=by)

    def _answer(self, packet: Packet, link: str, seen_as: IPAddress | None) -> None:
        """Walk the answer of who is behind ``link``, who has seen that source."""
        source, asker = _known(packet.destination), packet.source
        back = replace(
            packet,
            incoming=link,
            outgoing="",
            state="established",
            reply=True,
            source=source,
            destination=asker,
            port=None,
        )
        back = self._knowing(back)
        # Where the source was rewritten the answer is for this host until it is written back.
        rewritten = replace(back, destination=seen_as, local=True)
        self._at("prerouting", rewritten if self._masquerade else back)
        if packet.incoming == NO_LINK:
            self._at("input", replace(back, local=True))
            return
        route = self._route(back)
        self._at("forward", self._leaving(back, route.link))
        if self._masquerade is None and not self._home(link) and self._home(packet.incoming):
            self._say(_unmasked(packet, self._lay.homes[packet.incoming], link))

    def _answer_of_host(self, packet: Packet) -> None:
        if packet.incoming in (NO_LINK, "lo"):
            return
        back = replace(
            packet,
            incoming=NO_LINK,
            outgoing=packet.incoming,
            outgoing_kind=packet.incoming_kind,
            incoming_kind="",
            state="established",
            reply=True,
            source=packet.destination,
            destination=packet.source,
            port=None,
            local=False,
        )
        self._at("output", back)

    def _home(self, link: str) -> bool:
        return link in self._lay.homes

    def _kind(self, link: str) -> Kind:
        return Kind.GATEWAY if link.startswith(GATEWAY_PREFIX) else Kind.LINK

    def _named(self, link: str) -> str:
        home = self._lay.home(link)
        if home is None:
            return link
        leg = home.rules.mode is Mode.FLAT
        return f"{link}, {'its place on' if leg else 'the gateway of'} {home.name}"

    def _say(self, hop: Hop) -> None:
        self._hops.append(hop)

    def _stop(self, hop: Hop) -> None:
        self._hops.append(hop)
        raise _StoppedError


def _known(address: IPAddress | None) -> IPAddress:
    if address is None:
        raise ValueError("a packet without an address is not walked")
    return address


def _at_port(address: IPAddress, port: int | str | None) -> str:
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port}" if port else host


def _unmasked(packet: Packet, home: Home, link: str) -> Hop:
    mode = home.rules.mode_of(packet.family)
    by = f"ovs.mode={mode} of {home.name}"
    if home.rules.masquerade is False:
        by = f"com.docker.network.bridge.enable_ip_masquerade=false of {home.name}"
    subnet = next(
        (
            each
            for each in home.rules.subnets
            if packet.source is not None and packet.source in each
        ),
        packet.source,
    )
    return unsure(
        Place(name=link, kind=Kind.LINK),
        f"it leaves with its own address {packet.source} ({by}), so it is answered only if the "
        f"router outside has a route to {subnet} by this host",
        by=by,
    )


def _forwarding_off(setting: str, link: str) -> Hop:
    return bad(
        THIS_HOST,
        f"this host does not forward what comes in by {link} ({setting}=0); `ovsnet reconcile` "
        f"switches it on, or `sysctl -w {setting}=1`",
        by=f"{setting}=0",
    )


def _no_way(route: Route, packet: Packet, where: str) -> Hop:
    target, link = packet.destination, packet.incoming
    routes = Place(name="routes", kind=Kind.ROUTE)
    match route.fault:
        case RouteFault.FILTERED:
            return bad(
                routes,
                f"rp_filter of {link} drops it: the way back to {packet.source} does not go by "
                f"{link}; `sysctl -w net.ipv4.conf.{link}.rp_filter=2` lets it in",
                by=f"rp_filter of {link}",
            )
        case RouteFault.REFUSED:
            return bad(
                routes,
                f"a route of this host refuses {target} (prohibit, unreachable or blackhole); `ip "
                f"route get {target}` shows which",
                by="a route of this host",
            )
        case _:
            return bad(
                routes,
                f"there is no route to {target} for {where}; add one: `ip route add {target} via "
                "ROUTER`",
                by="the routes of this host",
            )


def said(hops: Sequence[Hop]) -> Iterator[tuple[Verdict, str]]:
    """Yield what hops come to, for comparing two walks."""
    for each in hops:
        yield each.verdict, each.by
