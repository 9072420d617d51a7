"""Routes in containers by routers that are not this host, and containers that are gateways.

At Join Docker is told what there is. What changes later (``ovsnet set``, a gateway that comes with
another address, a route that somebody deletes) is put into the sandbox here.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId, Subnet, Way
from ovsdriver.domain.wires import desired, ways
from ovsdriver.domain.wires.ways import WayChange
from ovsdriver.errors import DriverError
from ovsdriver.ports import Sandboxes, State
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.locks import Locks

log = logging.getLogger(__name__)

_AFTER_S = 1.0
"""From Join to what Docker was not told: a network that comes next must not meet it."""
_STARTS_S = 10.0
"""From Join to a look for what Docker was told: Docker puts it there itself."""
_WITHIN_S = 30.0
"""Within which Docker has moved a link into its container; later looks are the reconciler's."""
_INSIDE_S = 10.0
"""Time between two looks into sandboxes for routes that were lost."""


class ContainerWays(Aspect):
    """Containers of networks that ask for nothing of this are never looked at."""

    name = "routes in containers"
    needs_switch = False

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        sandboxes: Sandboxes,
        locks: Locks,
        called: Callable[[EndpointId], str],
        after_s: float = _AFTER_S,
    ) -> None:
        """``called``: the name of an endpoint's container, as Docker said it last; or empty."""
        self._owner = owner
        self._state = state
        self._sandboxes = sandboxes
        self._locks = locks
        self._called = called
        self._after_s = after_s
        self._waiting: dict[EndpointId, float] = {}
        """Whose routes are to be settled soon, and when they were first; on the loop's clock."""
        self._starting: dict[EndpointId, float] = {}
        """Who was joined lately, and until when Docker is left to put what it was told."""
        self._names_told = False
        self._news = asyncio.Event()
        self._inside_from = 0.0
        self._callbacks: list[Callable[[], None]] = []

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a container has become a gateway: its port may send more."""
        self._callbacks.append(callback)

    def poke(self) -> None:
        """Docker has told names of containers."""
        self._names_told = True
        self._news.set()

    def ways(self, network: Network, endpoint: Endpoint) -> Sequence[Way]:
        """Return the routes by routers that are no gateway, as far as Docker can be told."""
        static = ways.wanted(network, endpoint).static
        if not static:
            return ()
        others = (each for each in self._state.networks() if each.id != network.id)
        return ways.told(static, [each.cidr for other in others for each in other.subnets])

    async def joining(self, endpoint: Endpoint, sandbox: str) -> None:
        """Take away for a moment what leads to an endpoint's own subnets by another router.

        Docker does not put a link into a container that has a route to its subnet.
        """
        for other in self._state.endpoints_in(sandbox):
            network = self._state.network(other.network)
            change = ways.change(network, other) if network and other.id != endpoint.id else None
            meeting = ways.meeting(change, endpoint.addresses) if change else ()
            if network is None or change is None or not meeting:
                continue
            aside = WayChange(
                put=tuple(each for each in change.put if each not in meeting),
                take=(*change.take, *meeting),
            )
            link = desired.attachment(network, other, owner=self._owner).link
            await self._sandboxes.settle_ways(sandbox, link, aside)
            self._soon(other.id)

    async def joined(self, network: Network, endpoint: Endpoint) -> None:
        """Put the rest into the sandbox in a moment, and nothing before.

        Docker adds what it was told after it has moved the link; later looks are the reconciler's.
        """
        if ways.change(network, endpoint) is not None:
            self._starting[endpoint.id] = asyncio.get_running_loop().time() + _STARTS_S
        if not ways.settled(network, endpoint):
            self._soon(endpoint.id)

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Bring the routes of a plugged-in container up to date with its records.

        A link that Docker has not moved yet is waited for, in the background.
        """
        if not ways.settled(network, endpoint) and await self._settle(network, endpoint) is None:
            self._soon(endpoint.id)

    async def ensure_network(self, network: Network) -> None:
        """Look for the container that is to be its gateway."""
        if network.gateway_container:
            self.poke()

    async def forget(self, endpoint: Endpoint) -> None:
        """Forget an endpoint."""
        self._waiting.pop(endpoint.id, None)
        self._starting.pop(endpoint.id, None)

    async def find(self) -> Sequence[Finding]:
        """Look into the sandboxes of who has such routes, now and then: it costs threads."""
        if asyncio.get_running_loop().time() < self._inside_from:
            return []
        return [
            Finding(
                what=f"endpoint {endpoint.id[:12]}: its routes were not as they should be",
                amiss=partial(self._amiss, endpoint.id),
                mend=partial(self._mend, endpoint.id),
            )
            for network, endpoint in self._plugged()
            if endpoint.id not in self._waiting
            and (endpoint.own_ways or not self._starts(endpoint.id))
            and ways.change(network, endpoint) is not None
        ]

    async def run(self) -> None:
        """Attend to gateways that come and go, and links that Docker moves, until cancelled."""
        while True:
            self._news.clear()
            if self._names_told:
                self._names_told = False
                with suppress(DriverError):
                    await self._find_gateways()
            for each in tuple(self._waiting):
                await self._follow(each)
            try:
                async with asyncio.timeout(self._after_s if self._waiting else None):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _soon(self, endpoint: EndpointId) -> None:
        self._waiting.setdefault(endpoint, asyncio.get_running_loop().time())
        self._news.set()

    def _starts(self, endpoint: EndpointId) -> bool:
        """Whether Docker may still be putting there what it was told."""
        if asyncio.get_running_loop().time() < self._starting.get(endpoint, 0.0):
            return True
        self._starting.pop(endpoint, None)
        return False

    async def _follow(self, endpoint_id: EndpointId) -> None:
        now = asyncio.get_running_loop().time()
        began = self._waiting.get(endpoint_id, now)
        if now - began < self._after_s:
            return
        try:
            done = await self._mend(endpoint_id) is not None
        except DriverError as error:
            log.debug("ways.not-settled", extra={"endpoint": endpoint_id, "why": str(error)})
            done = False
        if done or now - began > _WITHIN_S:
            self._waiting.pop(endpoint_id, None)

    async def _find_gateways(self) -> None:
        """Note by what addresses the containers that are gateways are reached now."""
        for each in self._state.networks():
            if each.gateway_container and not each.ended and each.made:
                await self._find_gateway(each.id)

    async def _find_gateway(self, network_id: NetworkId) -> None:
        async with self._locks.held(network_id):
            network = self._state.network(network_id)
            if network is None or network.ended or not network.gateway_container:
                return
            subnets = self._with_gateways(network)
            if subnets == network.subnets:
                return
            await self._state.put_network(replace(network, subnets=subnets))
        gateways = [str(each.gateway) for each in subnets if each.gateway is not None]
        log.info(
            "network.gateway-found",
            extra={
                "network": network_id,
                "container": network.gateway_container,
                "gateways": " ".join(gateways) or "none",
            },
        )
        for endpoint in self._state.endpoints(network_id):
            self._waiting.setdefault(endpoint.id, -self._after_s)
        for callback in self._callbacks:
            callback()

    def _with_gateways(self, network: Network) -> tuple[Subnet, ...]:
        plugged = [each for each in self._state.endpoints(network.id) if each.sandbox is not None]
        called = {each.id: self._called(each.id) for each in plugged}
        held = {
            address.ip: called[each.id]
            for each in sorted(plugged, key=desired.by_address)
            for address in each.addresses
        }
        found = [ip for ip, name in held.items() if name == network.gateway_container]
        if found:
            return tuple(
                replace(subnet, gateway=next((ip for ip in found if ip in subnet.cidr), None))
                for subnet in network.subnets
            )
        # It may come back with the address that it had, unless another container has that.
        return tuple(
            replace(subnet, gateway=None) if held.get(subnet.gateway) else subnet
            for subnet in network.subnets
        )

    def _plugged(self) -> Sequence[tuple[Network, Endpoint]]:
        networks = {each.id: each for each in self._state.networks() if not each.ended}
        return [
            (networks[each.network], each)
            for each in self._state.endpoints()
            if each.network in networks and each.sandbox is not None and not each.ended
        ]

    async def _amiss(self, endpoint_id: EndpointId) -> bool:
        network, endpoint = self._current(endpoint_id)
        change = ways.change(network, endpoint) if network and endpoint else None
        if network is None or endpoint is None or endpoint.sandbox is None or change is None:
            return False
        link = desired.attachment(network, endpoint, owner=self._owner).link
        return bool(await self._sandboxes.settle_ways(endpoint.sandbox, link, change, dry=True))

    async def _mend(self, endpoint_id: EndpointId) -> bool | None:
        self._inside_from = asyncio.get_running_loop().time() + _INSIDE_S
        async with self._locks.held(endpoint_id):
            network, endpoint = self._current(endpoint_id)
            if network is None or endpoint is None:
                return False
            return await self._settle(network, endpoint)

    def _current(self, endpoint_id: EndpointId) -> tuple[Network | None, Endpoint | None]:
        endpoint = self._state.endpoint(endpoint_id)
        return (self._state.network(endpoint.network) if endpoint is not None else None), endpoint

    async def _settle(self, network: Network, endpoint: Endpoint) -> bool | None:
        """Make the routes in a sandbox as the records say; None: the link is not there yet.

        The caller holds the endpoint's lock.
        """
        change = ways.change(network, endpoint, starts=self._starts(endpoint.id))
        if change is None or endpoint.sandbox is None or endpoint.ended:
            return False
        link = desired.attachment(network, endpoint, owner=self._owner).link
        amiss = await self._sandboxes.settle_ways(endpoint.sandbox, link, change, dry=True)
        if not amiss:
            return amiss
        if not endpoint.own_ways:
            # first, so that routes are looked for whatever comes next
            await self._state.put_endpoint(replace(endpoint, own_ways=True))
        return await self._sandboxes.settle_ways(endpoint.sandbox, link, change)
