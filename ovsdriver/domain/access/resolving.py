"""From rules, and what things are called, to policies and who has them. Pure.

``access`` in ``domain/wires/desired.py`` has it made of all records.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from ovsdriver.domain.access import naming
from ovsdriver.domain.access.policy import AccessPlan, Judgement, Member, Policy, Reach, Zone
from ovsdriver.domain.records.access import AccessRule, PeerKind, RuleSet, Side
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.port_options import PortOptions

_KEY_DIGITS = 12
_LAST_PORT = 65535
_WHOLE = {4: 32, 6: 128}
_ZONES = {PeerKind.HOST: Zone.HOST, PeerKind.OUTSIDE: Zone.OUTSIDE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A container's end on a network that has access rules."""

    endpoint: Endpoint
    port: PortOptions
    """What holds for it."""
    gateway: str
    """As ``Member.gateway``."""


def plan(
    judged: Iterable[Judged],
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
    policies: dict[PortOptions, Policy] = {}
    members = []
    for each in judged:
        said = PortOptions(allow=each.port.allow, deny=each.port.deny, rules=each.port.rules)
        if said not in policies:
            policies[said] = _policy(said, sets, peers)
        members.append(_member(each, policies[said].key))
    found = tuple(sorted(set(policies.values()), key=lambda each: each.key))
    return AccessPlan(
        policies=found,
        members=tuple(sorted(members, key=lambda each: each.endpoint)),
        names_port=naming.PORT if any(each.asks_names for each in found) else 0,
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


def _policy(said: PortOptions, sets: Mapping[str, RuleSet], peers: "_Peers") -> Policy:
    found = [sets[name] for name in said.rules if name in sets]
    allow = [*said.allow, *(rule for each in found for rule in each.allow)]
    deny = [*said.deny, *(rule for each in found for rule in each.deny)]
    lost = len(found) < len(said.rules)
    to, from_ = (
        Judgement(
            deny=_reaches(deny, side, peers),
            allow=_reaches(allow, side, peers),
            closed=lost or any(each.side is side for each in allow),
        )
        for side in Side
    )
    made = Policy(key="", to=to, from_=from_)
    digest = hashlib.sha256(repr(made).encode())
    return replace(made, key=digest.hexdigest()[:_KEY_DIGITS])


def _reaches(rules: Iterable[AccessRule], side: Side, peers: "_Peers") -> tuple[Reach, ...]:
    """Return what rules of one side come to, in an order that is the same for the same rules."""
    found = {reach for rule in rules if rule.side is side for reach in peers.reaches(rule)}
    return tuple(sorted(found, key=repr))


class _Peers:
    """Who is meant by the names of containers and networks."""

    def __init__(
        self, networks: Iterable[Network], endpoints: Iterable[Endpoint], called: Mapping[str, str]
    ) -> None:
        self._networks = defaultdict[str, list[IPNetwork]](list)
        self._containers = defaultdict[str, list[IPNetwork]](list)
        for network in networks:
            name = called.get(network.id, "")
            self._networks[name] += [each.cidr for each in network.subnets]
        for endpoint in endpoints:
            name = called.get(endpoint.id, "")
            self._containers[name] += map(_alone, endpoint.addresses)

    def reaches(self, rule: AccessRule) -> Iterator[Reach]:
        """Give what a rule comes to: nothing if nobody is meant."""
        made = Reach(
            rule=rule.text,
            zone=_ZONES.get(rule.peer),
            names=(rule.name,) if rule.peer is PeerKind.NAME else (),
            protocol=rule.protocol,
            first_port=rule.first_port or 0,
            last_port=rule.last_port or rule.first_port or _LAST_PORT,
        )
        match rule.peer:
            case PeerKind.PREFIX:
                yield replace(made, prefix=rule.prefix)
            case PeerKind.CONTAINER:
                for prefix in self._containers.get(rule.name, ()):
                    yield replace(made, prefix=prefix)
            case PeerKind.NETWORK:
                for prefix in self._networks.get(rule.name, ()):
                    yield replace(made, prefix=prefix)
            case _:
                yield made


def _alone(address: IPNetwork) -> IPNetwork:
    return IPNetwork((int(address.ip), _WHOLE[address.version]), address.version)
