"""What a list of reservations changes, and which pool an address is of."""

import pytest
from netaddr import IPAddress, IPNetwork

from ipam.model import AddressRequest, PoolRequest, Reservation
from ovsdriver.admin import asks
from ovsdriver.admin.addresses import reservation_report as reports
from ovsdriver.admin.addresses.desk import IpamDesk
from ovsdriver.admin.addresses.reservation_desk import ReservationDesk
from ovsdriver.errors import ConflictError, UnknownObjectError
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

NOW = 9.0
"""Seconds since the epoch."""


def of(address: str, name: str = "", *, space: str = "s", note: str = "", created: float = 0.0):
    return Reservation(
        space=space, address=IPAddress(address), name=name, note=note, created=created
    )


def plan(there: list[Reservation], wanted: list[Reservation], **said: object) -> reports.Plan:
    settings = {"prune": (), "rename": False, "dry_run": False, "now": NOW} | said
    return reports.plan(there, wanted, **settings)  # type: ignore[arg-type]


def test_what_is_there_already_is_left_alone():
    there = [of("10.0.0.1", "a", note="n", created=5.0), of("10.0.0.2", created=6.0)]
    made = plan(there, [of("10.0.0.2"), of("10.0.0.1", "a", note="n")], prune=["s"])
    assert (made.put, made.drop, made.changes.same) == ((), (), 2)


def test_another_note_keeps_since_when_it_is_reserved():
    made = plan([of("10.0.0.1", "a", created=5.0)], [of("10.0.0.1", "a", note="n")])
    assert made.put == (of("10.0.0.1", "a", note="n", created=5.0),)
    assert made.drop == ()


def test_another_name_ends_the_earlier_reservation_where_it_may():
    there, wanted = [of("10.0.0.1", "a", created=5.0)], [of("10.0.0.1", "b")]
    assert plan(there, wanted).drop == ()
    allowed = plan(there, wanted, rename=True)
    assert allowed.drop == (("s", IPAddress("10.0.0.1")),)
    assert allowed.put == (of("10.0.0.1", "b", created=NOW),)


def test_what_is_added_is_kept_since_now():
    made = plan([], [of("10.0.0.1")])
    assert made.changes.added == made.put == (of("10.0.0.1", created=NOW),)


def test_places_tell_where_in_the_list_each_change_stands():
    wanted = [of("10.0.0.1"), of("10.0.0.2"), of("10.0.0.3"), of("10.0.0.4", note="n")]
    made = plan([of("10.0.0.1"), of("10.0.0.4")], wanted)
    assert made.places == (1, 2, 3)


@pytest.mark.parametrize(
    ("prune", "removed"), [((), []), (("s",), ["s"]), (("x",), []), (None, ["s", "t"])]
)
def test_only_the_pruned_spaces_lose_what_is_not_listed(
    prune: tuple[str, ...] | None, removed: list[str]
):
    there = [of("10.0.0.1", space=space) for space in "st"]
    made = plan(there, [of("10.0.0.2")], prune=prune)
    assert [each.space for each in made.changes.removed] == removed
    assert [space for space, _ in made.drop] == removed


def desks(host: Host) -> tuple[IpamDesk, ReservationDesk]:
    addresses = IpamDesk(state=host.state, ipam=host.ipam, engine=host.engine)
    return addresses, ReservationDesk(addresses=addresses, ipam=host.admin.own_ipam)


async def test_an_address_is_found_in_its_pool_and_nowhere_between(host: Host):
    addresses, _ = desks(host)
    for space, subnet in (("s", "10.0.2.0/24"), ("s", "10.0.0.0/24"), ("t", "10.0.0.0/16")):
        await host.ipam.request_pool(PoolRequest(space=space, subnet=IPNetwork(subnet)))
    index = reports.PoolIndex(await addresses.chosen())

    def found(address: str) -> list[tuple[str, str]]:
        return [
            (each.pool.space, str(each.pool.subnet)) for each in index.having(IPAddress(address))
        ]

    assert found("10.0.0.255") == [("s", "10.0.0.0/24"), ("t", "10.0.0.0/16")]
    assert found("10.0.1.0") == [("t", "10.0.0.0/16")]
    assert found("10.0.2.0") == [("s", "10.0.2.0/24"), ("t", "10.0.0.0/16")]
    assert found("9.255.255.255") == found("10.1.0.0") == found("::a00:1") == []


async def test_the_holder_on_our_network_is_told_by_dockers_name(host: Host):
    _, desk = desks(host)
    await host.create_network()
    address = await host.run_container()
    host.engine.add_network(RED, "lab")
    host.engine.add_endpoint(FIRST, RED, "web")
    await desk.reserve(asks.Reserve(address=address, name="web", network="lab"))
    (kept,) = await desk.reservations(asks.ListReservations(network=RED[:6]))
    assert kept.reservation.address == address
    assert (kept.network_name, kept.holder) == ("lab", "container web")
    host.engine.up = False
    (kept,) = await desk.reservations(asks.ListReservations(network=RED[:6]))
    assert (kept.network_name, kept.holder) == ("", f"endpoint {FIRST[:12]}")


async def test_of_two_families_the_ipv4_pool_is_chosen_from(host: Host):
    addresses, _ = desks(host)
    for family in (6, 4):
        await host.ipam.request_pool(PoolRequest(space="s", family=family))
    six, four = await addresses.chosen()
    assert reports.pool_to_choose_from([six, four], network="lab") is four
    assert reports.pool_to_choose_from([six], network="lab") is six
    with pytest.raises(ConflictError, match="and 1 more; say which"):
        reports.pool_to_choose_from([four] * 6, network="")
    with pytest.raises(UnknownObjectError):
        reports.pool_to_choose_from([], network="lab")


async def test_a_full_pool_has_no_address_to_reserve(host: Host):
    _, desk = desks(host)
    pool = await host.ipam.request_pool(PoolRequest(space="s", subnet=IPNetwork("10.0.0.0/30")))
    await host.ipam.request_address(AddressRequest(pool=pool.id, address=IPAddress("10.0.0.1")))
    made = await desk.reserve(asks.Reserve(name="web", space="s"))
    assert made.reservation.reservation.address == IPAddress("10.0.0.2")
    with pytest.raises(Exception, match=r"is full: of its 2 addresses .*, 1 reserved"):
        await desk.reserve(asks.Reserve(name="db", space="s"))


async def test_many_changes_are_logged_in_a_few_lines(host: Host, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    _, desk = desks(host)
    wanted = (asks.Wanted(space="s", address=IPAddress(f"10.0.0.{last}")) for last in range(1, 101))
    await desk.apply(asks.ApplyReservations(reservations=tuple(wanted)))
    lines = [each for each in caplog.records if each.message == "reservation.made"]
    assert len(lines) == 21
    assert vars(lines[-1])["further"] == 80
