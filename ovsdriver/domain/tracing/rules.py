"""What access rules make of a connection, and which rule it is. Pure.

Decided here as policies mean it, and not as nftables or a bridge has it written: what stands there
is looked after by repairs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from netaddr import IPAddress

from ovsdriver.domain.access.policy import AccessPlan, Judgement, Member, Policy, Reach, Zone
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.names import GATEWAY_PREFIX
from ovsdriver.domain.records.options.access import AccessProtocol, Side
from ovsdriver.domain.tracing.hops import Hop, Kind, Place, Question, bad, good
from ovsdriver.domain.traffic.chains import NO_LINK, PROTOCOLS, Packet

DNS_PORT = 53

_WORDS = {number: word.removesuffix("v6") for word, number in PROTOCOLS.items() if "-" not in word}
"""Protocols as they are asked about, by IANA's numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whom a connection is with."""

    address: IPAddress
    zone: Zone | None = None
    """None: a container on this host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """Access rules of containers."""

    plan: AccessPlan = field(default_factory=AccessPlan)
    names: Mapping[EndpointId, str] = field(default_factory=dict)
    """What to type for members: ``lab/web``."""
    learnt: Mapping[str, Mapping[str, Collection[IPAddress]]] = field(default_factory=dict)
    """Addresses that are let in now, by key of the policy and DNS name of its rules."""
    ways_out: frozenset[str] = frozenset()
    """Linux bridges of this host that lead outside."""

    def at(self, gateway: str, address: IPAddress | None) -> Member | None:
        """Return who has an address behind a gateway's link, if it has rules."""
        return next(
            (e for e in self.plan.members if e.gateway == gateway and address in e.addresses), None
        )

    def of(self, endpoint: str) -> Member | None:
        """Return an endpoint that has rules."""
        return next((each for each in self.plan.members if each.endpoint == endpoint), None)

    def asks_us(self, member: Member, asked: Question) -> bool:
        """Whether a question of a member's is answered by the name server at its gateway."""
        return (
            asked.port == DNS_PORT
            and asked.protocol in ("tcp", "udp")
            and bool(member.gateway)
            and self._policy(member).asks_names
        )

    def judged(
        self, place: Place, member: Member, side: Side, peer: Peer, asked: Question
    ) -> Iterator[Hop]:
        """Tell what the rules of a member say of a connection; nothing if they say nothing.

        Args:
            place: where it is judged.
            member: one end of it.
            side: who begins it, seen from the member.
            peer: the other end.
            asked: its protocol and port, where it ends up.
        """
        policy = self._policy(member)
        judgement = policy.to if side is Side.TO else policy.from_
        who = self.names.get(member.endpoint, "") or member.endpoint[:12]
        known = self.learnt.get(policy.key, {})
        denied = _first(judgement.deny, peer, asked, known)
        if denied is not None:
            yield bad(
                place,
                f'rule "{denied.rule}" of {who} drops it (ovs.deny); `ovsnet rules show {who}` '
                "lists its rules",
                by=_one_of(denied, who),
            )
        allowed = _first(judgement.allow, peer, asked, known)
        if allowed is not None:
            by = _one_of(allowed, who)
            yield good(place, f"{by} lets it pass", by=by)
        elif judgement.closed:
            yield bad(place, _nothing_about(judgement, who, side, peer, asked), by=_all_of(who))

    def across(self, place: Place, packet: Packet) -> Iterator[Hop]:
        """Tell what rules say of the first packet of a connection where it crosses a gateway.

        Args:
            place: where that is.
            packet: after its destination was translated; without an outgoing link it is for this
                host.
        """
        if packet.source is None or packet.destination is None:
            return
        asked = Question(protocol=_WORDS.get(packet.protocol, ""), port=packet.port)
        sender = self.at(packet.incoming, packet.source)
        if sender is not None:
            zone = self._beyond(packet.outgoing, packet.outgoing_kind)
            to = Peer(address=packet.destination, zone=zone)
            yield from self.judged(place, sender, Side.TO, to, asked)
        receiver = self.at(packet.outgoing, packet.destination)
        if receiver is not None:
            zone = self._beyond(packet.incoming, packet.incoming_kind)
            began = Peer(address=packet.source, zone=zone)
            yield from self.judged(place, receiver, Side.FROM, began, asked)

    def _beyond(self, link: str, kind: str | None) -> Zone | None:
        """Return who is beyond a link of this host, or at none."""
        if link in ("", NO_LINK):
            return Zone.HOST
        inside = kind == "bridge" and link not in self.ways_out
        return None if inside or link.startswith(GATEWAY_PREFIX) else Zone.OUTSIDE

    def _policy(self, member: Member) -> Policy:
        return next(each for each in self.plan.policies if each.key == member.policy)


