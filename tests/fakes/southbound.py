"""A southbound database in memory. tests/contract/test_southbound.py holds it to OVN's."""

from dataclasses import dataclass, field, replace

from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Chassis, SouthboundView
from tests.fakes.northbound import FakeCentral


@dataclass
class FakeSouthbound:
    """Fulfils ``ovsdriver.ports.Southbound``; northd and the controllers are quick here."""

    central: FakeCentral
    chassis: dict[str, Chassis] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    """Hosts that answer no call any more."""
    available: bool = True
    passed_on: bool = True
    """Whether northd runs."""
    may_forget: bool = True
    now: float = 5000.0

    def register(self, *names: str) -> None:
        """Have hosts register themselves."""
        for number, name in enumerate(names, 1):
            self.chassis[name] = Chassis(name=name, address=f"192.0.2.{number}")

    def servers(self) -> tuple[str, ...]:
        return ("ssl:192.0.2.1:6642",)

    async def read(self) -> SouthboundView:
        self._answer()
        called = self.central.called if self.passed_on else 0
        for name, each in self.chassis.items():
            if name not in self.dead and each.heard < called:
                self.chassis[name] = replace(each, heard=called, at=self.now)
        found = sorted(self.chassis.values(), key=lambda each: each.name)
        return SouthboundView(called=called, chassis=tuple(found))

    async def forget(self, host: str) -> bool:
        self._answer()
        if not self.may_forget:
            return host not in self.chassis
        self.chassis.pop(host, None)
        return True

    def _answer(self) -> None:
        if not self.available:
            raise UnavailableError("OVN's southbound database does not answer: ssl:192.0.2.1:6642")
