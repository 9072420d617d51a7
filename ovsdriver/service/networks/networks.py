"""Create and delete networks, and make the switch and the host as their records say."""

import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from dataclasses import replace

from ipam.leasing import Leasing
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Network, NetworkId
from ovsdriver.domain.records.requests import NetworkOptions, NewNetwork
from ovsdriver.errors import DriverError, UnsupportedError
from ovsdriver.ports import Links, Ports, State
from ovsdriver.service.aspects.aspect import Aspect
from ovsdriver.service.locks import PLANNING, Locks
from ovsdriver.service.networks.planner import Planner
from ovsdriver.service.networks.previewer import Previewer

log = logging.getLogger(__name__)

SWITCH_WAIT_S = 5.0
"""How long a call waits for Open vSwitch to (re)appear before it says so."""


class Networks:
    """Docker's networks, each on its segment."""

    def __init__(
        self,
        *,
        planner: Planner,
        previewer: Previewer,
        state: State,
        ipam: Leasing,
        switch: Ports,
        links: Links,
        aspects: Sequence[Aspect],
        locks: Locks,
    ) -> None:
        self._planner = planner
        self._previewer = previewer
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._aspects = aspects
        self._locks = locks
        self._on_made: list[Callable[[], None]] = []

    def on_made(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a network was made."""
        self._on_made.append(callback)

    def gateway_skips(self, options: NetworkOptions, internal: bool) -> bool:
        """Whether a network with these options needs no gateway address from its IPAM."""
        return self._planner.gateway_skips(options, internal)

    async def create(self, new: NewNetwork) -> None:
        """Record the network and make its bridge, gateway and rules; nothing stays if one fails.

        Repeatable: a network that is recorded already is made to be there.

        Raises:
            InvalidOptionError, ConflictError, UnsupportedError: see ``planning.plan``.
            UnavailableError: Open vSwitch, the kernel or the store did not answer.
        """
        async with self._locks.held(new.id), AsyncExitStack() as undo:
            await self._switch.connected(SWITCH_WAIT_S)
            known = self._state.network(new.id)
            if known is not None and known.made and not known.ended:
                await self.make(known)
                return
            if known is not None:
                await self._remove(known)
            # One plan at a time: two networks must not choose the same tag.
            async with self._locks.held(PLANNING):
                network = replace(await self._planner.plan(new), unused=True)
                if new.options.dry_run:
                    preview = self._previewer.of(network, new.options.ignored)
                    raise UnsupportedError(preview.sentence)
                undo.push_async_callback(self._undo, network)
                await self._state.put_network(network)
            await self._free_gateways(network)
            await self.make(network)
            await self._state.put_network(replace(network, made=True))
            undo.pop_all()
        for callback in self._on_made:
            callback()

    async def delete(self, network_id: NetworkId) -> bool:
        """Remove a network with all of its endpoints and pools; False if it is not known.

        Docker releases the pools before, and does not hear if that failed. They go first: what is
        left of a network without them is removed without being asked.
        """
        async with self._locks.held(network_id):
            network = self._state.network(network_id)
            if network is None:
                return False
            for subnet in network.subnets:
                if subnet.pool is not None:
                    await self._ipam.release_pool(subnet.pool)
            await self._remove(network)
        return True

    async def repair(self, network: Network) -> None:
        """Make bridge, rules and gateway as the record says, if it still stands."""
        async with self._locks.held(network.id):
            current = self._state.network(network.id)
            if current is not None and current.made and not current.ended:
                await self.make(current)

    async def note_engine(self, engine: str, listed: AbstractSet[NetworkId]) -> None:
        """Note which daemon has networks: only its word counts when one is gone from Docker."""
        for network in self._state.networks():
            if network.engine or network.id not in listed:
                continue
            async with self._locks.held(network.id):
                current = self._state.network(network.id)
                if current and current.made and not current.ended and not current.engine:
                    await self._state.put_network(replace(current, engine=engine))

    async def note_use(self, network_id: NetworkId) -> None:
        """Note that a network has an endpoint: from now on it is not removed for want of one."""
        async with self._locks.held(network_id):
            current = self._state.network(network_id)
            if current is not None and current.unused and not current.ended:
                await self._state.put_network(replace(current, unused=False))

    def abandoned(self, network: Network) -> bool:
        """Whether Docker has let go of a network without our hearing of it.

        It releases the pools last but for DeleteNetwork itself, also where a CreateNetwork whose
        answer it did not get is rolled back; and never while the network has endpoints.
        """
        pools = [subnet.pool for subnet in network.subnets if subnet.pool is not None]
        return (
            bool(pools)
            and not any(self._ipam.pool(pool) for pool in pools)
            and not self._state.endpoints(network.id)
        )

    def busy(self, network: NetworkId) -> bool:
        """Whether a call, or a repair, is at work on it."""
        return network in self._locks

    async def finish(self, network: Network) -> bool:
        """Remove a network whose making or deletion was cut short, or that was abandoned.

        False if it is none of these: a call that was at work on it has got to its end.
        """
        async with self._locks.held(network.id):
            current = self._state.network(network.id)
            if current is not None and (
                current.ended or not current.made or self.abandoned(current)
            ):
                await self._remove(current)
                return True
        return False

    async def _free_gateways(self, network: Network) -> None:
        """Release the addresses that engines up to 27 take for gateways on every network.

        Where nobody has one, a container may ask for it, as with those that do not take it.
        """
        for subnet in network.subnets:
            gateway = self._ipam.gateway(subnet.pool) if subnet.pool is not None else None
            if gateway is not None and not gateway.wanted and not network.mode.has_gateway:
                await self._ipam.release_address(
                    gateway.pool, gateway.address, serial=gateway.serial
                )

    async def make(self, network: Network) -> None:
        """Make bridge and all that a network has as its record says; the caller holds its lock."""
        for each in self._aspects:
            await each.ensure_network(network)

    async def _undo(self, network: Network) -> None:
        try:
            if self._state.network(network.id) is None:
                # The record may be on its way to the disk; what is written later wins.
                await self._state.forget_network(network.id)
            else:
                await self._remove(network)
        except DriverError as error:
            # The record stays, marked as ended, and the reconciler goes on from there.
            log.warning("network.undo-deferred", extra={"network": network.id, "why": str(error)})

    async def _remove(self, network: Network) -> None:
        """Remove what belongs to a network, then its record; the caller holds its lock.

        Endpoints are taken by their locks: a Join that got past the record before it was ended
        is waited for, and one that comes later finds the network ended.
        """
        await self._state.put_network(replace(network, ended=True))
        for endpoint in self._state.endpoints(network.id):
            async with self._locks.held(endpoint.id):
                for each in self._aspects:
                    await each.unplugging(endpoint, None)
                port = names.port(endpoint)
                await self._switch.remove_port(port)
                await self._links.remove_link(port)
        for each in reversed(self._aspects):
            await each.remove_network(network)
        await self._state.forget_network(network.id)
