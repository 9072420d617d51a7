"""Bridges of ours, each there as long as a network is on it."""

from collections.abc import Sequence
from functools import partial

from ovsdriver.domain.records.model import Network, Segment, on_bridge
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.diff import deserted
from ovsdriver.ports import Bridges, Links, State, SwitchView
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.aspects.uplinks import Uplinks
from ovsdriver.service.locks import PLANNING, Locks


def datapath(switch: SwitchView, network: Network) -> Datapath:
    """Return the datapath of a network's bridge: the switch's word, or the record's without it."""
    observed = switch.bridge(network.segment.bridge)
    return observed.datapath if observed is not None else network.segment.datapath


class OwnBridges(Aspect):
    """Made before what is on them, and removed with the last network.

    They are compared together with what is on them; found here are the devices that they left.
    """

    name = "devices of bridges"

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        switch: Bridges,
        links: Links,
        uplinks: Uplinks,
        locks: Locks,
    ) -> None:
        self._owner = owner
        self._state = state
        self._switch = switch
        self._links = links
        self._uplinks = uplinks
        self._locks = locks

    async def ensure_network(self, network: Network) -> None:
        """Make a network's bridge as all records want it, if it is ours."""
        await self._ensure(network.segment)

    async def _ensure(self, segment: Segment) -> None:
        bridge = desired.bridge(segment, self._state.networks(), owner=self._owner)
        if bridge is not None:
            await self._switch.ensure_bridge(bridge)
            await self._links.mark_bridge(bridge.name)

    async def remove_network(self, network: Network) -> None:
        """Let go of a bridge, and of its NICs, for a network that has ended.

        A plan in progress may not count on them.
        """
        segment: Segment = network.segment
        async with self._locks.held(PLANNING):
            if segment.uplink is not None:
                await self._uplinks.release(network)
            here = on_bridge(segment.bridge, self._state.networks())
            others = any(each.id != network.id for each in here)
            if not segment.adopted and not others:
                await self._switch.remove_bridge(segment.bridge)
                for each in await self._deserted():
                    await self._links.remove_link(each)
            elif others and (
                network.features.said()
                or (segment.uplink is not None and segment.uplink.host is not None)
            ):
                # those that stay may need less of the bridge than it did
                await self._ensure(segment)

    async def find(self) -> Sequence[Finding]:
        """Find devices of bridges that were removed while vswitchd was away."""
        return [
            Finding(
                what=f"device {each}: its bridge was removed while ovs-vswitchd was away",
                about=self.name,
                mend=partial(self._clear, each),
            )
            for each in await self._deserted()
        ]

    async def _deserted(self) -> Sequence[str]:
        links = await self._links.links()
        # of a database that does not answer nobody knows which bridges it has
        if not self._switch.status().connected:
            return ()
        return deserted(self._switch.bridges(), links, owner=self._owner)

    async def _clear(self, name: str) -> bool:
        async with self._locks.held(PLANNING):
            return name in await self._deserted() and await self._links.remove_link(name)
