"""Values are checked against the schema before they are sent, and read by it."""

from typing import Any

import pytest

from ovsdriver.adapters.ovsdb import RefusedError, Schema
from tests.unit.adapters.ovsdb.small_schema import SCHEMA

UUID = ["uuid", "11111111-1111-4111-8111-111111111111"]


@pytest.fixture
def schema() -> Schema:
    return Schema(SCHEMA)


def insert(**row: Any) -> dict[str, Any]:
    return {"op": "insert", "table": "Port", "uuid-name": "new", "row": row}


def mutate(table: str, *mutation: Any) -> dict[str, Any]:
    return {"op": "mutate", "table": table, "where": [], "mutations": [list(mutation)]}


@pytest.mark.parametrize(
    "operation",
    [
        insert(name="a", tag=0, trunks=["set", [1, 4095]], external_ids=["map", [["k", "v"]]]),
        insert(tag=["set", []], owner=UUID, up=True),
        mutate("Bridge", "ports", "insert", ["named-uuid", "new"]),
        mutate("Bridge", "ports", "delete", ["set", [UUID]]),
        mutate("Bridge", "external_ids", "delete", ["set", ["k"]]),
        mutate("Bridge", "external_ids", "delete", ["map", [["k", "v"]]]),
        mutate("Port", "number", "+=", 1),
        {"op": "wait", "table": "Port", "where": [], "rows": []},
    ],
)
def test_what_fits_the_schema_passes(schema: Schema, operation: dict[str, Any]) -> None:
    schema.check([insert(name="new"), operation])


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        pytest.param(insert(tag=99999), r"Port\.tag.*0 to 4095", id="range"),
        pytest.param(insert(tag="5"), r"Port\.tag", id="type"),
        pytest.param(insert(trunks=["set", [5, 4096]]), r"Port\.trunks", id="member"),
        pytest.param(insert(trunks=["set", [5, 5]]), r"Port\.trunks.*duplicate", id="twice"),
        pytest.param(insert(tag=["set", [1, 2]]), r"Port\.tag.*0 to 1", id="too many"),
        pytest.param(insert(external_ids=["map", [["k", 1]]]), r"external_ids", id="map value"),
        pytest.param(insert(tagg=1), "tagg of Port", id="column"),
        pytest.param({"op": "insert", "table": "Prot", "row": {}}, "Prot", id="table"),
        pytest.param(mutate("Bridge", "ports", "insert", "x"), r"Bridge\.ports", id="reference"),
        pytest.param(mutate("Bridge", "porst", "insert", UUID), "porst of Bridge", id="mutated"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    schema: Schema, operation: dict[str, Any], words: str
) -> None:
    with pytest.raises(RefusedError, match=words):
        schema.check([operation])


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(RefusedError, match="schema"):
        Schema({"name": "x"})


@pytest.mark.parametrize(
    ("name", "json", "value"),
    [
        ("name", "a", "a"),
        ("number", 7, 7),
        ("up", True, True),
        ("tag", 5, 5),
        ("tag", ["set", []], None),
        ("tag", ["set", [5]], 5),
        ("owner", UUID, UUID[1]),
        ("trunks", 5, {5}),
        ("trunks", ["set", [5, 6]], {5, 6}),
        ("external_ids", ["map", [["k", "v"]]], {"k": "v"}),
    ],
)
def test_a_value_is_read_by_its_columns_type(
    schema: Schema, name: str, json: Any, value: Any
) -> None:
    column = schema.columns("Port", [name])[name]

    assert column.read(json) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("number", 0),
        ("up", False),
        ("tag", None),
        ("owner", "00000000-0000-0000-0000-000000000000"),
        ("trunks", set()),
        ("external_ids", {}),
    ],
)
def test_a_value_that_is_not_sent_is_its_types_default(
    schema: Schema, name: str, value: Any
) -> None:
    default = schema.columns("Port", [name])[name].default()

    assert default == value
    assert type(default) is type(value)


def test_columns_that_this_version_lacks_are_left_out(schema: Schema) -> None:
    assert schema.columns("Bridge", ["name", "from_the_future"]).keys() == {"name"}


def test_a_table_that_the_database_lacks_is_an_error(schema: Schema) -> None:
    with pytest.raises(RefusedError, match="Interface"):
        schema.columns("Interface", ["name"])
