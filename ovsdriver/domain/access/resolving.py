"""From rules, and what things are called, to policies and who has them. Pure.

``access`` in ``domain/wires/desired.py`` has it made of all records.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from netaddr import IPNetwork

from ovsdriver.domain.access import naming
from ovsdriver.domain.access.policy import AccessPlan, Judgement, Member, Policy, Reach, Zone
from ovsdriver.domain.records.model import Endpoint, Network, NetworkId
from ovsdriver.domain.records.options.access import AccessRule, PeerKind, RuleSet, Side

_KEY_DIGITS = 12
_LAST_PORT = 65535
_WHOLE = {4: 32, 6: 128}
_LINK_LOCAL = IPNetwork("fe80::/10")
_BY_DOCKER = (PeerKind.CONTAINER, PeerKind.NETWORK)
_ZONES = {PeerKind.HOST: Zone.HOST, PeerKind.OUTSIDE: Zone.OUTSIDE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The rules that hold for a container's end on a network, as they were typed."""

    allow: tuple[AccessRule, ...]
    deny: tuple[AccessRule, ...]
    sets: tuple[str, ...]
    """Names of sets whose rules hold besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A container's end on a network that has access rules."""

    endpoint: Endpoint
    said: Said
    gateway: str
    """As ``Member.gateway``."""


def plan(
    judged: Sequence[Judged],
    networks: Iterable[Network],
    endpoints: Iterable[Endpoint],
    *,
    called: Mapping[str, str],
    sets: Mapping[str, RuleSet],
) -> AccessPlan:
    """Return what holds for containers that have access rules.

    A container or network that nobody has, or whose name is not known yet, is nobody: what is
    allowed with it alone is allowed to nobody. A set that is not there says nothing, and closes
    both sides.

    Args:
        judged: them.
        networks: that stand, for those that rules name.
        endpoints: that live, likewise.
        called: names of networks, and of containers by their endpoints, as far as they are known.
        sets: of rules, by name.
    """
    peers = _Peers(networks, endpoints, called)
    # Those of a network are the same objects, and a thousand rules are not hashed for each end.
    policies: dict[tuple[NetworkId, int, int, tuple[str, ...]], Policy] = {}
    members = []
    for each in judged:
        said = each.said
        own = each.endpoint.network
        place = (own, id(said.allow), id(said.deny), said.sets)
        policy = policies.get(place)
        if policy is None:
            policy = policies[place] = _policy(said, sets, peers, own)
        members.append(_member(each, policy.key))
    by_key = {each.key: each for each in policies.values()}
    return AccessPlan(
        policies=tuple(by_key[key] for key in sorted(by_key)),
        members=tuple(sorted(members, key=lambda each: each.endpoint)),
        names_port=naming.PORT if any(each.asks_names for each in by_key.values()) else 0,
    )


def _member(judged: Judged, policy: str) -> Member:
    return Member(
        endpoint=judged.endpoint.id,
        network=judged.endpoint.network,
        policy=policy,
        gateway=judged.gateway,
        mac=judged.endpoint.mac,
        addresses=tuple(each.ip for each in judged.endpoint.addresses),
    )


def _policy(said: Said, sets: Mapping[str, RuleSet], peers: "_Peers", own: NetworkId) -> Policy:
    found = [sets[name] for name in said.sets if name in sets]
    allow = (*said.allow, *(rule for each in found for rule in each.allow))
    deny = (*said.deny, *(rule for each in found for rule in each.deny))
    lost = len(found) < len(said.sets)
    named = [each for each in (*allow, *deny) if each.peer in _BY_DOCKER]
    return _made(allow, deny, lost, tuple((each, peers.prefixes(each, own)) for each in named))


