"""What plainly fits a column fits for python-ovs too."""

from typing import Any

import ovs.db.error
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ovs.db.data import Datum
from ovs.db.types import Type

from ovsdriver.adapters.ovsdb.tables.fitting import plainly
from tests.unit.adapters.ovsdb.small_schema import SCHEMA

UUID = "11111111-1111-4111-8111-111111111111"
NAMES = {"new": UUID, "other": UUID}
MODES = {"type": "string", "enum": ["set", ["access", "trunk"]]}

KINDS: dict[str, Any] = {
    **{
        f"{table}.{name}": column["type"]
        for table, content in SCHEMA["tables"].items()
        for name, column in content["columns"].items()
    },
    "enum": {"key": MODES, "min": 0, "max": 1},
    "short": {"key": {"type": "string", "minLength": 1, "maxLength": 3}},
    "shorter": {"key": {"type": "string", "maxLength": 3}},
    "real": {"key": "real"},
    "two": {"key": "string", "min": 1, "max": 2},
    "of ports": {"key": {"type": "uuid", "refTable": "Port"}, "min": 0, "max": 2},
    "counts": {"key": "string", "value": {"type": "integer", "maxInteger": 9}, "min": 0, "max": 2},
}

FITTING: dict[str, list[Any]] = {
    "Bridge.name": ["", "br0"],
    "Port.tag": [0, 4095, ["set", []], ["set", [5]]],
    "Port.trunks": [7, ["set", [1, 2]], ["set", []]],
    "Port.number": [-(2**63), 2**63 - 1],
    "Port.up": [True],
    "Port.external_ids": [["map", []], ["map", [["k", "v"], ["l", ""]]]],
    "Bridge.ports": [["named-uuid", "new"], ["set", [["named-uuid", "new"]]], ["set", []]],
    "enum": ["access", ["set", []]],
    "shorter": ["abc"],
}

_ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.sampled_from([0, 1, 5, 9, 10, 4095, 4096, 2**63 - 1, 2**63, 1.0, 2.5]),
    st.sampled_from(["", "a", "abc", "abcd", "access", "map", "set", "new", "k"]),
    st.sampled_from([["named-uuid", "new"], ["named-uuid", "x"], ["uuid", UUID], ["uuid", "x"]]),
)
_VALUES = st.one_of(
    _ATOMS,
    st.tuples(st.sampled_from(["set", "map"]), st.lists(_ATOMS, max_size=4)).map(list),
    st.lists(st.tuples(_ATOMS, _ATOMS).map(list), max_size=4).map(lambda pairs: ["map", pairs]),
    st.lists(_ATOMS, max_size=3),
)


@pytest.mark.parametrize("name", FITTING)
def test_the_common_forms_are_told(name: str) -> None:
    fits = plainly(Type.from_json(KINDS[name]))
    assert all(fits(value, NAMES) for value in FITTING[name])


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(name=st.sampled_from(sorted(KINDS)), value=_VALUES)
def test_what_is_told_to_fit_does(name: str, value: Any) -> None:
    kind = Type.from_json(KINDS[name])
    if plainly(kind)(value, NAMES):
        Datum.from_json(kind, value, NAMES)


@pytest.mark.parametrize("value", [["set", [5, 5]], ["set", [4096]], 99999, "5", ["set", 5]])
def test_what_does_not_fit_is_not(value: Any) -> None:
    kind = Type.from_json(KINDS["Port.trunks"])
    assert not plainly(kind)(value, NAMES)
    with pytest.raises((ovs.db.error.Error, TypeError)):
        Datum.from_json(kind, value, NAMES)
