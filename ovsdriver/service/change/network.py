"""Other options for a network that stands."""

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from ovsdriver.causes import because
from ovsdriver.domain.plan import replanning
from ovsdriver.domain.records.model import Network, NetworkId, on_bridge
from ovsdriver.domain.records.segments import VlanSegment
from ovsdriver.domain.wires import desired
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.ports import Ports, State
from ovsdriver.service.aspects.host_ends import HostEnds
from ovsdriver.service.aspects.uplinks import Uplinks
from ovsdriver.service.change.change import TAKEN_BACK, Change
from ovsdriver.service.locks import PLANNING, Locks
from ovsdriver.service.networks.networks import SWITCH_WAIT_S, Networks
from ovsdriver.service.networks.planner import Planner
from ovsdriver.words.changes import OtherOptions

log = logging.getLogger(__name__)


class NetworkChange:
    """Its record first, and those of others on its uplink; then all that it has."""

    def __init__(
        self,
        *,
        owner: str,
        planner: Planner,
        state: State,
        switch: Ports,
        uplinks: Uplinks,
        ends: HostEnds,
        networks: Networks,
        locks: Locks,
    ) -> None:
        self._owner = owner
        self._planner = planner
        self._state = state
        self._switch = switch
        self._uplinks = uplinks
        self._ends = ends
        self._networks = networks
        self._locks = locks

    async def change(self, network_id: NetworkId, wish: OtherOptions) -> Change[Network]:
        """Give a network other options: its record first, then bridge, gateway and rules.

        The ports of its containers are left to the caller. Nothing is changed if it is refused.

        Raises:
            UnknownObjectError: there is no such network.
            InvalidOptionError, ConflictError, UnsupportedError: see ``replanning.network``.
            UnavailableError: Open vSwitch, the kernel or the store did not answer, and nothing was
                changed. What does not answer after the record was changed is in the result.
        """
        async with AsyncExitStack() as held:
            for each in self._concerned(network_id, wish):
                await held.enter_async_context(self._locks.held(each))
            await self._switch.connected(SWITCH_WAIT_S)
            before = self._standing(network_id)
            async with self._locks.held(PLANNING):
                after = await self._planner.replan(before, *wish.of_network(before))
                await self._ends.refuse_answered(before, after)
                if after != before:
                    await self._state.put_networks(self._with_wire(after))
            try:
                # Endpoints that were being made have seen the old record or the new one.
                replanning.refuse_unfit(before, after, self._state.endpoints(network_id))
                await self._bring(after)
            except (ConflictError, InvalidOptionError, UnsupportedError):
                with because(why=TAKEN_BACK):
                    await self._state.put_networks(self._with_wire(before))
                await self._bring_back(before)
                raise
            except UnavailableError as error:
                return Change(before=before, after=after, pending=str(error))
            return Change(before=before, after=after)

    def _standing(self, network_id: NetworkId) -> Network:
        network = self._state.network(network_id)
        if network is None or network.ended or not network.made:
            raise UnknownObjectError(f"network {network_id[:12]} was removed meanwhile")
        return network

    def _concerned(self, network_id: NetworkId, wish: OtherOptions) -> Sequence[NetworkId]:
        """Return the networks whose records a wish is about, in the order of their locks."""
        network = self._standing(network_id)
        _, touched = wish.of_network(network)
        if not touched.fields & {"bond", "lacp"}:
            return (network_id,)
        return sorted({network_id, *(each.id for each in self._on_wire(network))})

    def _on_wire(self, network: Network) -> Sequence[Network]:
        """Return the networks that have the same uplink."""
        if network.segment.uplink is None:
            return []
        here = on_bridge(network.segment.bridge, self._state.networks())
        return [each for each in here if each.segment.uplink is not None]

    def _with_wire(self, network: Network) -> Sequence[Network]:
        """Return a network and those whose record of their common uplink changes with it."""
        uplink = network.segment.uplink
        others = [
            replace(each, segment=replace(each.segment, uplink=uplink))
            for each in self._on_wire(network)
            if each.id != network.id
            and isinstance(each.segment, VlanSegment)
            and each.segment.uplink != uplink
        ]
        return (network, *others)

    async def _bring(self, network: Network) -> None:
        """Make all of a network as its changed record says, its containers' ports at once."""
        host = desired.gateway(network, owner=self._owner) or desired.probe(
            network, owner=self._owner
        )
        ports = [
            desired.attachment(network, each, owner=self._owner).port
            for each in self._state.endpoints(network.id)
            if each.sandbox is not None and not each.ended
        ]
        wire = self._uplinks.wanted(network.segment.bridge)
        if host is not None:
            ports.append(host.port)
        await self._switch.change_ports([*ports, *([wire] if wire is not None else [])])
        await self._networks.make(network)

    async def _bring_back(self, network: Network) -> None:
        try:
            await self._bring(network)
        except DriverError as error:
            # Its record is as it was, and the reconciler goes on from there.
            log.warning("network.undo-deferred", extra={"network": network.id, "why": str(error)})