NO_RULES = AccessRules()


def between(
    rules: AccessRules,
    plug: Place,
    ends: tuple[str, str],
    addresses: tuple[IPAddress, IPAddress],
    asked: Question,
) -> Iterator[Hop]:
    """Tell what rules say of a connection on one bridge.

    Args:
        rules: all that there are.
        plug: the bridge.
        ends: ids of the endpoints; the first one begins it.
        addresses: theirs.
        asked: the protocol and the port.
    """
    for end, side, peer in ((ends[0], Side.TO, addresses[1]), (ends[1], Side.FROM, addresses[0])):
        member = rules.of(end)
        if member is not None:
            yield from rules.judged(plug, member, side, Peer(address=peer), asked)


def answered_here(member: Member, rules: AccessRules) -> Hop:
    """Tell of the name server at a gateway."""
    who = rules.names.get(member.endpoint, "") or member.endpoint[:12]
    return good(
        Place(name="DNS", kind=Kind.DNS),
        f"ovsnet's name server at the gateway answers {who}, for the names of its rules alone",
        by=_all_of(who),
    )


def _first(
    reaches: Sequence[Reach],
    peer: Peer,
    asked: Question,
    learnt: Mapping[str, Collection[IPAddress]],
) -> Reach | None:
    return next((each for each in reaches if _about(each, peer, asked, learnt)), None)


def _about(
    reach: Reach, peer: Peer, asked: Question, learnt: Mapping[str, Collection[IPAddress]]
) -> bool:
    if not _carries(reach, asked):
        return False
    if reach.names:
        return any(peer.address in learnt.get(name, ()) for name in reach.names)
    if reach.zone is not None:
        return reach.zone is peer.zone
    return reach.prefix is None or peer.address in reach.prefix


def _nothing_about(judgement: Judgement, who: str, side: Side, peer: Peer, asked: Question) -> str:
    fitting = [each for each in judgement.allow if each.names and _carries(each, asked)]
    names = ", ".join(dict.fromkeys(name for each in fitting for name in each.names))
    asked_for = (
        f", and it was told {peer.address} for no name that it may reach ({names})" if names else ""
    )
    return (
        f'no rule of {who} allows "{side} {peer.address} {asked}"{asked_for}; `ovsnet rules '
        f"show {who}` lists them"
    )


def _carries(reach: Reach, asked: Question) -> bool:
    if reach.protocol is None:
        return True
    if reach.protocol != asked.protocol:
        return False
    port = asked.port
    if reach.protocol is AccessProtocol.ICMP or port is None:
        return True
    return reach.first_port <= port <= reach.last_port


def decide(hop: Hop) -> bool:
    """Whether access rules are what decides a hop."""
    return hop.by.startswith((_ONE, _ALL))


_ONE, _ALL = "rule ", "access rules of "


def _one_of(reach: Reach, who: str) -> str:
    return f'{_ONE}"{reach.rule}" of {who}'


def _all_of(who: str) -> str:
    return f"{_ALL}{who}"
