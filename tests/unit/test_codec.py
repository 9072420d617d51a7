from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import EUI, IPAddress, IPNetwork, IPRange, mac_unix_expanded

from ovsdriver import codec
from ovsdriver.codec import UnreadableError, Written

Name = NewType("Name", str)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    TYPE: ClassVar[str] = "circle"
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    TYPE: ClassVar[str] = "square"
    side: int = 1


class Place(NamedTuple):
    address: IPAddress
    name: str = ""


def even(text: str) -> str:
    if not text.isdigit() or int(text) % 2:
        raise ValueError(f"{text} is not even")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: Name
    colour: Colour = Colour.RED
    size: Size = Size.SMALL
    weight: float = 0.0
    there: bool = False
    address: IPAddress | None = None
    subnet: IPNetwork | None = None
    ranges: tuple[IPRange, ...] = ()
    mac: EUI | None = None
    shapes: tuple[Circle | Square, ...] = ()
    options: Mapping[str, str | None] = field(default_factory=dict)
    place: Place | None = None
    whatever: object = None
    count: Annotated[str, Written(even)] = "0"


FULL = Thing(
    name=Name("n"),
    colour=Colour.BLUE,
    weight=1.5,
    there=True,
    address=IPAddress("fd00::5"),
    subnet=IPNetwork("10.0.0.5/24"),
    ranges=(IPRange("10.0.0.5", "10.0.0.5"), IPRange("10.0.0.7", "10.0.0.9")),
    mac=EUI("02:00:00:00:00:01", dialect=mac_unix_expanded),
    shapes=(Circle(radius=2.0), Square()),
    options={"a": "b", "c": None},
    place=Place(address=IPAddress("10.0.0.9")),
    whatever=[1, {"x": None}],
)


def test_what_is_written_is_read_again() -> None:
    text = codec.encode(FULL)
    assert codec.decode(Thing, text, strict=True) == FULL
    assert '"subnet":"10.0.0.5/24","ranges":["10.0.0.5","10.0.0.7-10.0.0.9"]' in text
    assert '"place":{"address":"10.0.0.9","name":""}' in text
    assert '"shapes":[{"type":"circle","radius":2.0},{"type":"square","side":1}]' in text


def test_lists_at_the_top_are_read_too() -> None:
    assert codec.decode(tuple[Square, ...], '[{"side": 3}]') == (Square(side=3),)


def test_a_named_tuple_lacks_only_what_has_a_default() -> None:
    found = codec.decode(Thing, '{"name": "n", "place": {"address": "::1"}}', strict=True)
    assert found.place == Place(address=IPAddress("::1"))
    with pytest.raises(UnreadableError, match=r"^place.address: missing$"):
        codec.decode(Thing, '{"name": "n", "place": {}}')


def test_our_own_is_read_tolerantly_and_what_others_wrote_is_not() -> None:
    text = '{"name": "n", "later": 1}'
    assert codec.decode(Thing, text) == Thing(name=Name("n"))
    with pytest.raises(UnreadableError, match=r"^later: there is no such member$"):
        codec.decode(Thing, text, strict=True)


def test_an_object_that_does_not_say_what_it_is_is_the_first_of_its_union() -> None:
    found = codec.decode(Thing, '{"name": "n", "shapes": [{"radius": 1}]}')
    assert found.shapes == (Circle(radius=1),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not JSON: Expecting property name"),
        ("[]", "a list, not an object"),
        ('"x"', "a text ('x'), not an object"),
        ("NaN", "not usable: NaN is not JSON"),
        ("{}", "name: missing"),
        ('{"name": 5}', "name: a whole number, not a text"),
        ('{"name": null}', "name: null, not a text"),
        ('{"name": "\\ud800"}', "name: '\\ud800' is not Unicode text: half of a pair"),
        ('{"name": "n", "there": 1}', "there: a whole number, not true or false"),
        ('{"name": "n", "weight": true}', "weight: true or false, not a number"),
        ('{"name": "n", "colour": "green"}', "colour: 'green' is none of red, blue"),
        ('{"name": "n", "colour": []}', "colour: [] is none of red, blue"),
        ('{"name": "n", "size": 7}', "size: 7 is none of 1"),
        ('{"name": "n", "address": "10.0.0.5/24"}', "address: '10.0.0.5/24' is not an address"),
        ('{"name": "n", "address": 5}', "address: a whole number, not a text"),
        ('{"name": "n", "subnet": "x"}', "subnet: 'x' is not an address with a prefix length"),
        ('{"name": "n", "ranges": ["10.0.0.5", "y"]}', "ranges[1]: 'y' is not a range of"),
        ('{"name": "n", "mac": "x"}', "mac: 'x' is not a MAC address"),
        ('{"name": "n", "shapes": {}}', "shapes: an object, not a list"),
        ('{"name": "n", "shapes": [{"type": "cube"}]}', "shapes[0].type: 'cube' is none of"),
        ('{"name": "n", "shapes": [{}]}', "shapes[0].radius: missing"),
        ('{"name": "n", "options": {"a": 5}}', "options.a: a whole number, not a text"),
        ('{"name": "n", "options": {"\\n": 5}}', "options.'\\n': a whole number, not a text"),
        ('{"name": "n", "count": "3"}', "count: 3 is not even"),
        ('{"name": "n", "count": 4}', "count: a whole number, not a text"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(UnreadableError) as refused:
        codec.decode(Thing, text, strict=True)
    assert str(refused.value)[: len(sentence)] == sentence


def test_a_text_of_others_has_a_length() -> None:
    long = codec.encode(Thing(name=Name("x" * 5000)))
    assert codec.decode(Thing, long).name == "x" * 5000
    with pytest.raises(UnreadableError, match=r"^name: 5000 characters; at most 4096 are read$"):
        codec.decode(Thing, long, strict=True)


def test_bytes_that_are_no_text_and_nests_without_an_end_are_refused() -> None:
    with pytest.raises(UnreadableError, match="byte 1 is not UTF-8"):
        codec.decode(Thing, b'"\xff"')
    with pytest.raises(UnreadableError):
        codec.decode(Thing, "[" * 1_000_000)


def test_what_has_no_form_is_refused_and_not_written_as_something_else() -> None:
    with pytest.raises(TypeError):
        codec.encode(Thing(name=Name("n"), whatever=Path("/s")))


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Thing.__slots__, "type"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(junk=_JUNK)
def test_junk_is_a_value_or_a_sentence(junk: Any) -> None:
    sentence = ""
    for strict in (False, True):
        try:
            assert isinstance(codec.read(Thing, junk, strict=strict), Thing)
        except UnreadableError as error:
            sentence += str(error)
    assert sentence.isprintable()
