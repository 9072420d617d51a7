"""Access rules at gateways, as all records say."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import AccessFirewall
from ovsdriver.service.access.asked_past import AskedPast
from ovsdriver.service.access.names import AccessNames
from ovsdriver.service.access.plans import Plans
from ovsdriver.service.aspects.aspect import Aspect, Finding

log = logging.getLogger(__name__)

_SETTLE_S = 0.2
"""Names come in bursts, when Docker was read."""


class AccessRules(Aspect):
    """The firewall past gateways, told what the records want.

    A container and a network without rules are asked of nobody, as long as nobody's rules are about
    them.
    """

    name = "access rules"
    before_ports = True  # a container must not send without them
    needs_switch = False

    def __init__(
        self,
        *,
        plans: Plans,
        firewall: AccessFirewall,
        names: AccessNames,
        asked_past: AskedPast,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_change`` is called when rules are others, for who else keeps them."""
        self._plans = plans
        self._on_change = on_change
        self._firewall = firewall
        self._names = names
        self._asked_past = asked_past
        self._made: AccessPlan | None = None
        self._concerned: frozenset[object] = frozenset()
        """Ids of members and their networks, addresses of members and of whom rules are about."""
        self._renamed = asyncio.Event()
        self._begun: asyncio.Task[None] | None = None
        """What was begun last and goes on by itself."""

    async def apply(self) -> bool:
        """Keep the rules as all records say; True if they were not as they were kept last.

        Where the records say something else than then, it is a call that changes them.
        """
        plan = self._plans.now()
        repaired = self._made in (None, plan)
        self._names.expect(plan)
        changed = await self._firewall.apply(plan)
        if self._made != plan:
            self._on_change()
        self._made = plan
        self._concerned = frozenset(_concerned(plan))
        try:
            await self._names.follow(lost=changed and repaired)
        except DriverError as error:
            # nobody reaches more by it than they may, and the next repair tries again
            log.warning("rules.names-unserved", extra={"why": str(error)})
        return changed and repaired

    def renamed(self) -> None:
        """Hear that names of containers or networks became known, or are others."""
        if self._concerned:
            self._renamed.set()

    async def recorded(self, network: Network, endpoint: Endpoint) -> None:
        """Begin to make the rules of a container while its port is made."""
        if _judged(network, endpoint) or self._concerns(endpoint):
            self._begun = asyncio.create_task(self._ahead())

    async def _ahead(self) -> None:
        with suppress(DriverError):  # Join waits for the same, and can say it
            await self.apply()

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Keep the rules of a container before it can send, and when its options have changed."""
        if _judged(network, endpoint) or self._concerns(endpoint):
            await self.apply()

    async def forget(self, endpoint: Endpoint) -> None:
        """Keep no rules of a container that is gone, and none about it; what fails is repaired."""
        if self._concerns(endpoint):
            with suppress(UnavailableError):
                await self.apply()

    async def ensure_network(self, network: Network) -> None:
        """Keep the rules of the containers on a network whose options may have changed."""
        if network.port.judged or network.id in self._concerned:
            await self.apply()

    async def clear(self) -> None:
        """Keep nothing."""
        await self._names.clear()
        await self._firewall.remove()

    async def find(self) -> Sequence[Finding]:
        """Doubt the rules: a look at them alone costs as much as making them."""
        return [
            Finding(
                what="access rules: ovsnet's table was not as it should be",
                about=self.name,
                amiss=self._differs,
                mend=self.apply,
            ),
            *(
                Finding(
                    what=f"access rules: names were not answered at {gateway}",
                    about=f"access rules: names at {gateway}",
                    mend=self._names.follow,
                )
                for gateway in self._names.unserved()
            ),
            *await self._asked_past.find(self._plans.now()),
        ]

    async def run(self) -> None:
        """Follow names of containers and networks, and prolong what DNS names have opened."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._names.run())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await self._renamed.wait()
            await asyncio.sleep(_SETTLE_S)
            self._renamed.clear()
            with suppress(DriverError):  # the next repair makes up for it
                await self.apply()

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when others may have changed what is kept."""
        self._firewall.on_loss(callback)

    def _concerns(self, endpoint: Endpoint) -> bool:
        if not self._concerned:
            return False
        return not self._concerned.isdisjoint(
            {endpoint.id, *(each.ip for each in endpoint.addresses)}
        )

    async def _differs(self) -> bool:
        plan = self._plans.now()
        return self._made in (None, plan) and await self._firewall.differs(plan)


def _judged(network: Network, endpoint: Endpoint) -> bool:
    return network.port.judged or endpoint.port.judged


def _concerned(plan: AccessPlan) -> Iterable[object]:
    for member in plan.members:
        yield member.endpoint
        yield member.network
        yield from member.addresses
    for policy in plan.policies:
        for judged in (policy.to, policy.from_):
            for reach in (*judged.deny, *judged.allow):
                if reach.prefix is not None and reach.prefix.size == 1:
                    yield reach.prefix.ip
