"""What the tests of a pool's options share: a clock that stands still, and short calls."""

from netaddr import IPAddress, IPNetwork, IPRange

from ipam import AddressRequest, Ipam, Lease, Pool, PoolRequest


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def ranges(*texts: str) -> tuple[IPRange, ...]:
    pairs = (text.partition("-") for text in texts)
    return tuple(IPRange(first, last or first) for first, _, last in pairs)


async def new_pool(ipam: Ipam, subnet: str = "10.40.0.0/29", **wishes: object) -> Pool:
    network = IPNetwork(subnet) if subnet else None
    family = network.version if network else 4
    values = {"space": "ovsnet", "subnet": network, "family": family, **wishes}
    return await ipam.request_pool(PoolRequest(**values))  # type: ignore[arg-type]


async def lease(ipam: Ipam, pool: Pool, address: str = "", **what: object) -> Lease:
    wanted = IPAddress(address) if address else None
    request = AddressRequest(pool=pool.id, address=wanted, **what)  # type: ignore[arg-type]
    return await ipam.request_address(request)


async def given(ipam: Ipam, pool: Pool, address: str = "", **what: object) -> str:
    return str((await lease(ipam, pool, address, **what)).address)


async def release(ipam: Ipam, pool: Pool, address: str) -> None:
    assert await ipam.release_address(pool.id, IPAddress(address))
