from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import pytest
from netaddr import IPNetwork

from ipam import DefaultPool, Ipam, Occupied
from tests.fakes.leases import FakeLeaseStore

Start = Callable[..., Awaitable[Ipam]]


DEFAULTS = (
    DefaultPool(base=IPNetwork("172.24.0.0/22"), size=24),
    DefaultPool(base=IPNetwork("10.128.0.0/22"), size=25),
    DefaultPool(base=IPNetwork("fd00:1::/62"), size=64),
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
