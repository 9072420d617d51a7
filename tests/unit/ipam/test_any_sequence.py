"""Random sequences of all calls, with repeats and restarts in between, against a naive model."""

import asyncio
from collections.abc import Coroutine
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from netaddr import IPAddress, IPNetwork

from ipam import (
    AddressError,
    AddressRequest,
    ExhaustedError,
    Ipam,
    Lease,
    LeaseKind,
    LeaseStore,
    OverlapError,
    Pool,
    PoolId,
    PoolRequest,
    UnknownPoolError,
)
from tests.fakes.leases import FakeLeaseStore
from tests.unit.ipam.conftest import Default, Host

DEFAULTS = (Default(IPNetwork("10.0.0.0/27"), 29), Default(IPNetwork("fd00::/123"), 125))

SPACES = st.sampled_from(["ovsnet", "blue"])
NAMED = st.sampled_from(
    [
        *("10.0.0.0/29", "10.0.0.8/30", "10.0.0.8/31", "10.0.0.12/32", "10.0.0.0/28"),
        *("192.168.0.0/30", "fd00::/126", "fd00::4/127", "fd00:7::/48"),
    ]
)
OFFSETS = st.integers(-1, 9)
NAMES = st.sampled_from(["", "", "web", "db"])


class Model:
    """A pool, naively: every address is looked at."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.held: dict[int, Lease] = {}
        self.had: dict[int, tuple[str, bool]] = {}
        """Name and whether it was wanted, the latest last."""
        size = pool.subnet.size
        v4 = pool.family == 4
        addresses = range(pool.subnet.first, pool.subnet.first + min(size, 64))
        ends = {pool.subnet.first, pool.subnet.last} if size > 2 else set()
        self.usable = [n for n in addresses if not (v4 and n in ends)]
        low = {pool.subnet.first} if size > 2 else set()
        self.dynamic = [n for n in self.usable if n not in low]
        self.window = [n for n in self.dynamic if pool.window is None or self._in_window(n)]

    def _in_window(self, address: int) -> bool:
        return self.pool.window.first <= address <= self.pool.window.last

    def choice(self, kind: LeaseKind, name: str) -> int | None:
        among = self.dynamic if kind is LeaseKind.GATEWAY else self.window
        free = [n for n in among if n not in self.held]
        if kind is not LeaseKind.GATEWAY and name:
            before = [n for n, remembered in self.had.items() if remembered[0] == name]
            if before and before[0] in free:
                return before[0]
        return next((n for n in free if n not in self.had), free[0] if free else None)

    def hold(self, address: int, lease: Lease) -> None:
        self.had.pop(address, None)
        self.held[address] = lease

    def release(self, address: int) -> bool:
        lease = self.held.pop(address, None)
        if lease is None:
            return False
        if lease.kind is LeaseKind.ENDPOINT and (lease.name or lease.wanted):
            self.had = {n: m for n, m in self.had.items() if not lease.name or m[0] != lease.name}
            self.had[address] = (lease.name, lease.wanted)
            named = [n for n, (_, wanted) in self.had.items() if not wanted]
            if len(named) > len(self.dynamic) // 4:
                del self.had[named[0]]
        return True

    def has_gateway(self) -> bool:
        return any(lease.kind is LeaseKind.GATEWAY for lease in self.held.values())


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
        self.ticks = count(1)

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
            clock=lambda: float(next(self.ticks)),
        )

    @rule()
    def restart(self) -> None:
        self.run(self.ipam.close())
        self.run(self.shut())
        self.run(self.load())

    @rule(target=pools, space=SPACES, subnet=NAMED, narrow=st.booleans())
    def name_a_subnet(self, space: str, subnet: str, narrow: bool) -> Any:
        network = IPNetwork(subnet)
        window = None
        if narrow and network.size in (4, 8, 16):
            window = IPNetwork((network.first + network.size // 2, network.prefixlen + 1))
            window = IPNetwork(f"{IPAddress(window.first, network.version)}/{window.prefixlen}")
        request = PoolRequest(space=space, subnet=network, window=window, family=network.version)
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
        self.models[pool.id] = Model(pool)
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
            assert model.has_gateway()
        except ExhaustedError:
            assert model.choice(kind, name) is None
        else:
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
            second = kind is LeaseKind.GATEWAY and model.has_gateway()
            assert second or wanted in model.held or wanted not in model.usable
        else:
            assert wanted in model.usable
            assert lease.address == address
            self.hold(model, lease)

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
                assert usage.free == len([n for n in model.window if n not in model.held])
            gateway = self.ipam.gateway(pool)
            assert (gateway is not None) == model.has_gateway()

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


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
