"""From policies and counts to what people are told of access rules. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ovsdriver.admin.access.views import JudgedEnd, RuleMet
from ovsdriver.domain.access.policy import AccessPlan, Judgement, Member, Policy
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.options.access import AccessRule, RuleSet, Side
from ovsdriver.domain.records.options.port_options import PortOptions
from ovsdriver.ports import AccessCount, Verdict

_Said = tuple[Verdict, AccessRule, str]
_Counts = Mapping[tuple[str, Side, Verdict, str], AccessCount]

_NO_COUNT = AccessCount(policy="", side=Side.TO, verdict=Verdict.CLOSED)


def ends(
    plan: AccessPlan,
    ports: Mapping[EndpointId, PortOptions],
    counts: Iterable[AccessCount],
    *,
    sets: Mapping[str, RuleSet],
    called: Mapping[str, str],
) -> Sequence[JudgedEnd]:
    """Return all that have rules, by the names of network and container.

    Args:
        plan: what holds.
        ports: what holds for each member's port.
        counts: what rules have met.
        sets: of rules, by name.
        called: names by ids of networks and endpoints.
    """
    policies = {each.key: each for each in plan.policies}
    shared = Counter(each.policy for each in plan.members)
    met = {(each.policy, each.side, each.verdict, each.rule): each for each in counts}
    found = [
        JudgedEnd(
            network=member.network,
            network_name=called.get(member.network, ""),
            endpoint=member.endpoint,
            container=called.get(member.endpoint, ""),
            addresses=member.addresses,
            policy=member.policy,
            shared=shared[member.policy] - 1,
            rules=tuple(_rules(member, policies[member.policy], said, met)),
        )
        for member in plan.members
        for said in [list(_said(ports[member.endpoint], sets))]
    ]
    return sorted(found, key=lambda each: (each.network_name, each.container, each.endpoint))


def _said(port: PortOptions, sets: Mapping[str, RuleSet]) -> Iterator[_Said]:
    """Give the rules of a port with who says them."""
    named = [sets[name] for name in port.rules if name in sets]
    for verdict, own, option in (
        (Verdict.DENIED, port.deny, "ovs.deny"),
        (Verdict.ALLOWED, port.allow, "ovs.allow"),
    ):
        yield from ((verdict, rule, option) for rule in own)
        for each in named:
            rules = each.deny if verdict is Verdict.DENIED else each.allow
            yield from ((verdict, rule, f"rules {each.name}") for rule in rules)


def _rules(
    member: Member, policy: Policy, said: Sequence[_Said], counts: _Counts
) -> Iterator[RuleMet]:
    for side, judgement in ((Side.TO, policy.to), (Side.FROM, policy.from_)):
        for verdict, rule, option in said:
            if rule.side is side:
                count = counts.get((member.policy, side, verdict, rule.text), _NO_COUNT)
                yield RuleMet(
                    side=side,
                    verdict=verdict,
                    rule=rule.text,
                    said_by=option,
                    nobody=not _reaches(judgement, verdict, rule.text),
                    packets=count.packets,
                    octets=count.octets,
                )
        if judgement.closed:
            rest = counts.get((member.policy, side, Verdict.CLOSED, ""), _NO_COUNT)
            yield RuleMet(
                side=side, verdict=Verdict.CLOSED, packets=rest.packets, octets=rest.octets
            )


def _reaches(judgement: Judgement, verdict: Verdict, rule: str) -> bool:
    reaches = judgement.deny if verdict is Verdict.DENIED else judgement.allow
    return any(each.rule == rule for each in reaches)
