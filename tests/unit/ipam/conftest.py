from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count

import pytest
from netaddr import IPNetwork

from ipam import Ipam, Occupied
from tests.fakes.leases import FakeLeaseStore

Start = Callable[..., Awaitable[Ipam]]


@dataclass(frozen=True)
class Default:
    base: IPNetwork
    size: int


DEFAULTS = (
    Default(IPNetwork("172.24.0.0/22"), 24),
    Default(IPNetwork("10.128.0.0/22"), 25),
    Default(IPNetwork("fd00:1::/62"), 64),
)


class Host:
    """What the host uses of the address space."""

    def __init__(self) -> None:
        self.uses: list[Occupied] = []
        self.asked = 0

    def use(self, network: str, why: str, *, firm: bool = True) -> None:
        self.uses.append(Occupied(network=IPNetwork(network), why=why, firm=firm))

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        self.asked += 1
        return self.uses


@pytest.fixture
def store() -> FakeLeaseStore:
    return FakeLeaseStore()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def start(store: FakeLeaseStore, host: Host) -> Start:
    """Start the IPAM on the store; a second time is a restart."""

    async def start(**changes: object) -> Ipam:
        ticks = count(1_700_000_000)
        settings = {"defaults": DEFAULTS, "surroundings": host, "clock": lambda: float(next(ticks))}
        return await Ipam.load(store, **{**settings, **changes})  # type: ignore[arg-type]

    return start


@pytest.fixture
async def ipam(start: Start) -> Ipam:
    return await start()


def unfinished(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the reasons of the events that say what could not be given back."""
    return [vars(record)["why"] for record in caplog.records if record.message == "ipam.unfinished"]
