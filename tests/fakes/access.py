"""Rules past gateways, in memory."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from netaddr import IPAddress

from ovsdriver.domain.access.policy import AccessPlan, Policy, Reach
from ovsdriver.domain.records.options.access import Side
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import AccessCount, Verdict


class FakeAccessFirewall:
    """``ovsdriver.ports.AccessFirewall`` that remembers what it was told; nothing passes it."""

    def __init__(self) -> None:
        self.plan = AccessPlan()
        """What is kept: of members that have a gateway."""
        self.applied: list[AccessPlan] = []
        """Each that changed something, in this order."""
        self.available = True
        """False: nftables does nothing."""
        self.asked = 0
        """Calls of :meth:`apply`."""
        self.known: dict[str, dict[str, dict[IPAddress, int]]] = {}
        """Seconds by policy, name and address."""
        self.packets: dict[tuple[Side, Verdict, str], int] = {}
        """What rules have met, of 100 bytes each."""
        self.talking: set[tuple[IPAddress, IPAddress]] = set()
        """Who has begun a connection, and who answers."""
        self._callbacks: list[Callable[[], None]] = []

    async def apply(self, plan: AccessPlan) -> bool:
        self.asked += 1
        if not self.available:
            raise UnavailableError("nftables did not do it")
        if not await self.differs(plan):
            return False
        self.plan = _kept(plan)
        self.applied.append(self.plan)
        held = {each.key for each in self.plan.policies}
        self.known = {key: found for key, found in self.known.items() if key in held}
        return True

    async def differs(self, plan: AccessPlan) -> bool:
        return self.plan != _kept(plan)

    async def learn(
        self, policy: str, names: Collection[str], addresses: Mapping[IPAddress, int]
    ) -> None:
        kept = next((each for each in self.plan.policies if each.key == policy), None)
        if kept is None:
            return
        known = {name for _, _, reach in _rules(kept) for name in reach.names}
        for name in known.intersection(names):
            held = self.known.setdefault(policy, defaultdict(dict))[name]
            for address, seconds in addresses.items():
                held[address] = max(seconds, held.get(address, 0))

    async def learnt(self) -> Mapping[str, Mapping[str, Mapping[IPAddress, int]]]:
        return self.known

    async def answered(self) -> Collection[tuple[IPAddress, IPAddress]]:
        return self.talking

    async def counts(self) -> Sequence[AccessCount]:
        return [
            AccessCount(
                policy=policy.key,
                side=side,
                verdict=verdict,
                rule=rule,
                packets=packets,
                octets=packets * 100,
            )
            for policy in self.plan.policies
            for side, verdict, rule in _counted(policy)
            for packets in [self.packets.get((side, verdict, rule), 0)]
        ]

    async def remove(self) -> None:
        self.plan = AccessPlan()
        self.known.clear()

    def on_loss(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def lose(self) -> None:
        """Someone typed ``nft flush ruleset``."""
        self.plan = AccessPlan()
        self.known.clear()
        for callback in self._callbacks:
            callback()


def _kept(plan: AccessPlan) -> AccessPlan:
    members = tuple(each for each in plan.members if each.gateway)
    used = {each.policy for each in members}
    policies = tuple(each for each in plan.policies if each.key in used)
    names = AccessPlan()
    if any(each.asks_names for each in policies):
        names = plan
    return AccessPlan(
        policies=policies,
        members=members,
        names_port=names.names_port,
        names_at=names.names_at,
    )


def _rules(policy: Policy) -> Sequence[tuple[Side, Verdict, Reach]]:
    return [
        (side, verdict, reach)
        for side, judged in ((Side.TO, policy.to), (Side.FROM, policy.from_))
        for verdict, reaches in ((Verdict.DENIED, judged.deny), (Verdict.ALLOWED, judged.allow))
        for reach in reaches
    ]


def _counted(policy: Policy) -> Sequence[tuple[Side, Verdict, str]]:
    found = dict.fromkeys((side, verdict, reach.rule) for side, verdict, reach in _rules(policy))
    for side, judged in ((Side.TO, policy.to), (Side.FROM, policy.from_)):
        if judged.closed:
            found[side, Verdict.CLOSED, ""] = None
    return list(found)
