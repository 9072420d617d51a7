"""OpenFlow rules of ours: those of a bridge of ours, and those of single ports.

Those of a port are there while it is, and gone with it; those of a bridge hold for all of its
ports, so that a container that asks for nothing waits for no flows. Those of a policy of access
rules hold for all ports that have it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf

from ovsdriver.domain.access.policy import AccessPlan, Member
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.records.options.flows import PortFlows, Ruling
from ovsdriver.domain.records.options.shaping import Shaping
from ovsdriver.domain.traffic import guarding, judging
from ovsdriver.domain.wires import desired
from ovsdriver.errors import DriverError, UnavailableError, UnsupportedError
from ovsdriver.ports import AccessCount, Flows, State, SwitchView, Verdict
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.aspects.flows.wanted_flows import ALL_PORTS, NOTHING, WantedFlows
from ovsdriver.service.locks import Locks

log = logging.getLogger(__name__)

SETTLE_S = 0.5
"""After which flows of nobody's port, if they are still there, were left."""

LEISURE_S = 2.0
"""How long a bridge keeps what no port needs any more: the next container may have the same."""

_PAUSE_S = 0.2
"""Between two tries to reach a vswitchd that is away."""


class FlowRules(Aspect):
    """Keeps the flows; bridges of others where no port asks for any are never spoken to.

    A controller's flows decide about tags on its bridge, and would clash with ours there: on such a
    bridge there are none about tags.
    """

    name = "flows"
    before_ports = True  # a restart of vswitchd forgets them

    def __init__(
        self,
        *,
        state: State,
        switch: SwitchView,
        flows: Flows,
        locks: Locks,
        access: Callable[[], AccessPlan],
    ) -> None:
        """Prepare.

        Args:
            state: records.
            switch: says which number a port has.
            flows: of the bridges.
            locks: of endpoints.
            access: returns what holds for containers with access rules, as all records say.
        """
        self._wanted = WantedFlows(state=state, switch=switch, access=access)
        self._state = state
        self._switch = switch
        self._flows = flows
        self._locks = locks
        self._held: dict[EndpointId, tuple[str, int]] = {}
        """Bridge and number of each port that has flows."""
        self._callbacks: list[Callable[[], None]] = []
        self._laid: set[str] = set()
        """Bridges that were given flows of their own."""
        self._shared_by: dict[str, dict[int, PortFlows]] = {}
        """What bridges were given because of access rules, that ports share."""
        self._idle: dict[tuple[str, int], float] = {}
        """Since when nobody needs those of them that may rest, as they are."""
        self._leisure: asyncio.TimerHandle | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._sharing = asyncio.Lock()
        self._changes = 0
        """Of what bridges are given so, begun."""
        self._given: dict[EndpointId, Member] = {}
        """What access rules say of ports that have their flows."""
        self._behind = asyncio.Event()
        self._searched: set[str] = set()
        """Bridges where flows of an earlier process were looked for."""

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a vswitchd answers that may have no flows of ours yet."""
        self._callbacks.append(callback)

    async def counts(self) -> Sequence[AccessCount]:
        """Return what access rules have met on bridges, a rule once for each flow of its.

        A bridge that cannot be asked is left out.
        """
        found: list[AccessCount] = []
        for bridge, shared in tuple(self._shared_by.items()):
            policies = {number: each for number, each in shared.items() if each.rulings}
            try:
                met = await self._flows.met(bridge, policies)
            except DriverError as error:
                log.warning("flows.uncounted", extra={"bridge": bridge, "why": str(error)})
                continue
            found += [
                AccessCount(
                    policy=ruling.policy,
                    side=ruling.side,
                    verdict=_verdict(ruling),
                    rule=ruling.rule,
                    packets=packets,
                    octets=octets,
                )
                for ruling, (packets, octets) in met.items()
                if ruling.rule or not ruling.passes
            ]
        return found

    def plan_changed(self) -> None:
        """Hear that access rules are others, while locks may be held."""
        self._behind.set()

    async def follow(self) -> None:
        """Give ports what access rules now say of them, and take from bridges what nobody needs."""
        members = self._wanted.members()
        for each in members.keys() | self._given.keys():
            if self._given.get(each) != members.get(each):
                await self._mend_port(each, due=partial(self._behind_of, each))
            if each not in members:
                self._given.pop(each, None)
        for bridge in tuple(self._shared_by):
            await self._tidy(bridge)

    def _behind_of(self, endpoint: EndpointId) -> bool:
        return self._given.get(endpoint) != self._wanted.members().get(endpoint)

    async def close(self) -> None:
        """Remove what nobody needs; the rest stays as it is."""
        if self._tidying is not None:
            await self._tidying
        if self._leisure is not None:
            self._leisure.cancel()
            self._leisure = None
            await self._tidy_all(inf)

    async def run(self) -> None:
        """Attend vswitchd, and follow access rules."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._attend())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await self._behind.wait()
            self._behind.clear()
            with suppress(DriverError):  # the next repair makes up for it
                await self.follow()

    async def _attend(self) -> None:
        """Attend vswitchd at one of our bridges, for good: the database tells of no start."""
        while True:
            bridges = {each.segment.bridge for each in self._wanted.switched() if not each.ended}
            for bridge in sorted(bridges & self._switch.bridges().keys())[:1]:
                with suppress(DriverError):
                    await self._flows.attend(bridge, partial(self._lost, bridge))
            await asyncio.sleep(_PAUSE_S)

    def _lost(self, bridge: str) -> None:
        log.info("flows.attended", extra={"bridge": bridge})
        for shared in self._shared_by.values():
            shared.update(dict.fromkeys(shared, NOTHING))
        if self._given:
            # a look at everything comes later, and so long nothing is judged
            self._given.clear()
            self._behind.set()
        for callback in self._callbacks:
            callback()

    async def check(self, network: Network, endpoint: Endpoint) -> None:
        """Refuse an endpoint whose flows would not hold on its bridge: UnsupportedError."""
        bridge = self._switch.bridge(network.segment.bridge)
        if bridge is not None:
            port = desired.port_options(network, endpoint)
            guarding.refuse_unfit(
                bridge.name,
                guard=bool(port.guard),
                metered=bool(Shaping.of(port).metered),
                controllers=bridge.controllers,
            )

    async def ensure_network(self, network: Network) -> None:
        """Make the flows of all of a bridge as the records say; before it has ports.

        What the bridge cannot do is said by every look.

        Raises:
            UnavailableError: ovs-vswitchd does not answer.
        """
        bridge = network.segment.bridge
        if not self._wanted.of_all_ports(bridge) and bridge not in self._laid:
            return
        self._laid.add(bridge)
        try:
            async with self._sharing:
                await self._give(bridge, {ALL_PORTS: self._wanted.of_all_ports(bridge)})
        except UnsupportedError as error:
            log.warning("flows.unsupported", extra={"bridge": bridge, "why": str(error)})

    async def remove_network(self, network: Network) -> None:
        """Leave nothing to rest on a bridge that may go."""
        await self._tidy_up(network.segment.bridge, inf)

    async def recorded(self, network: Network, endpoint: Endpoint) -> None:
        """Begin to talk to vswitchd about an endpoint that is plugged in next."""
        port = desired.port_options(network, endpoint)
        if port.guard and not network.segment.by_ovn:
            self._flows.prepare(network.segment.bridge)

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Make the flows of a plugged-in endpoint's port as its records say.

        Raises:
            UnsupportedError: the bridge cannot do it.
            UnavailableError: ovs-vswitchd does not answer, or the port is not there.
        """
        member = self._wanted.member(network, endpoint)
        before = self._given.pop(endpoint.id, None)
        wanted = self._wanted.of_port(network, endpoint, member)
        bridge = network.segment.bridge
        if not wanted and endpoint.id not in self._held:
            if bridge in self._shared_by:
                await self._share(bridge)
            return
        at = self._wanted.place(endpoint)
        if at is None:
            raise UnavailableError(
                f"port {names.port(endpoint)} has no OpenFlow port number yet; try again"
            )
        fresh = () if endpoint.id in self._held else at[1:]
        earlier = self._held.pop(endpoint.id, at)
        if wanted:
            self._held[endpoint.id] = at
        try:
            shares = member is not None or bridge in self._shared_by
            if not (shares and await self._with_shared(*at, wanted)):
                await self._flows.ensure(at[0], {at[1]: wanted}, fresh=fresh)
        except UnsupportedError as error:
            if desired.port_flows(network, endpoint):
                raise
            # nobody asked for these; every look says that they are not there
            log.warning("flows.unsupported", extra={"endpoint": endpoint.id, "why": str(error)})
        await self._moved(earlier, at)
        if member is not None:
            self._given[endpoint.id] = member
        if before not in (None, member):
            await self._tidy(bridge)

    async def _moved(self, earlier: tuple[str, int], at: tuple[str, int]) -> None:
        # A port that was plugged in anew may have another number, and its old one another port.
        if earlier != at and earlier not in self._held.values():
            await self._flows.ensure(earlier[0], {earlier[1]: NOTHING})

    async def unplugged(self, network: Network, endpoint: Endpoint) -> None:
        """Remove the flows of a port that is gone; what fails is left to the next look.

        Not before it is gone: it must not send without them.
        """
        bridge = network.segment.bridge
        at = self._held.pop(endpoint.id, None)
        self._given.pop(endpoint.id, None)
        try:
            if at is not None:
                await self._flows.ensure(at[0], {at[1]: NOTHING})
            await self._tidy(bridge)
        except DriverError as error:
            self._searched.discard(bridge)
            log.warning(
                "flows.removal-deferred",
                extra={"network": network.id, "endpoint": endpoint.id, "why": str(error)},
            )

    async def _with_shared(self, bridge: str, number: int, wanted: PortFlows) -> bool:
        """Make the flows of a port with what its bridge lacks; False if that lacks nothing."""
        if not self._lacking(bridge):
            return False
        async with self._sharing:
            with suppress(UnsupportedError):
                await self._give(bridge, self._lacking(bridge), {number: wanted})
                return True
        await self._share(bridge)  # which of both is refused
        return False

    async def _share(self, bridge: str) -> None:
        """Make what all of a bridge has because of access rules, before a port needs it."""
        if not self._lacking(bridge):
            return
        async with self._sharing:
            try:
                await self._give(bridge, self._lacking(bridge))
            except UnsupportedError as error:
                raise UnsupportedError(
                    f"access rules: Open vSwitch cannot judge connections on bridge {bridge} "
                    f"({error}); leave the rules out, or use -o ovs.datapath=netdev"
                ) from error

    def _lacking(self, bridge: str) -> Mapping[int, PortFlows]:
        """Return what access rules need of a bridge and it does not have."""
        needed, laid = self._wanted.shared(bridge), self._shared_by.get(bridge, {})
        for number in needed:
            if laid.get(number) == needed[number]:
                self._idle.pop((bridge, number), None)
        return {number: each for number, each in needed.items() if laid.get(number) != each}

    async def _give(
        self, bridge: str, flows: Mapping[int, PortFlows], more: Mapping[int, PortFlows] = {}
    ) -> None:
        """Make what no single port has, and ``more``; the caller holds :attr:`_sharing`."""
        needed = self._wanted.shared(bridge)
        laid = self._shared_by.setdefault(bridge, {})
        self._changes += 1
        for number in flows:
            # whoever needs it meanwhile waits for the lock
            laid.pop(number, None)
            self._idle.pop((bridge, number), None)
        try:
            if flows or more:
                await self._flows.ensure(bridge, {**flows, **more})
            laid.update({n: each for n, each in flows.items() if needed.get(n) == each})
        finally:
            if not laid:
                self._shared_by.pop(bridge, None)

    async def _tidy(self, bridge: str, rested_since: float = -inf) -> None:
        """Remove what is not needed any more of what access rules need.

        What no port meets without members rests before that, until it has done so since
        ``rested_since``.
        """
        if bridge not in self._shared_by:
            return
        async with self._sharing:
            now = asyncio.get_running_loop().time()
            needed = self._wanted.needed(bridge)
            gone = {}
            for number, flows in self._shared_by.get(bridge, {}).items():
                wanted = needed.get(number, NOTHING)
                if wanted == flows:
                    self._idle.pop((bridge, number), None)
                    continue
                since = self._idle.setdefault((bridge, number), now)
                if since <= max(rested_since, now - LEISURE_S) or not _may_rest(flows, wanted):
                    gone[number] = wanted
            try:
                await self._give(bridge, gone)
            finally:
                self._tidy_later()

    def _tidy_later(self) -> None:
        if self._idle and self._leisure is None:
            oldest = min(self._idle.values())
            loop = asyncio.get_running_loop()
            self._leisure = loop.call_at(oldest + LEISURE_S, self._begin_to_tidy, oldest)

    def _begin_to_tidy(self, rested_since: float) -> None:
        self._leisure = None
        self._tidying = asyncio.create_task(self._tidy_all(rested_since))

    async def _tidy_all(self, rested_since: float) -> None:
        for bridge in tuple(self._shared_by):
            await self._tidy_up(bridge, rested_since)

    async def _tidy_up(self, bridge: str, rested_since: float) -> None:
        try:
            await self._tidy(bridge, rested_since)
        except DriverError as error:
            self._searched.discard(bridge)
            log.warning("flows.removal-deferred", extra={"bridge": bridge, "why": str(error)})

    async def clear(self) -> None:
        """Remove every flow and meter of ours."""
        self._shared_by.clear()
        self._idle.clear()
        for bridge in self._switch.bridges():
            left = await self._flows.differing(bridge, dict)
            await self._flows.ensure(bridge, dict.fromkeys(left, NOTHING))

    async def find(self) -> Sequence[Finding]:
        """Compare every bridge that has flows of ours, or may have some of an earlier process."""
        for each in tuple(self._held):
            if self._state.endpoint(each) is None:  # it went with its network
                del self._held[each]
        found: list[Finding] = []
        for bridge in self._bridges():
            try:
                found.extend(await self._look(bridge))
            except DriverError as error:
                found.append(Finding(what=f"bridge {bridge}: flows: {error}", unseen=True))
        return found

    async def _look(self, bridge: str) -> Sequence[Finding]:
        changes = self._changes
        ours, others = await self._compare(bridge)
        if any(number != ALL_PORTS or self._changes != changes for number in others):
            # Those of a port that is just going are removed by who removes it.
            await asyncio.sleep(SETTLE_S)
            ours, again = await self._compare(bridge)
            others = [each for each in again if each in others or each == ALL_PORTS]
        if not others:
            self._searched.add(bridge)
        return [
            *(
                Finding(
                    what=_unlike(bridge, number, left=number not in self._wanted.shared(bridge)),
                    about=f"bridge {bridge}: flows",
                    mend=partial(self._mend, bridge, number),
                )
                for number in others
            ),
            *(
                Finding(
                    what=f"endpoint {each[:12]}: flows of its port were not as they should be",
                    mend=partial(self._mend_port, each),
                )
                for each in ours
            ),
        ]

    async def _mend(self, bridge: str, number: int) -> bool:
        async with self._sharing:
            await self._give(bridge, {number: self._wanted.of_all_ports(bridge, number)})
        return True

    async def _mend_port(
        self, endpoint_id: EndpointId, *, due: Callable[[], bool] = lambda: True
    ) -> bool:
        async with self._locks.held(endpoint_id):
            if not due():  # a call has seen to it
                return False
            endpoint = self._state.endpoint(endpoint_id)
            network = self._state.network(endpoint.network) if endpoint is not None else None
            if endpoint is None or network is None or endpoint not in self._wanted.plugged(network):
                return False
            if self._switch.port(names.port(endpoint)) is None:
                return False
            await self.ensure(network, endpoint)
            return True

    def _bridges(self) -> Sequence[str]:
        networks = self._wanted.switched()
        present = self._switch.bridges()
        known = {each.segment.bridge for each in networks} | self._searched
        self._searched &= present.keys()
        asked = {bridge for bridge, _ in self._held.values()} | self._shared_by.keys()
        asked |= {bridge for bridge in known if self._wanted.of_all_ports(bridge)}
        asked |= {
            network.segment.bridge
            for network in networks
            if network.segment.bridge not in asked
            and any(self._wanted.of_port(network, each) for each in self._wanted.plugged(network))
        }
        return sorted(name for name in present if name in asked or name in known - self._searched)

    async def _compare(self, bridge: str) -> tuple[Sequence[EndpointId], Sequence[int]]:
        """Return the endpoints whose flows differ, and the other numbers whose do."""
        owners: dict[int, EndpointId] = {}
        right: dict[int, PortFlows] = {}
        shared: dict[int, PortFlows] = {}
        changes = self._changes

        def wanted() -> Mapping[int, PortFlows]:
            # Read after the switch: a handler writes its record before it makes flows.
            right.update({**self._wanted.needed(bridge), **self._resting(bridge)})
            if self._changes == changes and not self._sharing.locked():
                shared.update(self._wanted.shared(bridge))
            members = self._wanted.members()
            for network in self._wanted.switched():
                if network.segment.bridge != bridge:
                    continue
                for endpoint in self._wanted.plugged(network):
                    at = self._wanted.place(endpoint)
                    if at is not None and at[0] == bridge:
                        member = members.get(endpoint.id)
                        right[at[1]] = self._wanted.of_port(network, endpoint, member)
                        owners[at[1]] = endpoint.id
            return right

        numbers = await self._flows.differing(bridge, wanted)
        if present := {each: shared[each] for each in shared.keys() - numbers}:
            self._shared_by.setdefault(bridge, {}).update(present)
        for number, owner in owners.items():
            # an earlier process may have made them
            if number in numbers or right[number]:
                self._held.setdefault(owner, (bridge, number))
        return (
            [owners[number] for number in sorted(numbers) if number in owners],
            [number for number in sorted(numbers) if number not in owners],
        )

    def _resting(self, bridge: str) -> Mapping[int, PortFlows]:
        """Return what a bridge has beyond what it needs, and may have."""
        needed = self._wanted.needed(bridge)
        return {
            number: flows
            for number, flows in self._shared_by.get(bridge, {}).items()
            if (bridge, number) in self._idle and _may_rest(flows, needed.get(number, NOTHING))
        }


def _may_rest(laid: PortFlows, needed: PortFlows) -> bool:
    """Whether ``laid`` does all that is ``needed``, and its rest nothing to who has no rules."""
    return (
        (laid.judging or bool(laid.rulings))
        and needed.flows <= laid.flows
        and needed.rulings <= laid.rulings
        and needed.judging <= laid.judging
    )


def _verdict(ruling: Ruling) -> Verdict:
    if not ruling.rule:
        return Verdict.CLOSED
    return Verdict.ALLOWED if ruling.passes else Verdict.DENIED


def _unlike(bridge: str, number: int, *, left: bool) -> str:
    if number == ALL_PORTS:
        return f"bridge {bridge}: flows about VLAN tags were not as they should be"
    if not left:
        return f"bridge {bridge}: flows of access rules were not as they should be"
    if number >= judging.SHARED:
        return f"bridge {bridge}: flows of access rules were left"
    return f"bridge {bridge}: flows for port {number} were left"
