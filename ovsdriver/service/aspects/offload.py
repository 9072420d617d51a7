"""Checksum offload of containers' ends: right for how the vswitchd of their bridge was started.

With userspace TSO it takes packets whose checksums are still to be made, without it none. A pair
gets what fits when it is made; here is what follows when vswitchd was started another way.
"""

from collections.abc import Sequence
from functools import partial

from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import DriverError
from ovsdriver.ports import HostNotes, Links, State, SwitchView
from ovsdriver.service.aspects.aspect import Aspect, Finding, never
from ovsdriver.service.aspects.bridges import datapath
from ovsdriver.service.locks import Locks

_NOTE = "tso:"
"""Key of the note, before a bridge's name: what the containers' offload was last set for."""


class Offload(Aspect):
    """Asks at each repair; nothing tells how vswitchd was started."""

    name = "checksum offload"

    def __init__(
        self,
        *,
        state: State,
        notes: HostNotes,
        switch: SwitchView,
        links: Links,
        locks: Locks,
    ) -> None:
        self._state = state
        self._notes = notes
        self._switch = switch
        self._links = links
        self._locks = locks

    def tso_of(self, network: Network) -> str:
        """Return the tap that tells whether containers may leave checksums to the switch."""
        system = datapath(self._switch, network) is Datapath.SYSTEM
        return "" if system else network.segment.bridge

    async def settle(self, network: Network, endpoint: Endpoint) -> None:
        """Set the offload of an endpoint's end in its sandbox, if it is there.

        Raises:
            UnavailableError: the kernel did not answer.
        """
        if endpoint.sandbox is not None and not endpoint.internal:
            tap = self.tso_of(network)
            tx = not tap or await self._links.tso(tap)
            await self._links.ensure_offload(endpoint.sandbox, endpoint.mac, tx=tx)

    async def find(self) -> Sequence[Finding]:
        """Compare each bridge on which vswitchd itself switches with what was last set for it."""
        networks = self._state.networks()
        bridges = {each.segment.bridge for each in networks}
        found = [
            Finding(what=key, amiss=never, mend=partial(self._notes.forget_note, key))
            for key in self._notes.notes()
            if key.startswith(_NOTE) and key.removeprefix(_NOTE) not in bridges
        ]
        for bridge in sorted(bridges):
            seen = self._switch.bridge(bridge)
            if seen is not None and seen.datapath is Datapath.NETDEV:
                found += await self._look(bridge)
        return found

    async def _look(self, bridge: str) -> Sequence[Finding]:
        key = f"{_NOTE}{bridge}"
        try:
            now = "on" if await self._links.tso(bridge) else "off"
        except DriverError as error:
            # as long as nobody holds the bridge, nobody has started another way
            return [Finding(what=f"bridge {bridge}: checksum offload: {error}", unseen=True)]
        before = self._notes.notes().get(key)
        if before == now:
            return []
        return [
            *(
                Finding(
                    what=f"endpoint {each.id[:12]}: checksum offload",
                    amiss=never,
                    mend=partial(self._follow, each.id),
                )
                for each in self._state.endpoints()
                if (network := self._state.network(each.network)) is not None
                and network.segment.bridge == bridge
            ),
            Finding(
                what=f"bridge {bridge}: checksum offload follows its userspace TSO",
                about=f"bridge {bridge}: checksum offload",
                amiss=never if before is None else None,
                mend=partial(self._note, key, now, first=before is None),
            ),
        ]

    async def _follow(self, endpoint_id: EndpointId) -> None:
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            network = self._state.network(endpoint.network) if endpoint is not None else None
            if endpoint is not None and network is not None and not endpoint.ended:
                await self.settle(network, endpoint)

    async def _note(self, key: str, now: str, *, first: bool) -> bool:
        await self._notes.put_note(key, now)
        return not first
