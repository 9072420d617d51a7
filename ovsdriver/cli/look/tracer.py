"""What ``ovsnet trace`` finds: from one place to another, for whoever draws it. Blocks.

Both ends are plain words, see :func:`trace`. What is decided is decided in ``domain/tracing/``;
here it is looked up and put together in the order of the packet's way.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from netaddr import IPAddress

from ovsdriver.adapters.engine import DockerEngine
from ovsdriver.adapters.firewall import ruleset
from ovsdriver.adapters.firewall.access import table_of
from ovsdriver.adapters.kernel.codec.rtnetlink import Remembered, RouteSocket
from ovsdriver.adapters.kernel.host.host_network import read_host, read_link
from ovsdriver.adapters.kernel.host.host_view import LiveHost
from ovsdriver.adapters.kernel.host.host_ways import HostWays
from ovsdriver.adapters.kernel.sandbox import sandbox_view
from ovsdriver.admin import asks
from ovsdriver.admin.views import Report, SegmentLease
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.look import bridges
from ovsdriver.cli.look.places import (
    DNS_WORD,
    Placed,
    Places,
    Somewhere,
    called,
    end_of,
    name_of,
)
from ovsdriver.cli.outcome import Refusal
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import Mode, NetworkId, Publication
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.options.access import Side
from ovsdriver.domain.records.segments import NAME_SERVER, OvnSegment
from ovsdriver.domain.tracing import containers, name_servers, rules
from ovsdriver.domain.tracing.containers import End, FarPlace
from ovsdriver.domain.tracing.hops import (
    OUTSIDE,
    THIS_HOST,
    Hop,
    Kind,
    Place,
    Question,
    Verdict,
    bad,
    good,
    reaches,
    sentence,
    unsure,
    up_to_the_first_stop,
)
from ovsdriver.domain.tracing.lay import Home, Lay
from ovsdriver.domain.tracing.walk import Through, first_packet, said, through
from ovsdriver.domain.traffic.chains import NO_LINK, BaseChain, Packet
from ovsdriver.domain.wires import desired
from ovsdriver.errors import UnavailableError

OUTSIDE_WORD, HOST_WORD = "outside", "host"
_ANYBODY = {4: IPAddress("1.1.1.1"), 6: IPAddress("2606:4700:4700::1111")}
"""Who stands for the outside where no router does: any address that only a default route leads
to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What was found."""

    reaches: bool | None
    """None: that is decided where this host cannot look."""
    verdict: str
    """The one sentence that matters."""
    source: str
    target: str
    asked: str
    """``icmp``, ``tcp/80``."""
    family: int
    """4 or 6; 0: they have none in common."""
    hops: tuple[Hop, ...]


def trace(
    settings: Settings,
    source: str,
    target: str,
    asked: Question,
    *,
    family: int | None = None,
) -> Traced:
    """Find out why one place does or does not reach another.

    Args:
        settings: of this host.
        source: a container (``web``, ``lab/web``), an address, ``outside`` or ``host``.
        target: the same, or ``dns``: the servers that a container's names are asked of.
        asked: the protocol, and the port: the host's, where it is published there for the target
            and somebody from elsewhere asks.
        family: 4 or 6; None: the one that both have, IPv4 before IPv6.

    Raises:
        Refusal: an end is not known, or both are this host, or outside.
    """
    return _Tracer(settings, asked, family).done(source, target)


class _Tracer:
    """One question."""

    def __init__(self, settings: Settings, asked: Question, family: int | None) -> None:
        self._settings = settings
        self._asked = asked
        self._family = family
        self._state: Report = ask(settings, asks.ShowState())
        self._plan = desired.firewall(
            [each.network for each in self._state.networks],
            [each.endpoint for each in self._state.endpoints],
            outside_bridges=settings.outside_bridges,
            refuses_names=bool(settings.ovn_northbound),
        )
        names = {each.network.id: name_of(each) for each in self._state.networks}
        self._lay = Lay(
            table=settings.instance,
            homes={
                each.link: Home(name=names[each.network], rules=each)
                for each in self._plan.gateways
            },
            containers={
                each.address: place.container or show.short(place.endpoint.id)
                for place in self._state.endpoints
                for each in place.endpoint.published
            },
            access=self._rules(names),
        )

    def _rules(self, names: Mapping[NetworkId, str]) -> rules.AccessRules:
        """Return the access rules of containers; the process is asked only if there are any."""
        said = [
            *(each.network.port for each in self._state.networks),
            *(each.endpoint.port for each in self._state.endpoints),
        ]
        if not any(each.judged for each in said):
            return rules.NO_RULES
        there = ask(self._settings, asks.ShowAccess())
        return rules.AccessRules(
            plan=there.plan,
            names={
                each.endpoint.id: f"{names[each.endpoint.network]}/"
                f"{each.container or show.short(each.endpoint.id)}"
                for each in self._state.endpoints
                if each.endpoint.network in names
            },
            learnt=there.learnt,
        )

    def done(self, source: str, target: str) -> Traced:
        with closing(RouteSocket()) as routes:
            self._routes = routes
            self._fault = ""
            self._view = LiveHost(routes, self._standing())
            self._places = Places(self._state, is_local=self._view.is_local)
            self._lay = replace(
                self._lay, access=replace(self._lay.access, ways_out=self._ways_out())
            )
            a = self._places.meant(source)
            if target == DNS_WORD:
                self._asked = Question(protocol="udp", port=53)
                b = Somewhere(name="a name server")
                found = self._to_names(a)
            else:
                b = self._target(a, target, near=source)
                found = self._hops(a, b, self._family_of(a, b))
            family = self._family_of(a, b)
            hops = up_to_the_first_stop(found)
        return Traced(
            reaches=reaches(hops),
            verdict=sentence(self._called(a), self._called(b), self._asked, hops),
            source=self._called(a),
            target=self._called(b),
            asked=str(self._asked),
            family=family,
            hops=tuple(hops),
        )

    def _target(self, a: Somewhere, text: str, *, near: str) -> Somewhere:
        try:
            return self._places.meant(text, near=near)
        except Refusal:
            for network, _ in a.placed:
                segment = network.network.segment
                if isinstance(segment, OvnSegment) and "/" not in text:
                    leases = ask(self._settings, asks.ShowSegment(name=segment.segment)).leases
                    for each in leases:
                        if each.container == text:
                            name = f"{text} on {each.host}"
                            return Somewhere(name=name, address=each.address)
            raise

    def _called(self, end: Somewhere) -> str:
        return called(end.placed[0]) if end.placed else end.name

    def _family_of(self, a: Somewhere, b: Somewhere) -> int:
        if self._family is not None:
            return self._family
        for end in (b, a):
            if end.address is not None:
                return int(end.address.version)
        pairs = [end.placed for end in (a, b) if end.placed]
        for family in (4, 6):
            if all(any(family in each.families for each in placed) for placed in pairs):
                return family
        return 0

    # the way

    def _hops(self, a: Somewhere, b: Somewhere, family: int) -> Iterator[Hop]:
        if a.placed and b.placed:
            yield from self._between(a, b, family)
        elif a.placed:
            yield from self._from_container(a, b, family)
        elif b.placed:
            yield from self._to_container(a, b, family)
        else:
            yield from self._at_host(a, b, family)

    def _between(self, a: Somewhere, b: Somewhere, family: int) -> Iterator[Hop]:
        one, two = self._pair(a, b)
        ends = end_of(one), end_of(two)
        if not family or not all(family in each.families for each in (one, two)):
            yield from containers.trace(*ends, self._asked, None)
            return
        target = two.address(family)
        if not containers.together(*ends):
            yield from self._across(a, two, target)
            return
        first = self._looked_into(ends[0], one, target, Question(protocol=self._asked.protocol))
        second = self._looked_into(ends[1], two, one.address(family), self._asked)
        bridged = bridges.says(
            self._settings,
            ends[0].bridge,
            self._packet(one, first, mac_text(two.endpoint.endpoint.mac), target),
            first.full_name,
        )
        judged = rules.between(
            self._lay.access,
            first.plug,
            (one.endpoint.endpoint.id, two.endpoint.endpoint.id),
            (one.address(family), target),
            self._asked,
        )
        yield from containers.trace(
            first, second, self._asked, bridged, family, judged=tuple(judged)
        )

    def _pair(self, a: Somewhere, b: Somewhere) -> tuple[Placed, Placed]:
        """Return the places of both that are nearest to each other."""
        pairs = [(one, two) for one in a.placed for two in b.placed]
        for one, two in pairs:
            if containers.together(end_of(one), end_of(two)):
                return one, two
        return pairs[0]

    def _across(self, a: Somewhere, b: Placed, target: IPAddress) -> Iterator[Hop]:
        end = end_of(b)
        one = end_of(a.placed[0])
        if one.segment or end.segment or one.network_id == end.network_id:
            yield from containers.trace(one, end, self._asked, None)
            return
        if not end.gateway_link and not (one.mode == end.mode == "flat"):
            yield containers.attached(one)
            yield from containers.without_gateway(end)
        yield from self._out(a, target, b)

    def _from_container(self, a: Somewhere, b: Somewhere, family: int) -> Iterator[Hop]:
        if not any(family in each.families for each in a.placed):
            yield containers.no_such_family(end_of(a.placed[0]), family)
        far = self._far(a, b)
        if far is not None:
            yield from self._to_far(a.placed[0], far)
            return
        target = b.address
        if target is None:
            target = self._host_address(a, family) if b.host else self._outside(family)
        yield from self._out(a, target, None)

    def _host_address(self, a: Somewhere, family: int) -> IPAddress:
        for network, _ in a.placed:
            for each in network.network.on_this_host:
                if each.version == family:
                    return each.ip
        return self._own(family)

    def _own(self, family: int) -> IPAddress:
        """Return the address that this host has outside."""
        found = self._view.route(self._outside(family)).source
        return found or IPAddress("127.0.0.1" if family == 4 else "::1")

    def _outside(self, family: int) -> IPAddress:
        """Return who stands for the outside: the router of the default route, if it has one."""
        return self._view.route(_ANYBODY[family]).gateway or _ANYBODY[family]

    def _out(self, a: Somewhere, target: IPAddress, b: Placed | None) -> Iterator[Hop]:
        """Follow a container's packet off its network."""
        placed, end = self._leaving(a, target)
        yield containers.attached(end)
        yield from containers.inside(end, target)
        near = any(target in each.cidr for each in end.addresses)
        yield from self._on_a_bridge(placed, end, Side.TO, target, self._asked, near=near)
        inside = end.inside
        via = (
            inside.via
            if inside is not None
            else placed.network.network.gateway_of(containers.address(end, target.version))
        )
        held = self._view.holder(via or target)
        own = inside is None or inside.through_this
        source = placed.address(target.version)
        if held and not own and inside is not None:
            by = f"the routes of {end.name}"
            yield good(
                Place(name=held, kind=Kind.LINK),
                f"{end.name} leaves by {held}, which is none of ovsnet's",
                by=by,
            )
            source = inside.source or source
        elif held and held in (end.gateway_link, end.bridge):
            yield from containers.in_gateways_vlan(end)
            sent = self._packet(placed, end, self._view.mac(held), target)
            bridged = bridges.says(self._settings, end.bridge, sent, end.full_name)
            yield from containers.at_the_bridge(end, bridged, f"the gateway, {held}")
        elif via is None:
            yield from containers.on_its_own_network(end, target)
            return
        else:
            yield from containers.without_gateway(end)
            return
        member = self._lay.access.at(held, source)
        if member is not None and self._lay.access.asks_us(member, self._asked):
            yield rules.answered_here(member, self._lay.access)
            return
        packet = first_packet(source, target, self._asked, incoming=held)
        out, hops = self._through(packet)
        yield from hops
        yield from self._beyond(out, b, inside.mtu if inside is not None else 0)

    def _on_a_bridge(
        self,
        placed: Placed,
        end: End,
        side: Side,
        other: IPAddress,
        asked: Question,
        *,
        near: bool = False,
    ) -> Iterator[Hop]:
        """Tell what the rules of a container say where no gateway asks them.

        ``near``: the other one is on its network; unless that is the gateway itself.
        """
        member = self._lay.access.of(placed.endpoint.endpoint.id)
        if member is None:
            return
        if not member.gateway or (near and self._view.holder(other) != member.gateway):
            peer = rules.Peer(address=other)
            yield from self._lay.access.judged(end.plug, member, side, peer, asked)

    def _leaving(self, a: Somewhere, target: IPAddress) -> tuple[Placed, End]:
        """Return the network by which a container sends to ``target``."""
        plain = Question(protocol=self._asked.protocol)
        fitting = [each for each in a.placed if target.version in each.families] or a.placed
        first = self._looked_into(end_of(fitting[0]), fitting[0], target, plain)
        if first.inside is None or first.inside.through_this:
            return fitting[0], first
        for other in fitting[1:]:
            end = self._looked_into(end_of(other), other, target, plain)
            if end.inside is not None and end.inside.through_this:
                return other, end
        return fitting[0], first

    def _through(self, packet: Packet) -> tuple[Through, Sequence[Hop]]:
        """Walk a packet through this host, by the rules that stand and by those that should."""
        if self._fault:
            blind = through(self._view, (), self._lay, packet)
            note = unsure(Place(name="firewall", kind=Kind.RULES), self._fault)
            return blind, [note, *blind.hops]
        found = through(self._view, self._view.chains, self._lay, packet)
        wanted = through(self._view, self._as_wanted(), self._lay, packet)
        if list(said(found.hops)) == list(said(wanted.hops)):
            return found, found.hops
        text = "ovsnet's nftables table is not as its records say; `ovsnet reconcile` mends it"
        rules = Place(name="firewall", kind=Kind.RULES)
        by = f"table inet {self._settings.instance}"
        worse = reaches(found.hops) is not reaches(wanted.hops)
        note = unsure(rules, text, by) if worse and not found.ends else good(rules, text, by)
        return found, [note, *found.hops]

    def _beyond(self, out: Through, b: Placed | None, mtu: int) -> Iterator[Hop]:
        """Follow a packet from where this host has sent it."""
        if out.ends:
            return
        if not out.outgoing:
            yield from self._host_listens(out.port)
            return
        target = out.destination
        home = self._lay.home(out.outgoing)
        if home is None and b is not None and b.endpoint.bridge == out.outgoing:
            yield from self._arrival(b, out)
            return
        if home is None:
            yield from self._on_the_wire(out, mtu)
            return
        there = b or next(
            (
                Placed(network, endpoint)
                for network, endpoint in self._places.everybody()
                if network.network.id == home.rules.network
                and any(each.ip == target for each in endpoint.endpoint.addresses)
            ),
            None,
        )
        if there is None:
            yield bad(
                Place(name=home.name, kind=Kind.BRIDGE),
                f"nobody on {home.name} has {target}; `ovsnet endpoint ls` lists all addresses",
            )
            return
        yield from self._arrival(there, out)

    def _arrival(self, there: Placed, out: Through) -> Iterator[Hop]:
        asked = Question(protocol=self._asked.protocol, port=out.port)
        seen_as = out.seen_as or out.destination
        assert seen_as is not None  # noqa: S101 - what is walked has both
        end = self._looked_into(end_of(there), there, seen_as, asked)
        yield containers.attached(end)
        yield from containers.in_gateways_vlan(end)
        yield from self._on_a_bridge(there, end, Side.FROM, seen_as, asked)
        packet = _packet_text(
            out.outgoing,
            (self._view.mac(out.outgoing), mac_text(there.endpoint.endpoint.mac)),
            (seen_as, there.address(seen_as.version)),
            asked,
        )
        bridged = bridges.says(self._settings, end.bridge, packet, end.full_name)
        yield from containers.at_the_bridge(end, bridged, end.name)
        yield from containers.inside(end, seen_as)
        if end.inside is not None and not end.inside.through_this:
            yield unsure(
                end.place,
                f"{end.name} answers by another of its networks, where the answers may be dropped; "
                "give it one default route, or `--gw-priority`",
                by=f"the routes of {end.name}",
            )
        yield from containers.listening(end, asked)

    def _on_the_wire(self, out: Through, mtu: int) -> Iterator[Hop]:
        link = Place(name=out.outgoing, kind=Kind.LINK)
        if not self._view.up(out.outgoing):
            yield bad(
                link,
                f"{out.outgoing} is down or has no carrier; `ip link set {out.outgoing} up`, or "
                "mend the cable",
                by=f"link {out.outgoing}",
            )
        narrow = self._view.mtu(out.outgoing)
        if mtu and narrow and narrow < mtu:
            yield good(
                link,
                f"packets of more than {narrow} bytes do not fit through {out.outgoing}: they need "
                f"path MTU discovery, or ovs.mtu={narrow}",
                by=f"MTU {narrow} of {out.outgoing}",
            )
        by = f"router {out.gateway}" if out.gateway is not None else f"link {out.outgoing}"
        yield good(OUTSIDE, f"it leaves this host by {by}, as {out.seen_as}")

    def _host_listens(self, port: int | None) -> Iterator[Hop]:
        asked = Question(protocol=self._asked.protocol, port=port)
        if port is None or asked.protocol not in ("tcp", "udp"):
            return
        yield (
            good(THIS_HOST, f"a program listens on {asked} on this host")
            if sandbox_view.listens(asked.protocol, port)
            else bad(THIS_HOST, f"nobody listens on {asked} on this host; start what should")
        )

    # from elsewhere

    def _to_container(self, a: Somewhere, b: Somewhere, family: int) -> Iterator[Hop]:
        published = self._published(b, family)
        placed = published[0] if published else self._nearest(b, family)
        if placed is None:
            yield containers.no_such_family(end_of(b.placed[0]), family)
            return
        source, incoming = self._sender(a, family)
        if published:
            _, port = published
            yield from self._told_of(port, called(placed))
            target = port.host if int(port.host) else self._faced(incoming, family)
            asked = replace(self._asked, port=port.host_port)
        else:
            target, asked = placed.address(family), self._asked
            end = end_of(placed)
            if not end.gateway_link and not self._on_bridge(end, target):
                yield containers.attached(end)
                port_asked = asked.port is not None
                yield from containers.without_gateway(end, published=port_asked)
                return
        packet = first_packet(source, target, asked, incoming=incoming)
        if incoming == NO_LINK:
            packet = replace(packet, source=None)
        out, hops = self._through(packet)
        yield from hops
        yield from self._beyond(out, None if published else placed, 0)

    def _on_bridge(self, end: End, target: IPAddress) -> bool:
        """Whether this host is on the wire of the bridge itself, as a moved uplink has it."""
        return self._view.route(target).link == end.bridge

    def _nearest(self, b: Somewhere, family: int) -> Placed | None:
        """Return the place of a container that others reach best: one with a gateway here."""
        fitting = [each for each in b.placed if family in each.families]
        return next((e for e in fitting if e.network.gateway_link), next(iter(fitting), None))

    def _published(self, b: Somewhere, family: int) -> tuple[Placed, Publication] | None:
        """Return the published port that is meant: the host's, or else the container's."""
        port = self._asked.port
        found = [
            (placed, each)
            for placed in b.placed
            for each in placed.endpoint.endpoint.published
            if (each.protocol.value, each.host.version) == (self._asked.protocol, family)
        ]
        if port is None:
            return None
        for placed, each in found:
            if each.host_port <= port < each.host_port + each.count:
                return placed, replace(each, host_port=port, count=1)
        routed = any(placed.network.network.mode_of(family) is Mode.ROUTED for placed in b.placed)
        for placed, each in found:
            if each.port <= port < each.port + each.count and not routed:
                at = each.host_port + port - each.port
                return placed, replace(each, host_port=at, count=1)
        return None

    def _told_of(self, port: Publication, name: str) -> Iterator[Hop]:
        if port.host_port != self._asked.port:
            yield good(
                THIS_HOST,
                f"{self._asked} of {name} is published as port {port.host_port} of this host",
                by=f"published port {port.host_port} of {name}",
            )

    def _sender(self, a: Somewhere, family: int) -> tuple[IPAddress, str]:
        """Return who sends, and the link of this host that it comes in by."""
        if a.host:
            return a.address or self._own(family), NO_LINK
        source = a.address or self._outside(family)
        route = self._view.route(source)
        if not route.link:
            raise Refusal(
                f"this host has no route to {a.name} over IPv{family}, so it cannot answer; see "
                f"`ip -{family} route`"
            )
        return source, route.link

    def _faced(self, incoming: str, family: int) -> IPAddress:
        """Return the address of this host that somebody would ask who comes in by a link."""
        if incoming == NO_LINK:
            return self._own(family)
        return self._view.first(incoming, family) or self._own(family)

    def _at_host(self, a: Somewhere, b: Somewhere, family: int) -> Iterator[Hop]:
        if a.host == b.host and (self._asked.port is None or not a.host):
            raise Refusal("one of both must be a container, or the one this host and the other not")
        family = family or 4
        source, incoming = self._sender(a, family)
        if b.host:
            target = b.address or self._faced(incoming, family)
        else:
            target = b.address or self._outside(family)
        packet = first_packet(source, target, self._asked, incoming=incoming)
        out, hops = self._through(packet)
        yield from hops
        yield from self._beyond(out, None, 0)

    # names

    def _to_names(self, a: Somewhere) -> Iterator[Hop]:
        """Follow a container's question to the servers, and on to the first that it gets to."""
        if not a.placed:
            raise Refusal(f"{a.name} is no container; name one: `ovsnet trace CONTAINER dns`")
        open_ones = [each for each in a.placed if not each.network.network.internal]
        placed = (open_ones or a.placed)[0]
        end, sandbox = end_of(placed), placed.endpoint.endpoint.sandbox
        yield containers.attached(end)
        servers = self._servers(end.name)
        listens = sandbox_view.has_resolver(sandbox, name_servers.DOCKERS) if sandbox else None
        yield from name_servers.of_docker(end, servers, listens=listens)
        asked = servers.forwarded
        if name_servers.DOCKERS not in servers.asked:
            asked = tuple(name_servers.Server(address=each) for each in servers.asked)
        tried = [up_to_the_first_stop(self._to_server(a, each)) for each in asked]
        best = [hops for hops in tried if reaches(hops) is not False]
        yield from (best or tried)[0]

    def _servers(self, container: str) -> name_servers.Servers:
        try:
            return asyncio.run(DockerEngine(self._settings.docker).asks(container))
        except UnavailableError as error:
            raise Refusal(str(error)) from error

    def _to_server(self, a: Somewhere, server: name_servers.Server) -> Iterator[Hop]:
        if server.by_host:
            yield from self._from_host(a, server)
            return
        if server.address.is_loopback():
            yield name_servers.in_itself(end_of(a.placed[0]), server)
            return
        segments = [each for each in a.placed if end_of(each).segment]
        if server.address == NAME_SERVER and segments:
            place = Place(name="DNS", kind=Kind.DNS)
            segment = end_of(segments[0]).segment
            yield good(place, f"{server.address} answers names of segment {segment} on this host")
            return
        b = self._places.meant(str(server.address))
        yield from self._hops(a, b, self._family_of(a, b))

    def _from_host(self, a: Somewhere, server: name_servers.Server) -> Iterator[Hop]:
        """Follow what Docker asks for a container, past its network and its rules."""
        for network, endpoint in a.placed:
            member = self._lay.access.of(endpoint.endpoint.id)
            if member is not None and self._lay.access.asks_us(member, self._asked):
                yield name_servers.past_rules(server, network.network)
        b = self._places.meant(str(server.address))
        if b.host:
            yield name_servers.by_host(server, listens=sandbox_view.listens("udp", 53))
            return
        yield name_servers.by_host(server, listens=None)
        host = Somewhere(name=THIS_HOST.name, host=True)
        yield from self._hops(host, b, server.address.version)

    # over hosts

    def _far(self, a: Somewhere, b: Somewhere) -> SegmentLease | IPAddress | None:
        """Return who of another host is meant, or an address of the segment that nobody has."""
        for network, _ in a.placed:
            segment = network.network.segment
            if b.address is None or not isinstance(segment, OvnSegment):
                continue
            if any(b.address in each.cidr for each in network.network.subnets):
                leases = ask(self._settings, asks.ShowSegment(name=segment.segment)).leases
                return next((e for e in leases if e.address == b.address), b.address)
        return None

    def _to_far(self, placed: Placed, far: SegmentLease | IPAddress) -> Iterator[Hop]:
        address = far if isinstance(far, IPAddress) else far.address
        plain = Question(protocol=self._asked.protocol)
        end = self._looked_into(end_of(placed), placed, address, plain)
        to, bridged = FarPlace(address=address), None
        if not isinstance(far, IPAddress):
            fleet = ask(self._settings, asks.ListHosts())
            hears = next((each.answers for each in fleet.hosts if each.name == far.host), None)
            to = FarPlace(
                address=address,
                container=far.container,
                host=far.host,
                hears=hears,
                apart=far.apart,
            )
            if far.mac is not None:
                packet = self._packet(placed, end, mac_text(far.mac), address)
                bridged = bridges.says(self._settings, end.bridge, packet, end.full_name)
        yield from containers.trace_far(end, to, self._asked, bridged)

    # looking

    def _looked_into(self, end: End, placed: Placed, other: IPAddress, asked: Question) -> End:
        endpoint = placed.endpoint.endpoint
        if not endpoint.sandbox:
            return end
        asked = asked if asked.protocol in ("tcp", "udp") else Question()
        return replace(end, inside=sandbox_view.look(endpoint.sandbox, endpoint.mac, other, asked))

    def _packet(self, placed: Placed, end: End, to: str, target: IPAddress) -> str:
        """Return a container's packet as ``ofproto/trace`` reads it: as it would be sent now."""
        mac, source = placed.endpoint.endpoint.mac, placed.address(target.version)
        if end.inside is not None:
            mac, source = end.inside.mac or mac, end.inside.source or source
        return _packet_text(
            placed.endpoint.ofport, (mac_text(mac), to), (source, target), self._asked
        )

    def _ways_out(self) -> frozenset[str]:
        found = {*self._settings.outside_bridges}
        return frozenset(found | {self._view.route(each).link for each in _ANYBODY.values()})

    def _standing(self) -> Sequence[BaseChain]:
        judged_apart = ("inet", table_of(self._settings.instance))
        try:
            found = asyncio.run(ruleset.standing())
            return [each for each in found if (each.family, each.table) != judged_apart]
        except UnavailableError as error:
            self._fault = f"the rules of this host could not be read: {error}; run this as root"
            return ()

    def _as_wanted(self) -> Sequence[BaseChain]:
        host = read_host(self._routes, Remembered(read_link), HostWays())
        ours = ruleset.wanted(self._plan, host, table=self._settings.instance)
        guard = [e for e in self._view.chains if self._lay.is_ours(e) and e.name == "guard"]
        others = [each for each in self._view.chains if not self._lay.is_ours(each)]
        return [*others, *ours, *guard]


def _packet_text(
    port: int | str | None,
    macs: tuple[str, str],
    ends: tuple[IPAddress, IPAddress],
    asked: Question,
) -> str:
    source, target = ends
    version = target.version
    word = asked.protocol if version == 4 else f"{asked.protocol}6"
    names = ("nw_src", "nw_dst") if version == 4 else ("ipv6_src", "ipv6_dst")
    text = [
        f"in_port={port}",
        word,
        f"dl_src={macs[0]}",
        f"dl_dst={macs[1]}",
        f"{names[0]}={source}",
        f"{names[1]}={target}",
        "nw_ttl=64",
    ]
    if asked.port is not None:
        text += ["tp_src=40000", f"tp_dst={asked.port}"]
    else:
        text.append("icmp_type=8" if version == 4 else "icmpv6_type=128")
    return ",".join(text)


__all__ = ["Traced", "Verdict", "trace"]
