"""Random sequences of all calls, with repeats and restarts in between, against a naive model."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from netaddr import IPAddress, IPNetwork, IPRange

from ipam import (
    AddressError,
    AddressRequest,
    DefaultPool,
    ExhaustedError,
    InvalidReservationError,
    Ipam,
    Lease,
    LeaseKind,
    LeaseStore,
    LimitError,
    OverlapError,
    Pool,
    PoolId,
    PoolRequest,
    Reservation,
    ReservedError,
    UnknownPoolError,
)
from tests.fakes.leases import FakeLeaseStore
from tests.unit.ipam.conftest import Host

DEFAULTS = (
    DefaultPool(base=IPNetwork("10.0.0.0/27"), size=29),
    DefaultPool(base=IPNetwork("fd00::/123"), size=125),
)

SPACES = st.sampled_from(["ovsnet", "blue"])
NAMED = st.sampled_from(
    [
        *("10.0.0.0/29", "10.0.0.8/30", "10.0.0.8/31", "10.0.0.12/32", "10.0.0.0/28"),
        *("192.168.0.0/30", "fd00::/126", "fd00::4/127", "fd00:7::/48"),
    ]
)
OFFSETS = st.integers(-1, 9)
NAMES = st.sampled_from(["", "", "web", "db"])


QUARANTINE_S = 10.0
WISHES = st.fixed_dictionaries(
    {
        "quarantine_s": st.sampled_from([0.0, QUARANTINE_S]),
        "limit": st.sampled_from([None, None, 1, 3]),
    }
)

Reserved = dict[tuple[str, IPAddress], str]


class Model:
    """A pool, naively: every address is looked at."""

    def __init__(self, pool: Pool, reserved: Reserved, clock: Callable[[], float]) -> None:
        self.pool = pool
        self.everywhere = reserved
        self.clock = clock
        self.held: dict[int, Lease] = {}
        self.had: dict[int, tuple[str, bool]] = {}
        """Name and whether it was wanted, the latest last."""
        self.released: dict[int, float] = {}
        """When an endpoint's address went into quarantine."""
        size = pool.subnet.size
        v4 = pool.family == 4
        addresses = range(pool.subnet.first, pool.subnet.first + min(size, 64))
        ends = {pool.subnet.first, pool.subnet.last} if size > 2 else set()
        self.usable = [n for n in addresses if not (v4 and n in ends)]
        low = {pool.subnet.first} if size > 2 else set()
        holes = {n for each in pool.excluded for n in range(each.first, each.last + 1)}
        self.dynamic = [n for n in self.usable if n not in low and n not in holes]
        self.capacity = len([n for n in self.usable if n not in low])
        self.window = [n for n in self.dynamic if pool.window is None or self._in_window(n)]
        self.first = pool.subnet.first + 1 if size > 2 else None

    def _in_window(self, address: int) -> bool:
        return self.pool.window.first <= address <= self.pool.window.last

    @property
    def reserved(self) -> dict[int, str]:
        return {
            int(address): name
            for (space, address), name in self.everywhere.items()
            if space == self.pool.space and address in self.pool.subnet
            if int(address) in self.usable
        }

    def reserved_for(self, name: str) -> int | None:
        return min((n for n, who in self.reserved.items() if name and who == name), default=None)

    @property
    def resting(self) -> set[int]:
        wait, now = self.pool.quarantine_s, self.clock()
        return {n for n, since in self.released.items() if now - since < wait}

    def free(self, among: list[int]) -> list[int]:
        kept = self.reserved.keys() | self.resting | self.held.keys()
        return [n for n in among if n not in kept]

    def for_anybody(self) -> list[int]:
        """Without its first address, usually a router's, while the pool has no gateway."""
        free = self.free(self.window)
        return [n for n in free if n != self.first or self.gateway() is not None]

    def choice(self, kind: LeaseKind, name: str) -> int | None:
        among = self.dynamic if kind is LeaseKind.GATEWAY else self.window
        if kind is not LeaseKind.GATEWAY and name:
            kept = self.reserved_for(name)
            if kept is not None and kept not in self.held:
                return kept
            before = [n for n, remembered in self.had.items() if remembered[0] == name]
            open_ = [n for n in among if n not in self.held and n not in self.reserved]
            if before and before[0] in open_:
                return before[0]
        free = self.free(among) if kind is LeaseKind.GATEWAY else self.for_anybody()
        return next((n for n in free if n not in self.had), free[0] if free else None)

    def full(self) -> bool:
        return self.pool.limit is not None and len(self.held) >= self.pool.limit

    def hold(self, address: int, lease: Lease) -> None:
        self.had.pop(address, None)
        self.released.pop(address, None)
        self.held[address] = lease

    def release(self, address: int) -> bool:
        lease = self.held.pop(address, None)
        if lease is None:
            return False
        if lease.kind is LeaseKind.ENDPOINT:
            self.released[address] = self.clock()
        if lease.kind is LeaseKind.ENDPOINT and (lease.name or lease.wanted):
            self.had = {n: m for n, m in self.had.items() if not lease.name or m[0] != lease.name}
            self.had[address] = (lease.name, lease.wanted)
            named = [n for n, (_, wanted) in self.had.items() if not wanted]
            if len(named) > self.capacity // 4:
                del self.had[named[0]]
        return True

    def gateway(self) -> int | None:
        return next((n for n, each in self.held.items() if each.kind is LeaseKind.GATEWAY), None)