@lru_cache(maxsize=1024)
def _made(
    allow: tuple[AccessRule, ...],
    deny: tuple[AccessRule, ...],
    lost: bool,
    named: tuple[tuple[AccessRule, tuple[IPNetwork, ...]], ...],
) -> Policy:
    """Return a policy; ``named`` has the prefixes of containers and networks that rules name."""
    prefixes = dict(named)
    to, from_ = (
        Judgement(
            deny=_reaches(deny, side, prefixes),
            allow=_reaches(allow, side, prefixes),
            closed=lost or any(each.side is side for each in allow),
        )
        for side in Side
    )
    text = "\n".join(
        f"{verb} {reach.rule} {reach.prefix}"
        for judged in (to, from_)
        for verb, reaches in (("deny", judged.deny), ("allow", judged.allow))
        for reach in reaches
    )
    digest = hashlib.sha256(f"{to.closed} {from_.closed}\n{text}".encode())
    return Policy(key=digest.hexdigest()[:_KEY_DIGITS], to=to, from_=from_)


def _reaches(
    rules: Iterable[AccessRule],
    side: Side,
    prefixes: Mapping[AccessRule, Iterable[IPNetwork]],
) -> tuple[Reach, ...]:
    """Return what rules of one side come to, in an order that is the same for the same rules."""
    found: dict[tuple[str, str], Reach] = {}
    for rule in rules:
        if rule.side is not side:
            continue
        made = _reach(rule)
        if rule.peer in _BY_DOCKER:
            for each in prefixes[rule]:
                found[made.rule, str(each)] = replace(made, prefix=each)
        else:
            found[made.rule, ""] = made
    return tuple(found[key] for key in sorted(found))


def _reach(rule: AccessRule) -> Reach:
    """Return what a rule comes to, without the addresses of those whom Docker names."""
    return Reach(
        rule=rule.text,
        prefix=rule.prefix,
        zone=_ZONES.get(rule.peer),
        names=(rule.name,) if rule.peer is PeerKind.NAME else (),
        protocol=rule.protocol,
        first_port=rule.first_port or 0,
        last_port=rule.last_port or rule.first_port or _LAST_PORT,
    )


class _Peers:
    """Who is meant by the names of containers and networks; looked up once one is asked for."""

    def __init__(
        self, networks: Iterable[Network], endpoints: Iterable[Endpoint], called: Mapping[str, str]
    ) -> None:
        self._networks = networks
        self._endpoints = endpoints
        self._called = called
        self._found: dict[tuple[PeerKind, str], list[IPNetwork]] | None = None

    def prefixes(self, rule: AccessRule, own: NetworkId) -> tuple[IPNetwork, ...]:
        """Return where those are that a rule names: nowhere if nobody is called so.

        Who is on IPv6 has a link-local address, too. All of these are its network's to who is on
        that network, ``own``, and nobody's to others.
        """
        if self._found is None:
            self._found = self._all()
        found = tuple(self._found.get((rule.peer, rule.name), ()))
        near = rule.peer is PeerKind.NETWORK and rule.name == self._called.get(own)
        return (*found, _LINK_LOCAL) if near and _on_ipv6(found) else found

    def _all(self) -> dict[tuple[PeerKind, str], list[IPNetwork]]:
        found = defaultdict[tuple[PeerKind, str], list[IPNetwork]](list)
        for network in self._networks:
            if name := self._called.get(network.id):
                found[PeerKind.NETWORK, name] += [each.cidr for each in network.subnets]
        for endpoint in self._endpoints:
            if name := self._called.get(endpoint.id):
                held = found[PeerKind.CONTAINER, name]
                held += map(_alone, endpoint.addresses)
                if _on_ipv6(endpoint.addresses):
                    held.append(IPNetwork(endpoint.mac.ipv6_link_local()))
        return found


def _on_ipv6(addresses: Iterable[IPNetwork]) -> bool:
    return any(each.version == 6 for each in addresses)


def _alone(address: IPNetwork) -> IPNetwork:
    return IPNetwork((int(address.ip), _WHOLE[address.version]), address.version)
