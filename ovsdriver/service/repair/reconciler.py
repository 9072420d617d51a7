"""Make the world as the records say: at start, when something changed, and by timer.

One path for repair and for first making: everything here calls the operations that the handlers
call. What the handlers do at the same time is safe from it: each repair takes the lock of its
network or endpoint and looks at the record again.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ipam.errors import IpamError
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Datapath, EndpointId
from ovsdriver.domain.wires.diff import Difference, Repair, amiss, compare, gateway_amiss
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import HostNotes, Links, State, SwitchView
from ovsdriver.service.aspects.flows import FlowRules
from ovsdriver.service.aspects.mirrors import Mirrors
from ovsdriver.service.aspects.published import Publisher
from ovsdriver.service.aspects.shaping import Shaper
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.networks.networks import Networks
from ovsdriver.service.repair.sandbox_watch import SandboxWatch

log = logging.getLogger(__name__)

INTERVAL_S = 30.0
"""Longest time between two looks at everything; iptables-legacy tells nobody of its changes."""

CONNECT_S = 2.0
"""How long a look waits for Open vSwitch before it goes without."""

LATELY = 50
"""How many repairs are remembered for people."""

SETTLE_S = 0.5
"""Changes come in bursts (our own among them): one look serves all of a burst."""


_TABLE = "firewall: our table was not as it should be"

_TSO = "tso:"
"""Key of the note, before a bridge's name: what the containers' offload was last set for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """Something that was put right."""

    at: float
    """Seconds since the epoch."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """What a look has found, and what came of it."""

    at: float = 0.0
    """Seconds since the epoch; 0: no look yet."""
    found: tuple[str, ...] = ()
    """What was not as recorded, and is ours to mend."""
    mended: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()


class Reconciler:
    """Watches and repairs."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        notes: HostNotes,
        networks: Networks,
        endpoints: Endpoints,
        publisher: Publisher,
        flows: FlowRules,
        shaper: Shaper,
        mirrors: Mirrors,
        switch: SwitchView,
        links: Links,
        watch: SandboxWatch,
        clock: Callable[[], float] = time.time,
        interval_s: float = INTERVAL_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._owner = owner
        self._state = state
        self._notes = notes
        self._networks = networks
        self._endpoints = endpoints
        self._publisher = publisher
        self._flows = flows
        self._shaper = shaper
        self._mirrors = mirrors
        self._switch = switch
        self._links = links
        self._watch = watch
        self._clock = clock
        self._interval_s = interval_s
        self._settle_s = settle_s
        self._poked = asyncio.Event()
        self._wanted = False
        self._plugged: set[EndpointId] = set()
        self._doubted: set[str] = set()
        self._looking = asyncio.Lock()
        self._last = Repairs()
        self._lately: deque[Mended] = deque(maxlen=LATELY)
        self._lost: dict[EndpointId, str] = {}

    @property
    def lost(self) -> Mapping[EndpointId, str]:
        """Endpoints whose containers the last look found cut off and could not help, and why."""
        return self._lost

    @property
    def lately(self) -> Sequence[Mended]:
        """What was mended last, the newest first: a look that mends is soon followed by another."""
        return tuple(self._lately)

    @property
    def last(self) -> Repairs:
        """What the last look found and did."""
        return self._last

    def poke(self, plugged: Collection[EndpointId] | None = None) -> None:
        """Ask for a look soon; cheap, and may be called any number of times.

        Of ``plugged``, endpoints whose ports came, went or were taken by vswitchd, mostly a handler
        knows: there is a look only if one of them does not become as its record says.
        """
        if plugged is None:
            self._wanted = True
        else:
            self._plugged.update(plugged)
        self._poked.set()

    def doubt(self, gateway: str) -> None:
        """Ask for a look soon if a gateway's device is not as its network's record says.

        As cheap as :meth:`poke`: mostly it was a handler that changed it.
        """
        self._doubted.add(gateway)
        self._poked.set()

    async def run(self) -> None:
        """Look now, then when there is reason to and at least every ``interval_s``, for good."""
        while True:
            self._poked.clear()
            self._wanted = False
            self._plugged.clear()
            self._doubted.clear()
            try:
                await self.reconcile()
            except DriverError as error:
                log.warning("reconcile.failed", extra={"why": str(error)})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._reason()

    async def _reason(self) -> None:
        """Wait until everything is to be looked at; for what handlers do, that is not.

        What is amiss is looked at again a little later, as it is in a look at everything: a
        handler may be at work.
        """
        suspects: set[EndpointId] = set()
        while not self._wanted:
            if not suspects:
                await self._poked.wait()
            self._poked.clear()
            await asyncio.sleep(self._settle_s)
            if await self._gateways_amiss():
                return
            known, self._plugged = self._plugged | suspects, set()
            busy = {endpoint for endpoint in known if self._endpoints.busy(endpoint)}
            found = {endpoint for endpoint in known - busy if self._amiss(endpoint)}
            if found & suspects:
                return
            suspects = found | busy

    async def _gateways_amiss(self) -> bool:
        doubted, self._doubted = self._doubted, set()
        networks = [n for n in self._state.networks() if names.gateway_link(n.id) in doubted]
        if not networks:
            return False
        try:
            links = await self._links.links()
        except UnavailableError:
            return True
        return any(gateway_amiss(each, links, owner=self._owner) for each in networks)

    def _amiss(self, endpoint_id: EndpointId) -> bool:
        endpoint = self._state.endpoint(endpoint_id)
        network = self._state.network(endpoint.network) if endpoint is not None else None
        if endpoint is None or network is None:
            ports = names.host_link(endpoint_id), names.internal_link(endpoint_id)
            return any(self._switch.port(name) is not None for name in ports)
        if endpoint.sandbox is None and self._endpoints.preparing(endpoint_id):
            return False
        port = self._switch.port(names.port(endpoint))
        return amiss(network, endpoint, port, owner=self._owner)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Hold off every look: for who removes things faster than their records."""
        async with self._looking:
            yield

    async def reconcile(self) -> Repairs:
        """Look at everything once and mend what can be mended."""
        async with self._looking:
            mended: list[str] = []
            failed: list[str] = []
            waiting: list[str] = []
            beyond: tuple[str, ...] = ()
            try:
                if await self._networks.ensure_firewall():
                    mended.append(_TABLE)
            except DriverError as error:
                failed.append(f"firewall: {error}")
            await self._retake(mended, failed)
            if await self._connected(failed):
                await self._match_flows(mended, failed)
                difference = await self._difference()
                beyond = difference.beyond
                self._lost = {}
                for repair in difference.repairs:
                    await self._mend(repair, mended, failed)
                await self._match_offload(mended, failed)
                await self._clear_devices(mended, failed)
            mirrors = await self._mirrors.look()
            for found, all_found in zip(mirrors, (mended, failed, waiting), strict=True):
                all_found.extend(found)
            beyond = (*beyond, *waiting)
            for found, all_found in zip(await self._shaper.look(), (mended, failed), strict=True):
                all_found.extend(found)
            self._report(
                Repairs(
                    at=self._clock(),
                    found=(*mended, *failed),
                    mended=tuple(mended),
                    failed=tuple(failed),
                    beyond=beyond,
                )
            )
        return self._last

    async def look(self) -> Repairs:
        """Say what :meth:`reconcile` would mend now, and mend nothing."""
        async with self._looking:
            found: list[str] = []
            failed: list[str] = []
            beyond: tuple[str, ...] = ()
            try:
                if await self._networks.firewall_differs():
                    found.append(_TABLE)
                found.extend(await self._publisher.unheld())
            except DriverError as error:
                failed.append(str(error))
            if await self._connected(failed):
                flows = await self._flows.look(mend=False)
                found.extend((*flows.others, *map(_flows, flows.differing)))
                failed.extend(flows.failed)
                difference = await self._difference()
                found.extend(f"{each.subject}: {each.why}" for each in difference.repairs)
                beyond = difference.beyond
                try:
                    found.extend(map(_device, await self._networks.deserted()))
                except DriverError as error:
                    failed.append(f"devices of bridges: {error}")
                for bridge in self._switched():
                    with suppress(DriverError):  # as long as nobody holds the bridge, none differs
                        if await self._tso_differs(bridge):
                            found.append(_offload(bridge))
            found.extend(self._mirrors.differing())
            try:
                found.extend(await self._shaper.differing())
            except DriverError as error:
                failed.append(f"shaping: {error}")
            return Repairs(
                at=self._clock(), found=tuple(found), failed=tuple(failed), beyond=beyond
            )

    async def _retake(self, mended: list[str], failed: list[str]) -> None:
        """Hold the published ports that somebody else had when we wanted them."""
        try:
            found = await self._publisher.retake()
        except DriverError as error:
            failed.append(f"published ports: {error}")
            return
        mended.extend(found.mended)
        failed.extend(found.failed)

    async def _connected(self, failed: list[str]) -> bool:
        """Whether Open vSwitch can be looked at; at our own start it needs a moment."""
        try:
            await self._switch.connected(CONNECT_S)
        except UnavailableError as error:
            failed.append(f"bridges and ports wait: {error}")
            return False
        return True

    async def _difference(self) -> Difference:
        """Compare, and if there is anything compare again: what handlers do meanwhile is no fault.

        The records, the switch and the links are not seen in the same instant.
        """
        first = await self._compare()
        if not first.repairs and not first.beyond:
            return first
        await asyncio.sleep(self._settle_s)
        second = await self._compare()
        seen = {(repair.subject, repair.why) for repair in first.repairs}
        return Difference(
            repairs=tuple(each for each in second.repairs if (each.subject, each.why) in seen),
            beyond=tuple(each for each in second.beyond if each in first.beyond),
        )

    async def _compare(self) -> Difference:
        if not self._state.networks() and not any(
            bridge.owned for bridge in self._switch.bridges().values()
        ):
            return Difference()
        links = await self._links.links()
        displaced = await self._networks.displaced()
        networks, endpoints = self._state.networks(), self._state.endpoints()
        # On a thread, since with thousands of endpoints it takes longer than the loop may stand.
        found = await asyncio.to_thread(
            compare,
            networks,
            endpoints,
            owner=self._owner,
            bridges=self._switch.bridges(),
            links=links,
            abandoned={each.id for each in networks if self._networks.abandoned(each)},
            displaced=displaced,
            preparing={each.id for each in endpoints if self._endpoints.preparing(each.id)},
            restoring={each.id for each in endpoints if self._endpoints.restoring(each)},
            missing=frozenset(self._watch.missing),
        )
        return await self._without_dead(found)

    async def _without_dead(self, found: Difference) -> Difference:
        """Leave what was lost with its container to whom is told of the container's end."""
        repairs, beyond = [], list(found.beyond)
        for repair in found.repairs:
            sandbox = repair.endpoint.sandbox if repair.endpoint is not None else None
            if not repair.lost or (sandbox and await self._links.sandbox_alive(sandbox)):
                repairs.append(repair)
            else:
                beyond.append(
                    f"{repair.subject}: {repair.why}, and its container has ended, which Docker "
                    "has not told; it is removed when Docker does not list it any more"
                )
        return Difference(repairs=tuple(repairs), beyond=tuple(beyond))

    async def _mend(self, repair: Repair, mended: list[str], failed: list[str]) -> None:
        # What a call is at work on is its own to make: the repair waits for it, and finds it made.
        done = not (
            self._endpoints.busy(repair.endpoint.id)
            if repair.endpoint is not None
            else self._networks.busy(repair.network.id)
        )
        try:
            if repair.endpoint is not None:
                if repair.finish:
                    done = await self._endpoints.finish(repair.endpoint)
                else:
                    await self._endpoints.ensure(repair.endpoint)
                    self._watch.restored(repair.endpoint.id)
            elif repair.finish:
                done = await self._networks.finish(repair.network)
            else:
                await self._networks.repair(repair.network)
        except (DriverError, IpamError) as error:
            failed.append(f"{repair.subject}: {repair.why}: {error}")
            if repair.endpoint is not None and repair.lost:
                self._lost[repair.endpoint.id] = f"{repair.why}: {error}"
        else:
            if done:
                mended.append(f"{repair.subject}: {repair.why}")

    async def _clear_devices(self, mended: list[str], failed: list[str]) -> None:
        try:
            mended.extend(map(_device, await self._networks.clear_devices()))
        except DriverError as error:
            failed.append(f"devices of bridges: {error}")

    async def _match_offload(self, mended: list[str], failed: list[str]) -> None:
        """Set the containers' checksum offload right when vswitchd was started another way."""
        bridges = {network.segment.bridge for network in self._state.networks()}
        for note in [key for key in self._notes.notes() if key.startswith(_TSO)]:
            if note.removeprefix(_TSO) not in bridges:
                await self._notes.forget_note(note)
        for bridge in self._switched():
            try:
                if await self._follow_tso(bridge, failed):
                    mended.append(_offload(bridge))
            except DriverError as error:
                failed.append(f"bridge {bridge}: checksum offload: {error}")

    def _switched(self) -> Sequence[str]:
        """Return our networks' bridges on which vswitchd itself switches."""
        names = sorted({network.segment.bridge for network in self._state.networks()})
        found = ((name, self._switch.bridge(name)) for name in names)
        return [
            name
            for name, bridge in found
            if bridge is not None and bridge.datapath is Datapath.NETDEV
        ]

    async def _tso_differs(self, bridge: str) -> bool:
        before = self._notes.notes().get(f"{_TSO}{bridge}")
        return before is not None and before != await self._tso(bridge)

    async def _tso(self, bridge: str) -> str:
        return "on" if await self._links.tso(bridge) else "off"

    async def _follow_tso(self, bridge: str, failed: list[str]) -> bool:
        now = await self._tso(bridge)
        key = f"{_TSO}{bridge}"
        before = self._notes.notes().get(key)
        if before == now:
            return False
        for endpoint in self._state.endpoints():
            network = self._state.network(endpoint.network)
            if network is None or network.segment.bridge != bridge:
                continue
            try:
                await self._endpoints.ensure_offload(endpoint)
            except DriverError as error:
                failed.append(f"endpoint {endpoint.id[:12]}: checksum offload: {error}")
        await self._notes.put_note(key, now)
        return before is not None

    async def _match_flows(self, mended: list[str], failed: list[str]) -> None:
        """Make flows as they should be; a restart of vswitchd forgets them, so they come first."""
        seen = await self._flows.look()
        mended.extend(seen.others)
        failed.extend(seen.failed)
        for each in seen.differing:
            endpoint = self._state.endpoint(each)
            if endpoint is None:
                continue
            what = _flows(each)
            try:
                await self._endpoints.ensure_flows(endpoint)
            except DriverError as error:
                failed.append(f"{what}: {error}")
            else:
                mended.append(what)

    def _report(self, repairs: Repairs) -> None:
        for text in repairs.mended:
            log.info("reconcile.mended", extra={"what": text})
            self._lately.appendleft(Mended(at=repairs.at, what=text))
        for text in (*repairs.failed, *repairs.beyond):
            if text not in (*self._last.failed, *self._last.beyond):
                log.warning("reconcile.left", extra={"what": text})
        self._last = repairs


def _device(name: str) -> str:
    return f"device {name}: its bridge was removed while ovs-vswitchd was away"


def _offload(bridge: str) -> str:
    return f"bridge {bridge}: checksum offload follows its userspace TSO"


def _flows(endpoint: EndpointId) -> str:
    return f"endpoint {endpoint[:12]}: flows of its port were not as they should be"
