"""What goes out of uplinks: at a rate, in the order of its marks.

It is the kernel that does it, on the NIC, past either datapath of Open vSwitch; vswitchd deletes
what a NIC has of that when it takes the NIC, so also at each start of its own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.options.shaping import NO_QUEUES, LinkShape, of_uplink
from ovsdriver.domain.wires import desired
from ovsdriver.errors import UnsupportedError
from ovsdriver.ports import HostNotes, Shapes, State, SwitchView
from ovsdriver.service.aspects.aspect import Aspect, Finding, never
from ovsdriver.service.aspects.bridges import datapath

_NOTE = "queues:"
"""Key of the note, before a NIC's name: there may be queues of ours on it."""
_NOTHING = LinkShape()


class UplinkQueues(Aspect):
    """NICs for which nothing is asked are never touched."""

    name = "queues of uplinks"

    def __init__(
        self, *, owner: str, state: State, notes: HostNotes, switch: SwitchView, shapes: Shapes
    ) -> None:
        self._owner = owner
        self._state = state
        self._notes = notes
        self._switch = switch
        self._shapes = shapes
        self._lock = asyncio.Lock()

    async def check_network(self, network: Network) -> None:
        """Refuse what this kernel cannot do: UnsupportedError."""
        if network.uplink_rate:
            wanted = of_uplink(network.uplink_rate, network.segment.datapath)
            if not await self._shapes.able(wanted):
                raise UnsupportedError(NO_QUEUES)

    async def ensure_network(self, network: Network) -> None:
        """Have the NICs of a network's uplink send as all records want it.

        Raises:
            UnsupportedError: the kernel cannot do it.
            ConflictError: somebody else has put a discipline on the NIC.
            UnavailableError: the kernel or the store did not answer.
        """
        if network.segment.uplink is not None:
            await self._settle()

    async def remove_network(self, network: Network) -> None:
        """Let go of NICs for which no other network asks, before they are given back."""
        if network.segment.uplink is not None:
            await self._settle()

    async def clear(self) -> None:
        """Take the queues off every NIC of ours, which are in their bridges yet."""
        async with self._lock:
            for nic in sorted({*self._noted(), *self._marked()}):
                await self._shape(nic, _NOTHING)

    async def find(self) -> Sequence[Finding]:
        """Compare NICs with what is asked for."""
        wanted, noted = self._wanted(), self._noted()
        observed = await self._shapes.observed() if wanted or noted else {}
        found: list[Finding] = []
        for nic in sorted({*wanted, *noted}):
            right = self._shapes.same(observed.get(nic, _NOTHING), wanted.get(nic, _NOTHING))
            if not right or nic not in wanted:
                what = f"uplink {nic} does not send at the rate and in the order that it should"
                # or only its note is left
                again = partial(self._mend, nic)
                found.append(Finding(what=what, amiss=never if right else None, mend=again))
        return found

    async def _mend(self, nic: str) -> bool:
        async with self._lock:
            return await self._shape(nic, self._wanted().get(nic, _NOTHING))

    async def _settle(self) -> None:
        async with self._lock:
            wanted = self._wanted()
            for nic in sorted({*wanted, *self._noted()}):
                await self._shape(nic, wanted.get(nic, _NOTHING))

    async def _shape(self, nic: str, shape: LinkShape) -> bool:
        key = f"{_NOTE}{nic}"
        if shape and key not in self._notes.notes():
            await self._notes.put_note(key, "")
        changed = await self._shapes.on_host(nic, shape)
        if not shape and key in self._notes.notes():
            await self._notes.forget_note(key)
        return changed

    def _wanted(self) -> Mapping[str, LinkShape]:
        networks = self._state.networks()
        datapaths = {each.segment.bridge: datapath(self._switch, each) for each in networks}
        return {
            nic: of_uplink(port.rate, datapaths[bridge])
            for bridge, port in desired.uplink_ports(networks, owner=self._owner).items()
            if port.rate
            for nic in port.nics
        }

    def _marked(self) -> Sequence[str]:
        """Return the NICs that our mark says are uplinks, for when there are no notes."""
        return [
            nic
            for bridge in self._switch.bridges().values()
            for port in bridge.ports
            if port.external_ids.get(names.OWNER_KEY) == self._owner
            and port.external_ids.get(names.PURPOSE_KEY) == "uplink"
            for nic in port.interfaces
        ]

    def _noted(self) -> Sequence[str]:
        return [each.removeprefix(_NOTE) for each in self._notes.notes() if each.startswith(_NOTE)]
