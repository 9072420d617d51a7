"""The IPAM's calls on the real sockets: repeated, late, nonsensical, with names."""

from collections.abc import Iterator
from signal import SIGKILL

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.wire import Wire, leases, pools

pytestmark = pytest.mark.docker

CALLS = ("RequestPool", "ReleasePool", "RequestAddress", "ReleaseAddress")


@pytest.fixture
def bed(shared_bed: Bed) -> Iterator[Bed]:
    """The shared bed, on which no pool stays: nothing else is touched here."""
    shared_bed.revive()
    yield shared_bed
    assert pools(shared_bed) == []


@pytest.fixture(params=["ovsipam", "ovsnet"])
def wire(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """A caller of one of the sockets, whose pools are released afterwards."""
    wire = Wire(bed, request.param)
    yield wire
    for each in pools(bed):
        wire.release_pool(each["pool"]["id"])


def held(bed: Bed) -> list[tuple[str, str, str, int]]:
    """Return every lease with pool, kind and serial, which no other lease ever has."""
    return [
        (
            pool["pool"]["id"],
            each["lease"]["address"],
            each["lease"]["kind"],
            each["lease"]["serial"],
        )
        for pool in pools(bed)
        for each in leases(bed, pool["pool"]["id"])
    ]


def test_calls_that_come_twice_give_twice_or_change_nothing(bed: Bed, wire: Wire) -> None:
    automatic = [wire.pool() for _ in range(2)]
    assert len({each["pool"]["subnet"] for each in pools(bed)}) == 2, "a new one at every call"
    pool = wire.pool("10.77.1.0/24")
    assert wire.address(pool, gateway=True) == "10.77.1.1"
    second = wire.request_address(pool, gateway=True)
    assert "10.77.1.0/24 has the gateway 10.77.1.1; it cannot have a second one" in second["Error"]
    assert [wire.address(pool), wire.address(pool)] == ["10.77.1.2", "10.77.1.3"]
    again = wire.request_pool("10.77.1.0/24")
    assert "10.77.1.0/24 overlaps 10.77.1.0/24 in address space ovsnet" in again["Error"]
    assert wire.address(pool, "10.77.1.9") == "10.77.1.9"
    assert "10.77.1.9 of 10.77.1.0/24 is held by" in wire.refusal(pool, "10.77.1.9")
    before = held(bed)
    for _ in range(2):
        assert wire.release_address(pool, "10.77.1.2") == {}
    assert wire.address(pool) == "10.77.1.2"
    after = held(bed)
    assert [each[:3] for each in after] == [each[:3] for each in before]
    for _ in range(2):
        assert wire.release_pool(pool) == {}
    assert [each["pool"]["id"] for each in pools(bed)] == automatic
    assert held(bed) == []


def test_calls_that_come_late_find_nothing_and_harm_nothing(bed: Bed, wire: Wire) -> None:
    old = wire.pool("10.77.1.0/24")
    assert wire.address(old) == "10.77.1.2"
    wire.release_pool(old)
    new = wire.pool("10.77.1.0/24")
    assert new != old
    assert wire.address(new) == "10.77.1.2"
    before = held(bed)
    assert wire.release_address(old, "10.77.1.2") == {}
    assert wire.release_pool(old) == {}
    assert "is not known here, or it was released; remove its network" in wire.refusal(old)
    for unknown in ("10.77.1.200", "10.99.9.9", "fd00::1", "10.77.1.0"):
        assert wire.release_address(new, unknown) == {}
    assert wire.release_address("nobody's", "10.77.1.2") == {}
    assert wire.release_pool("nobody's") == {}
    bed.restart_plugin(SIGKILL)
    assert held(bed) == before
    assert wire.release_address(old, "10.77.1.2") == {}
    assert held(bed) == before


def test_calls_without_a_body_are_refused_where_they_need_one(bed: Bed, wire: Wire) -> None:
    pool = wire.pool("10.77.1.0/24")
    wire.address(pool)
    before = held(bed)
    for call in CALLS:
        for body in (None, {}, [], "text", {"PoolID": None}, {"PoolID": 5, "Pool": 5}):
            answer = wire.call(f"IpamDriver.{call}", body)
            if call == "RequestPool" and body in ({}, {"PoolID": None}):
                assert answer["Pool"], "no argument of it is needed"
                wire.release_pool(answer["PoolID"])
                continue
            assert answer["Error"], (call, body)
            assert answer["Error"] == answer["Err"]
    assert wire.call("IpamDriver.GetCapabilities") == {"RequiresRequestReplay": False}
    assert wire.call("IpamDriver.GetCapabilities", {}) == {"RequiresRequestReplay": False}
    assert held(bed) == before
    assert [each["pool"]["id"] for each in pools(bed)] == [pool]


def test_a_container_s_name_gets_its_address_again(bed: Bed, wire: Wire) -> None:
    """Engines from 29 on tell it. Names are remembered for a quarter of the addresses."""
    pool = wire.pool("10.77.1.0/28", quarantine="0s")
    names = ("web", "db", "mail", "old")
    first = {name: wire.address(pool, name=name) for name in names}
    assert list(first.values()) == [f"10.77.1.{n}" for n in (2, 3, 4, 5)]
    for name in ("old", "web", "db", "mail"):
        wire.release_address(pool, first[name])
    bed.restart_plugin(SIGKILL)
    assert wire.address(pool, name="another") == "10.77.1.5", "three of 14 are remembered"
    assert wire.address(pool) == "10.77.1.6", "nor is one of those given to who has no name"
    for name in ("mail", "db", "web"):
        assert wire.address(pool, name=name) == first[name]
    assert wire.address(pool, name="old") == "10.77.1.7"
    assert {each["lease"]["name"]: each["lease"]["address"] for each in leases(bed, pool)}[
        "web"
    ] == first["web"]


def test_a_name_s_address_is_another_s_only_where_there_is_no_other(wire: Wire) -> None:
    pool = wire.pool("10.77.1.0/29")
    assert wire.address(pool, name="web") == "10.77.1.2"
    wire.release_address(pool, "10.77.1.2")
    others = [wire.address(pool, name=f"n{number}") for number in range(5)]
    assert others == [f"10.77.1.{n}" for n in (3, 4, 5, 6, 2)]
    wire.release_address(pool, "10.77.1.4")
    assert wire.address(pool, name="web") == "10.77.1.4"


def test_docker_finds_its_networks_as_before_when_it_is_started_again(
    bed: Bed, shared_bed: Bed
) -> None:
    stage = Stage(bed)
    network = stage.network("one", subnet="10.77.1.0/24")
    bridged = stage.network("two", driver="bridge", subnet="10.77.2.0/24")
    before = [(each["pool"]["subnet"], each["usage"]["held"]) for each in pools(bed)]
    bed.dockerd.stop(SIGKILL)
    bed.restart_plugin(SIGKILL)
    bed.start_docker()
    assert [(each["pool"]["subnet"], each["usage"]["held"]) for each in pools(bed)] == before
    ann, bob = stage.container("ann", network), stage.container("bob", bridged)
    assert (ann.address(network), bob.address(bridged)) == ("10.77.1.2", "10.77.2.2")
    stage.clear()