class AnySequence(RuleBasedStateMachine):
    """On the fake store; tests/contract runs the same on SQLite."""

    pools = Bundle("pools")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.models: dict[PoolId, Model] = {}
        self.ids: set[PoolId] = set()
        self.serials: set[int] = set()
        self.fake = FakeLeaseStore()
        self.now = 1_700_000_000.0
        self.reserved: Reserved = {}

    async def open(self) -> LeaseStore:
        return self.fake

    async def shut(self) -> None:
        pass

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(call)

    @initialize(target=pools, subnet=NAMED)
    def begin(self, subnet: str) -> PoolId:
        self.run(self.load())
        network = IPNetwork(subnet)
        request = PoolRequest(space="ovsnet", subnet=network, family=network.version)
        return self.new(self.run(self.ipam.request_pool(request)))

    async def load(self) -> None:
        self.ipam = await Ipam.load(
            await self.open(),
            defaults=DEFAULTS,
            surroundings=Host(),
            clock=self.clock,
            keeps_first=True,
        )

    def clock(self) -> float:
        # A little at every look, so that what comes later is later; far less than a quarantine.
        self.now += 1e-4
        return self.now

    @rule(seconds=st.sampled_from([QUARANTINE_S * 0.4, QUARANTINE_S * 2]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.run(self.ipam.close())
        self.run(self.shut())
        self.run(self.load())

    @rule(
        target=pools,
        space=SPACES,
        subnet=NAMED,
        narrow=st.booleans(),
        hole=st.sampled_from([(), (2, 3), (5, 5)]),
        wishes=WISHES,
    )
    def name_a_subnet(
        self,
        space: str,
        subnet: str,
        narrow: bool,
        hole: tuple[int, ...],
        wishes: dict[str, Any],
    ) -> Any:
        network = IPNetwork(subnet)
        window = None
        if narrow and network.size in (4, 8, 16):
            window = IPNetwork((network.first + network.size // 2, network.prefixlen + 1))
            window = IPNetwork(f"{IPAddress(window.first, network.version)}/{window.prefixlen}")
        excluded: tuple[IPRange, ...] = ()
        if hole and network.size in (8, 16):
            first, last = (IPAddress(network.first + n, network.version) for n in hole)
            excluded = (IPRange(first, last),)
        request = PoolRequest(
            space=space,
            subnet=network,
            window=window,
            family=network.version,
            excluded=excluded,
            **wishes,
        )
        meets = [m for m in self.models.values() if m.pool.space == space and self.meet(m, network)]
        try:
            pool = self.run(self.ipam.request_pool(request))
        except OverlapError:
            assert meets
            return multiple()
        assert not meets
        assert (pool.subnet, pool.window, pool.space) == (network, window, space)
        return self.new(pool)

    @rule(target=pools, space=SPACES, family=st.sampled_from([4, 6]), longer=st.integers(0, 3))
    def let_a_subnet_be_chosen(self, space: str, family: int, longer: int) -> Any:
        default = next(each for each in DEFAULTS if each.base.version == family)
        prefix = default.size + longer if longer else None
        free = [
            subnet
            for subnet in default.base.subnet(prefix or default.size)
            if not any(m.pool.space == space and self.meet(m, subnet) for m in self.models.values())
        ]
        request = PoolRequest(space=space, family=family, prefix=prefix)
        try:
            pool = self.run(self.ipam.request_pool(request))
        except ExhaustedError:
            assert not free
            return multiple()
        assert (pool.subnet, pool.automatic) == (free[0], True)
        return self.new(pool)

    def new(self, pool: Pool) -> PoolId:
        assert pool.id not in self.ids
        self.ids.add(pool.id)
        self.models[pool.id] = Model(pool, self.reserved, lambda: self.now)
        return pool.id

    @staticmethod
    def meet(model: Model, network: IPNetwork) -> bool:
        subnet = model.pool.subnet
        return subnet.version == network.version and (
            subnet.first <= network.last and network.first <= subnet.last
        )

    @rule(pool=pools)
    def release_a_pool(self, pool: PoolId) -> None:
        assert self.run(self.ipam.release_pool(pool)) == (pool in self.models)
        self.models.pop(pool, None)

    @rule(pool=pools, kind=st.sampled_from([*LeaseKind, LeaseKind.ENDPOINT]), name=NAMES)
    def request_any_address(self, pool: PoolId, kind: LeaseKind, name: str) -> None:
        model = self.models.get(pool)
        request = AddressRequest(pool=pool, kind=kind, name=name)
        try:
            lease = self.run(self.ipam.request_address(request))
        except UnknownPoolError:
            assert model is None
        except AddressError:
            assert kind is LeaseKind.GATEWAY
            assert model.gateway() is not None
        except ExhaustedError:
            assert model.choice(kind, name) is None
        except LimitError:
            assert model.full()
        else:
            assert not model.full()
            assert int(lease.address) == model.choice(kind, name)
            self.hold(model, lease)

    @rule(pool=pools, offset=OFFSETS, kind=st.sampled_from(LeaseKind), name=NAMES)
    def request_a_wanted_address(
        self, pool: PoolId, offset: int, kind: LeaseKind, name: str
    ) -> None:
        model = self.models.get(pool)
        if model is None:
            return
        wanted = model.pool.subnet.first + offset
        address = IPAddress(wanted, model.pool.family)
        request = AddressRequest(pool=pool, kind=kind, address=address, name=name)
        try:
            lease = self.run(self.ipam.request_address(request))
        except AddressError:
            second = kind is LeaseKind.GATEWAY and model.gateway() is not None
            kept = self.kept_from(model, wanted, kind, name)
            assert second or kept or wanted in model.held or wanted not in model.usable
        except LimitError:
            assert model.full()
        else:
            assert not model.full()
            assert not self.kept_from(model, wanted, kind, name)
            assert wanted in model.usable
            assert lease.address == address
            self.hold(model, lease)

    @staticmethod
    def kept_from(model: Model, address: int, kind: LeaseKind, name: str) -> bool:
        keeper = model.reserved.get(address, "")
        return bool(keeper) and (kind is LeaseKind.GATEWAY or name not in ("", keeper))

    @rule(space=SPACES, subnet=NAMED, offset=st.integers(0, 7), name=NAMES, replace=st.booleans())
    def reserve(self, space: str, subnet: str, offset: int, name: str, replace: bool) -> None:
        network = IPNetwork(subnet)
        address = IPAddress(network.first + offset, network.version)
        model = next(
            (m for m in self.models.values() if m.pool.space == space and address in m.pool.subnet),
            None,
        )
        other = self.reserved.get((space, address), name) != name and not replace
        unusable = model is not None and int(address) not in model.usable
        gateway = model is not None and model.gateway() == int(address)
        twice = model is not None and model.reserved_for(name) not in (None, int(address))
        wanted = Reservation(space=space, address=address, name=name)
        try:
            self.run(self.ipam.reserve([wanted], replace=replace))
        except ReservedError:
            assert other or twice
        except AddressError:
            assert unusable
        except InvalidReservationError:
            assert gateway
        else:
            assert [other, twice, unusable, gateway] == [False] * 4
            self.reserved[(space, address)] = name

    @rule(space=SPACES, subnet=NAMED, offset=st.integers(0, 7))
    def unreserve(self, space: str, subnet: str, offset: int) -> None:
        network = IPNetwork(subnet)
        key = (space, IPAddress(network.first + offset, network.version))
        ended = self.run(self.ipam.unreserve([key]))
        assert [(each.space, each.address) for each in ended] == [key] * (key in self.reserved)
        self.reserved.pop(key, None)

    def hold(self, model: Model, lease: Lease) -> None:
        assert int(lease.address) not in model.held
        assert lease.serial not in self.serials
        self.serials.add(lease.serial)
        model.hold(int(lease.address), lease)

    @rule(pool=pools, offset=OFFSETS)
    def release_an_address(self, pool: PoolId, offset: int) -> None:
        model = self.models.get(pool)
        subnet = model.pool.subnet if model else IPNetwork("10.0.0.0/29")
        address = IPAddress(subnet.first + offset, subnet.version)
        held = model.release(int(address)) if model else False
        assert self.run(self.ipam.release_address(pool, address)) == held

    @invariant()
    def memory_is_what_the_model_says(self) -> None:
        if not hasattr(self, "ipam"):
            return
        assert {pool.id for pool in self.ipam.pools()} == set(self.models)
        for pool, model in self.models.items():
            usage = self.ipam.usage(pool)
            assert usage.held == len(model.held)
            if model.pool.subnet.size <= 64:
                free = len(model.for_anybody())
                if model.pool.limit is not None:
                    free = min(free, max(0, model.pool.limit - len(model.held)))
                assert usage.free == free
            gateway = self.ipam.gateway(pool)
            assert (None if gateway is None else int(gateway.address)) == model.gateway()
        assert {
            (each.space, each.address): each.name for each in self.ipam.reservations()
        } == self.reserved

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        for pool, model in self.models.items():
            leases = self.run(self.ipam.leases(pool))
            assert {int(each.address): each for each in leases} == model.held
            assert [int(each.address) for each in leases] == sorted(model.held)

    def teardown(self) -> None:
        self.run(self.ipam.close())
        self.run(self.shut())
        self.runner.close()


TestAnySequence = pytest.mark.slow(AnySequence.TestCase)
TestAnySequence.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
