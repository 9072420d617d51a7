"""Bridges' flows in memory. tests/contract/test_flows.py holds it to what Open vSwitch does."""

import asyncio
from collections.abc import Callable, Collection, Mapping

from ovsdriver.domain.records.options.flows import PortFlows, Ruling
from ovsdriver.errors import UnavailableError, UnsupportedError


class FakeFlows:
    """Fulfils ``ovsdriver.ports.Flows``."""

    def __init__(self) -> None:
        self.available = True
        """False: vswitchd does not answer."""
        self.speaks = True
        """False: no bridge speaks OpenFlow 1.4."""
        self.calls: list[str] = []
        """Every changing call, as ``ensure br0 5``, in order."""
        self.packets: dict[Ruling, tuple[int, int]] = {}
        """What rulings have met, in packets and bytes."""
        self._ports: dict[tuple[str, int], PortFlows] = {}
        self._gone = asyncio.Event()

    def of(self, bridge: str, number: int) -> PortFlows:
        """Return what a port has."""
        return self._ports.get((bridge, number), PortFlows())

    def forget(self) -> None:
        """Be a vswitchd that was started anew."""
        self._ports.clear()
        self._gone.set()
        self._gone = asyncio.Event()

    async def ensure(
        self, bridge: str, wanted: Mapping[int, PortFlows], *, fresh: Collection[int] = ()
    ) -> bool:
        self._answer()
        changed = False
        for number, flows in wanted.items():
            self.calls.append(f"ensure {bridge} {number}")
            changed |= number in fresh or self.of(bridge, number) != flows
            self._ports[bridge, number] = flows
            if not flows:
                del self._ports[bridge, number]
        return changed

    def prepare(self, bridge: str) -> None:
        self.calls.append(f"prepare {bridge}")

    async def differing(
        self, bridge: str, wanted: Callable[[], Mapping[int, PortFlows]]
    ) -> Collection[int]:
        self._answer()
        present = {number: each for (name, number), each in self._ports.items() if name == bridge}
        right = {number: each for number, each in wanted().items() if each}
        return {number for number in {*present, *right} if present.get(number) != right.get(number)}

    async def met(
        self, bridge: str, asked: Mapping[int, PortFlows]
    ) -> Mapping[Ruling, tuple[int, int]]:
        self._answer()
        return {
            ruling: self.packets.get(ruling, (0, 0))
            for number in asked
            for ruling in self.of(bridge, number).rulings & asked[number].rulings
        }

    async def attend(self, bridge: str, present: Callable[[], None]) -> None:
        self._answer()
        present()
        await self._gone.wait()

    def _answer(self) -> None:
        if not self.available:
            raise UnavailableError("ovs-vswitchd does not answer")
        if not self.speaks:
            raise UnsupportedError("the bridge does not speak OpenFlow 1.4")
