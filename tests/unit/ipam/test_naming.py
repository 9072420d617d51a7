"""Refusals say who has what as far as anybody knows, and cost the same however many these are."""

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressError, ExhaustedError, LeaseKind, Naming, OverlapError, PoolRequest
from tests.unit.ipam.wishes import given, new_pool, release

SUBNET = "10.40.0.0/29"


class Docker(Naming):
    """Knows what it is told here."""

    def __init__(self) -> None:
        self.kept: set[IPAddress] | None = None
        self.names: dict[str, str] = {}
        self.of = ""

    def network(self, pool) -> str:
        return self.of

    def auxiliary(self, pool):
        return self.kept

    def container(self, pool, lease) -> str:
        return self.names.get(str(lease.address), "")

    def containers(self, pool):
        return [(IPAddress(address), name) for address, name in self.names.items()]


@pytest.fixture
def docker() -> Docker:
    return Docker()


@pytest.fixture
async def ipam(start, docker):
    return await start(naming=docker)


async def full(ipam, pool) -> str:
    while ipam.usage(pool.id).free:
        await given(ipam, pool)
    with pytest.raises(ExhaustedError) as refusal:
        await given(ipam, pool)
    return str(refusal.value)


async def test_a_full_pool_names_containers_whose_names_were_not_told(ipam, docker):
    pool = await new_pool(ipam, SUBNET)
    await given(ipam, pool, kind=LeaseKind.GATEWAY)
    await given(ipam, pool, name="told")
    docker.names = {"10.40.0.3": "web", "10.40.0.5": "db", "10.40.9.9": "of another pool"}
    text = await full(ipam, pool)
    assert "5 are held by containers (told, web, db and 2 more) and 1 by the gateway (`" in text
    await release(ipam, pool, "10.40.0.5")
    await given(ipam, pool, "10.40.0.5", name="new")
    docker.names = {f"10.40.0.{n}": f"n{n}" for n in range(3, 7)}
    assert "(told, new, n3, n4, n5)" in await full(ipam, pool)


async def test_a_name_of_an_address_that_nobody_holds_any_more_is_not_told(ipam, docker):
    pool = await new_pool(ipam, SUBNET, limit=2)
    for address in ("10.40.0.2", "10.40.0.3"):
        await given(ipam, pool, address)
    docker.names = {"10.40.0.4": "gone", "10.40.0.2": "web"}
    with pytest.raises(Exception, match=r"2 are held by containers \(web and 1 more\) \(`ovsnet"):
        await given(ipam, pool)


async def test_addresses_that_the_network_keeps_are_told_from_those_of_containers(ipam, docker):
    pool = await new_pool(ipam, SUBNET)
    await given(ipam, pool, kind=LeaseKind.GATEWAY)
    for address in ("10.40.0.5", "10.40.0.6"):
        await given(ipam, pool, address)
    docker.kept = {IPAddress(each) for each in ("10.40.0.1", "10.40.0.5", "10.40.9.9")}
    docker.names = {"10.40.0.6": "web"}
    text = await full(ipam, pool)
    assert "4 are held by containers (web and 3 more), 1 by the gateway and 1 by --aux" in text
    with pytest.raises(AddressError, match=r"10\.40\.0\.5 .* is kept back as an --aux-address sin"):
        await given(ipam, pool, "10.40.0.5")
    with pytest.raises(AddressError, match=r"10\.40\.0\.6 .* is held by container web since"):
        await given(ipam, pool, "10.40.0.6")
    docker.names = {}
    with pytest.raises(AddressError, match=r"10\.40\.0\.6 .* is held by a container since"):
        await given(ipam, pool, "10.40.0.6")
    docker.kept = None
    with pytest.raises(AddressError, match="held by a container or as an --aux-address since"):
        await given(ipam, pool, "10.40.0.6")


async def test_an_overlap_names_the_network_of_the_other_pool(ipam, docker):
    await new_pool(ipam, SUBNET)
    docker.of = "lab"
    with pytest.raises(
        OverlapError, match=r"in address space ovsnet \(network lab, pool ovsnet/10"
    ):
        await ipam.request_pool(PoolRequest(space="ovsnet", subnet=IPNetwork("10.40.0.0/16")))


async def test_kinds_are_counted_without_looking_at_leases(start, store):
    ipam = await start()
    pool = await new_pool(ipam, SUBNET)
    for kind, address in (
        (LeaseKind.GATEWAY, ""),
        (LeaseKind.AUX, ""),
        (LeaseKind.AUX, "10.40.0.6"),
    ):
        await given(ipam, pool, address, kind=kind)
    ipam = await start()
    before = store.reads
    assert "3 are held by containers, 1 by the gateway and 2 by --aux" in await full(ipam, pool)
    await release(ipam, pool, "10.40.0.6")
    assert "4 are held by containers, 1 by the gateway and 1 by --aux" in await full(ipam, pool)
    await release(ipam, pool, "10.40.0.1")
    assert "5 are held by containers and 1 by --aux" in await full(ipam, pool)
    assert store.reads == before
