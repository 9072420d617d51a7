"""Firewall and host notes in memory."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from ovsdriver.domain.records.model import Publication
from ovsdriver.domain.traffic.firewall import FirewallPlan
from tests.fakes.access import FakeAccessFirewall


class MemoryNotes:
    """``ovsdriver.ports.HostNotes`` that last as long as the object; a journal says the order."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.journal: list[tuple[str, str]] = []
        """``(key, value)`` as written; an empty value: forgotten."""

    def notes(self) -> Mapping[str, str]:
        return dict(self.kept)

    async def put_note(self, key: str, value: str) -> None:
        self.kept[key] = value
        self.journal.append((key, value))

    async def forget_note(self, key: str) -> bool:
        self.journal.append((key, ""))
        return self.kept.pop(key, None) is not None


class FakeFirewall:
    """``ovsdriver.ports.Firewall`` that remembers what it was told."""

    def __init__(self) -> None:
        self.access = FakeAccessFirewall()
        self.plan = FirewallPlan()
        """What stands."""
        self.dropping: list[str] = []
        """Findings to report."""
        self.cuts: list[Publication] = []
        """Published ports whose connections were ended, in this order."""
        self.looked_at_again: list[str] = []
        """Gateways that were said to be new."""
        self._callbacks: list[Callable[[], None]] = []
        self._gateway_callbacks: list[Callable[[str], None]] = []
        self.carrier_callbacks: list[Callable[[str, bool | None], None]] = []

    async def ensure(self, plan: FirewallPlan) -> bool:
        changed = await self.differs(plan)
        self.plan = _table(plan)
        return changed

    def preview(self, before: FirewallPlan, after: FirewallPlan) -> Sequence[str]:
        return [str(each) for each in after.gateways if each not in before.gateways]

    async def differs(self, plan: FirewallPlan) -> bool:
        return self.plan != _table(plan)

    def renewed(self, gateway: str) -> None:
        self.looked_at_again.append(gateway)

    async def cut(self, published: Collection[Publication]) -> None:
        self.cuts.extend(published)

    async def remove(self) -> None:
        self.plan = FirewallPlan()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def on_loss(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def on_gateway(self, callback: Callable[[str], None]) -> None:
        self._gateway_callbacks.append(callback)

    def on_carrier(self, callback: Callable[[str, bool | None], None]) -> None:
        self.carrier_callbacks.append(callback)

    async def findings(self) -> Sequence[str]:
        return list(self.dropping)

    def tell_of(self, gateway: str) -> None:
        """Something happened to a gateway's device."""
        for callback in self._gateway_callbacks:
            callback(gateway)

    def lose(self) -> None:
        """Someone typed ``nft flush ruleset``."""
        self.plan = FirewallPlan()
        for callback in self._callbacks:
            callback()


def _table(plan: FirewallPlan) -> FirewallPlan:
    # without gateways there is no table, whatever else the plan says
    return plan if plan.gateways else FirewallPlan()
