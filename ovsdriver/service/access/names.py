"""DNS names in access rules: who asks our name servers, and what their rules learn by it.

An address is reached because it was asked for, here, by a name that a rule has. What was learnt is
remembered as long as it holds, by the name in the rule: a policy that takes another one's place,
and a table that somebody flushed, are told again, so that connections go on. It holds for longer
than its server said while a container has a connection there that was answered.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from netaddr import IPAddress

from ovsdriver.domain.access import naming
from ovsdriver.domain.access.naming import Learned, NameRecord
from ovsdriver.domain.access.policy import AccessPlan, Policy
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import AccessFirewall, GatewayNameServers, Links

_PROLONG_S = 20.0
_SOON_S = 45.0
"""What ends by then is looked at; the next look but one would be too late."""


class AccessNames:
    """The rules of the name servers at gateways, and those servers."""

    def __init__(
        self,
        *,
        firewall: AccessFirewall,
        servers: Callable[[], GatewayNameServers],
        links: Links,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``servers`` is called once there is a rule with a name, and not before."""
        self._firewall = firewall
        self._make = servers
        self._servers: GatewayNameServers | None = None
        self._links = links
        self._clock = clock
        self._learned = Learned()
        self._policies: Mapping[str, Policy] = {}
        """With names, by key."""
        self._members: Mapping[tuple[str, IPAddress], str] = {}
        """Keys of policies with names."""
        self._seeded = False
        """What an earlier process had learnt is known."""
        self._told: set[str] = set()
        """Keys of policies that know what was learnt before they were."""
        self._serving: set[str] = set()
        self._changing = asyncio.Lock()

    # What is said to whom

    def serves(self, gateway: str, client: IPAddress) -> bool:
        """See ``NameRules``."""
        return (gateway, client) in self._members

    def answered(self, gateway: str, client: IPAddress, name: str) -> bool:
        """See ``NameRules``."""
        policy = self._policy(gateway, client)
        return policy is not None and naming.answered(policy, name)

    async def learn(
        self, gateway: str, client: IPAddress, name: str, records: Sequence[NameRecord]
    ) -> Collection[IPAddress] | None:
        """See ``NameRules``."""
        while (policy := self._policy(gateway, client)) is not None:
            admitted = await self._let_in(policy, name, records)
            if self._members.get((gateway, client)) == policy.key:
                return None if naming.unbounded(policy) else admitted
        raise UnavailableError(f"{client} has no rules with names any more")

    async def _let_in(
        self, policy: Policy, name: str, records: Sequence[NameRecord]
    ) -> Collection[IPAddress]:
        names = naming.covering(policy, name)
        if not names:
            return ()
        known = {each for one in names for each in self._learned.of(one, now=self._clock())}
        new = {each.address for each in records if each.address is not None} - known
        own = await self._own() if new else frozenset()
        found = naming.let_in(name, records, own=own.__contains__)
        admitted = self._learned.admit(names, found, now=self._clock())
        if admitted:
            await self._firewall.learn(policy.key, names, admitted)
        return admitted

    def _policy(self, gateway: str, client: IPAddress) -> Policy | None:
        key = self._members.get((gateway, client))
        return None if key is None else self._policies.get(key)

    async def _own(self) -> Collection[IPAddress]:
        links = await self._links.links()
        return frozenset(address.ip for each in links.values() for address in each.addresses)

    # What there is

    def expect(self, plan: AccessPlan) -> None:
        """Judge questions by a plan, before the firewall keeps it: nothing is missed in between."""
        self._policies = {each.key: each for each in plan.policies if each.asks_names}
        self._members = {
            (each.gateway, address): each.policy
            for each in plan.members
            if each.gateway and each.policy in self._policies
            for address in each.addresses
        }
        self._learned.keep(
            name for each in self._policies.values() for name in naming.names_of(each)
        )

    async def follow(self, *, lost: bool = False) -> bool:
        """Answer as the plan that was expected wants it, now that the firewall keeps it.

        Args:
            lost: what was learnt may not be kept any more.

        Returns:
            False if everybody was there who answers.

        Raises:
            ConflictError, UnavailableError: names are not answered at a gateway.
        """
        async with self._changing:
            if self._policies and not self._seeded:
                await self._seed()
            if lost:
                self._told.clear()
            self._told &= self._policies.keys()
            for key in sorted(self._policies.keys() - self._told):
                await self._tell_again(self._policies[key])
                self._told.add(key)
            return await self._serve({gateway for gateway, _ in self._members})

    def unserved(self) -> Sequence[str]:
        """Return the gateways where names should be answered and are not."""
        running = self._servers.running() if self._servers is not None else ()
        return sorted({gateway for gateway, _ in self._members}.difference(running))

    async def clear(self) -> None:
        """Answer nowhere."""
        self.expect(AccessPlan())
        await self.follow()

    async def run(self) -> None:
        """Let in for longer what is in use, until cancelled."""
        while True:
            await asyncio.sleep(_PROLONG_S)
            with suppress(UnavailableError):  # the next time, then
                await self.prolong()

    async def prolong(self) -> None:
        """Let in for longer what would end soon, and answers containers that have asked for it."""
        now = self._clock()
        ending = {
            key: {
                name: found
                for name in naming.names_of(policy)
                if (found := self._learned.ending(name, now=now, by=now + _SOON_S))
            }
            for key, policy in self._policies.items()
        }
        if not any(ending.values()):
            return
        clients: dict[IPAddress, set[str]] = {}
        for (_, client), key in self._members.items():
            clients.setdefault(client, set()).add(key)
        for client, address in await self._firewall.answered():
            for key in clients.get(client, ()):
                names = [name for name, found in ending.get(key, {}).items() if address in found]
                held = self._learned.admit(names, {address: naming.FLOOR_S}, now=self._clock())
                if names and held:
                    await self._firewall.learn(key, names, held)

    async def _seed(self) -> None:
        for found in (await self._firewall.learnt()).values():
            for name, addresses in found.items():
                self._learned.admit([name], addresses, now=self._clock())
        self._seeded = True

    async def _tell_again(self, policy: Policy) -> None:
        for name in naming.names_of(policy):
            addresses = self._learned.of(name, now=self._clock())
            if addresses:
                await self._firewall.learn(policy.key, [name], addresses)

    async def _serve(self, gateways: Collection[str]) -> bool:
        if self._servers is None:
            if not gateways:
                return False
            # reading a library for it takes a while
            self._servers = await asyncio.to_thread(self._make)
        changed = False
        for gateway in sorted(self._serving.difference(gateways)):
            changed = await self._servers.remove(gateway) or changed
            self._serving.discard(gateway)
        for gateway in sorted(set(gateways).difference(self._servers.running())):
            await self._servers.ensure(gateway, self)
            self._serving.add(gateway)
            changed = True
        return changed
