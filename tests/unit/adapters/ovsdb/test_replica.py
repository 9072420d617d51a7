"""The copy of the watched tables follows the server's notifications."""

import gc
import sys
from types import FrameType
from typing import Any

import pytest

from ovsdriver.adapters.ovsdb import Replica, RowChange, Schema
from tests.unit.adapters.ovsdb.small_schema import SCHEMA, WATCHED


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def references(*numbers: int) -> Any:
    return ["set", [["uuid", uuid(number)] for number in numbers]]


@pytest.fixture
async def replica() -> Replica:
    """One bridge with ports 1 and 2."""
    replica = Replica(Schema(SCHEMA), WATCHED)
    await replica.load(
        {
            "Bridge": {uuid(9): {"initial": {"name": "br", "ports": references(1, 2)}}},
            "Port": {
                uuid(1): {
                    "initial": {"name": "p1", "tag": 5, "external_ids": ["map", [["k", "v"]]]}
                },
                uuid(2): {"initial": {"name": "p2", "trunks": ["set", [5, 6]]}},
            },
        }
    )
    return replica


def holder_of(replica: Replica, number: int) -> str | None:
    row = replica.holder("Bridge", "ports", uuid(number))
    return row["name"] if row else None


def test_only_columns_that_exist_are_asked_for() -> None:
    requests = Replica(Schema(SCHEMA), WATCHED).requests()

    assert requests["Bridge"] == [{"columns": ["name", "ports", "external_ids"]}]


def test_rows_are_found_by_name_uuid_and_holder(replica: Replica) -> None:
    row = replica.named("Port", "p1")

    assert row is replica.row("Port", uuid(1))
    assert row is not None
    assert (row["tag"], row["trunks"], row["external_ids"]) == (5, set(), {"k": "v"})
    assert holder_of(replica, 1) == "br"
    assert len(list(replica.rows("Port"))) == 2
    assert replica.named("Port", "p3") is None
    assert replica.row("Port", uuid(3)) is None
    assert holder_of(replica, 3) is None


def test_an_inserted_row_appears(replica: Replica) -> None:
    before = replica.version

    changes = replica.apply(
        {
            "Port": {uuid(3): {"insert": {"name": "p3"}}},
            "Bridge": {uuid(9): {"modify": {"ports": references(3)}}},
        }
    )

    assert [(change.table, change.old is None) for change in changes] == [
        ("Port", True),
        ("Bridge", False),
    ]
    assert replica.named("Port", "p3") is not None
    assert holder_of(replica, 3) == holder_of(replica, 1) == "br"
    assert replica.version > before


def test_a_deleted_row_disappears(replica: Replica) -> None:
    changes = replica.apply(
        {
            "Port": {uuid(1): {"delete": None}},
            "Bridge": {uuid(9): {"modify": {"ports": references(1)}}},
        }
    )

    assert changes[0].new is None
    assert changes[0].old is not None
    assert changes[0].old["name"] == "p1"
    assert replica.named("Port", "p1") is None
    assert holder_of(replica, 1) is None
    bridge = replica.named("Bridge", "br")
    assert bridge is not None
    assert bridge["ports"] == {uuid(2)}


def test_differences_toggle_members_of_sets_and_maps(replica: Replica) -> None:
    replica.apply(
        {
            "Port": {
                uuid(1): {"modify": {"external_ids": ["map", [["k", "w"], ["l", "x"]]], "tag": 8}},
                uuid(2): {"modify": {"trunks": ["set", [6, 7]]}},
            }
        }
    )
    replica.apply({"Port": {uuid(1): {"modify": {"external_ids": ["map", [["l", "x"]]]}}}})

    one, two = replica.named("Port", "p1"), replica.named("Port", "p2")
    assert one is not None
    assert two is not None
    assert (one["external_ids"], one["tag"]) == ({"k": "w"}, 8)
    assert two["trunks"] == {5, 7}


def test_an_optional_value_is_replaced_and_not_toggled(replica: Replica) -> None:
    replica.apply({"Port": {uuid(1): {"modify": {"tag": ["set", []]}}}})
    row = replica.named("Port", "p1")

    assert row is not None
    assert row["tag"] is None


def test_a_changed_row_is_another_object(replica: Replica) -> None:
    before = replica.named("Port", "p1")

    [change] = replica.apply({"Port": {uuid(1): {"modify": {"number": 3}}}})

    assert change == RowChange("Port", before, replica.named("Port", "p1"))
    assert before is not None
    assert before["number"] == 0


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_name_that_passes_to_another_row_is_found_there(replica: Replica, first: str) -> None:
    updates = {uuid(1): {"delete": None}, uuid(3): {"insert": {"name": "p1", "tag": 6}}}
    if first == "new":
        updates = dict(reversed(updates.items()))

    replica.apply({"Port": updates})

    row = replica.named("Port", "p1")
    assert row is not None
    assert row["tag"] == 6


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_port_that_moves_to_another_bridge_is_held_there(replica: Replica, first: str) -> None:
    moves = {
        uuid(9): {"modify": {"ports": references(1)}},
        uuid(8): {"insert": {"name": "br2", "ports": references(1)}},
    }
    if first == "new":
        moves = dict(reversed(moves.items()))

    replica.apply({"Bridge": moves})

    assert holder_of(replica, 1) == "br2"
    assert holder_of(replica, 2) == "br"


def test_a_deleted_bridge_holds_nothing(replica: Replica) -> None:
    replica.apply({"Bridge": {uuid(9): {"delete": None}}})

    assert holder_of(replica, 1) is None
    assert replica.named("Bridge", "br") is None


def test_updates_of_the_older_kind_are_understood(replica: Replica) -> None:
    replica.apply(
        {
            "Bridge": {
                uuid(9): {
                    "old": {"ports": references(1, 2)},
                    "new": {"name": "br", "ports": references(2, 3)},
                }
            },
            "Port": {
                uuid(1): {"old": {"name": "p1", "tag": 5}},
                uuid(2): {"old": {"tag": ["set", []]}, "new": {"name": "p2", "tag": 9}},
                uuid(3): {"new": {"name": "p3", "tag": 7}},
            },
        }
    )

    assert replica.named("Port", "p1") is None
    assert {row["name"]: row["tag"] for row in replica.rows("Port")} == {"p2": 9, "p3": 7}
    assert [holder_of(replica, number) for number in (1, 2, 3)] == [None, "br", "br"]


async def test_an_update_costs_the_same_however_many_ports_there_are() -> None:
    assert await calls_for_one_more(100) == await calls_for_one_more(2000)


async def calls_for_one_more(ports: int) -> int:
    """Count the Python function calls of the update that adds one port to so many."""
    replica = Replica(Schema(SCHEMA), WATCHED)
    numbers = range(1, ports + 1)
    rows = {uuid(number): {"initial": {"name": f"p{number}"}} for number in numbers}
    bridge = {"initial": {"name": "br", "ports": references(*numbers)}}
    await replica.load({"Port": rows, "Bridge": {uuid(0): bridge}})
    update = {
        "Port": {uuid(ports + 1): {"insert": {"name": "new"}}},
        "Bridge": {uuid(0): {"modify": {"ports": references(ports + 1)}}},
    }
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()  # its callbacks, which test tools have, would be counted too
    sys.setprofile(note)
    try:
        replica.apply(update)
    finally:
        sys.setprofile(None)
        gc.enable()
    assert holder_of(replica, ports + 1) == "br"
    return count
