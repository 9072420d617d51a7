import json

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.errors import InvalidRequestError
from ovsdriver.words.fields import Fields


def refusal(read, *arguments: object) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        read(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({}, id="absent"),
        pytest.param({"M": None}, id="null"),
        pytest.param({"M": ""}, id="empty"),
    ],
)
def test_absent_null_and_empty_texts_read_alike(members):
    fields = Fields(members)
    assert fields.text("M") == ""
    assert fields.address("M") is None
    assert fields.subnet("M") is None
    assert fields.interface("M", 4) is None
    assert fields.mac("M") is None
    assert refusal(fields.required, "M") == "M: missing; this call needs it"


@pytest.mark.parametrize("value", [None, {}], ids=["null", "empty"])
def test_absent_null_and_empty_objects_read_alike(value):
    assert (
        list(Fields({}).inner("M").items()) == list(Fields({"M": value}).inner("M").items()) == []
    )


@pytest.mark.parametrize("value", [None, []], ids=["null", "empty"])
def test_absent_null_and_empty_lists_read_alike(value):
    assert list(Fields({}).each("M")) == list(Fields({"M": value}).each("M")) == []


def test_absent_and_null_numbers_and_truths_read_alike():
    for fields in (Fields({}), Fields({"M": None})):
        assert fields.integer("M", 0, 9) == 0
        assert fields.flag("M") is False


def test_members_match_without_regard_to_case_unless_one_matches_exactly():
    fields = Fields({"networkid": "lower", "POOLID": "upper", "PoolID": "exact"})
    assert fields.text("NetworkID") == "lower"
    assert fields.text("PoolID") == "exact"


def test_a_null_member_does_not_hide_one_in_another_case():
    assert Fields({"NetworkID": None, "networkid": "n1"}).text("NetworkID") == "n1"


def test_members_that_nobody_asks_for_are_ignored():
    assert Fields({"Later": object(), "PoolID": "p"}).text("PoolID") == "p"


@pytest.mark.parametrize(
    ("read", "value", "sentence"),
    [
        pytest.param("text", 5, "M: a number, not a text", id="text"),
        pytest.param("text", ["x"], "M: a list, not a text", id="text-list"),
        pytest.param("flag", "true", 'M: a text ("true"), not true or false', id="flag"),
        pytest.param("flag", 1, "M: a number, not true or false", id="flag-number"),
        pytest.param("inner", [], "M: a list, not an object", id="object"),
        pytest.param("inner", "x", 'M: a text ("x"), not an object', id="object-text"),
    ],
)
def test_a_member_of_the_wrong_type_is_refused_with_its_place(read, value, sentence):
    assert refusal(getattr(Fields({"M": value}), read), "M") == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param(True, "M: true or false, not a number", id="truth"),
        pytest.param(1.0, "M: a number with a fraction, not a number", id="fraction"),
        pytest.param(-1, "M: -1 is not between 0 and 65535", id="negative"),
        pytest.param(10**30, "M: a number of 31 digits is not between 0 and 65535", id="huge"),
    ],
)
def test_a_number_outside_its_range_is_refused(value, sentence):
    assert refusal(Fields({"M": value}).integer, "M", 0, 65535) == sentence


def test_the_path_names_every_level():
    body = Fields({"IPv4Data": [{"Pool": "10.1.0.0/24"}, {"Pool": "10.0.0"}]})
    first, second = body.each("IPv4Data")
    assert first.subnet("Pool") == IPNetwork("10.1.0.0/24")
    assert refusal(second.subnet, "Pool") == (
        'IPv4Data[1].Pool: "10.0.0" is not a subnet; write it like 10.0.0.0/24'
    )


def test_the_path_goes_through_objects_in_lists_in_objects():
    body = Fields({"Options": {"map": [{"HostIP": "x"}]}})
    (item,) = body.inner("Options").each("map")
    assert refusal(item.address, "HostIP").startswith('Options.map[0].HostIP: "x" is not an addr')


def test_an_element_that_is_no_object_is_refused_with_its_index():
    assert refusal(lambda: list(Fields({"M": [{}, None]}).each("M"))) == "M[1]: null, not an object"


def test_addresses_are_read_as_values():
    fields = Fields(
        {"A": "10.0.0.5", "B": "fd00::5/64", "C": "10.0.0.5/24", "D": "02:42:0A:00:00:05"}
    )
    assert fields.address("A") == IPAddress("10.0.0.5")
    assert fields.subnet("B") == IPNetwork("fd00::5/64")
    interface = fields.interface("C", 4)
    assert interface is not None
    assert (str(interface.ip), interface.prefixlen) == ("10.0.0.5", 24)
    assert fields.mac("D") == EUI("02:42:0a:00:00:05")


def test_an_address_of_the_other_family_is_refused():
    fields = Fields({"A": "fd00::5/64", "B": "10.0.0.0/24"})
    assert refusal(fields.interface, "A", 4) == 'A: "fd00::5/64" is not IPv4'
    assert refusal(fields.subnet, "B", 6) == 'B: "10.0.0.0/24" is not IPv6'


@pytest.mark.parametrize("text", ["n1", "a" * 64, "x" * 25, "my-net_1.2"])
def test_an_id_is_opaque(text):
    assert Fields({"NetworkID": text}).identifier("NetworkID") == text


@pytest.mark.parametrize(
    "text", ["a" * 65, "../etc", "a/b", "a b", "-a", "a\n", "a\0", "ä", "a;reboot"]
)
def test_an_id_that_could_not_be_part_of_a_name_is_refused(text):
    assert "is not an id" in refusal(Fields({"NetworkID": text}).identifier, "NetworkID")


def test_an_error_shows_long_and_unprintable_values_cut_and_escaped():
    shown = refusal(Fields({"M": 'a"\n\x1b' + "x" * 500}).address, "M")
    assert '"a\\"\\n\\x1b' in shown
    assert "\n" not in shown
    assert len(shown) < 200


def test_a_text_longer_than_any_of_dockers_is_refused():
    assert "5000 characters" in refusal(Fields({"M": "x" * 5000}).text, "M")


def test_half_of_a_surrogate_pair_is_refused_where_it_is_read():
    fields = Fields.parse(b'{"M": "\\ud800"}')
    assert refusal(fields.text, "M") == 'M: "\\ud800" is not Unicode text: half of a pair'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"{", "not JSON", id="cut"),
        pytest.param(b"{'a': 1}", "not JSON", id="single-quotes"),
        pytest.param(b'{"a": 1} x', "Extra data at character 9", id="trailing"),
        pytest.param(b"hello", "not JSON", id="text"),
        pytest.param(b"[]", "is a list, not an object", id="list"),
        pytest.param(b"null", "is null, not an object", id="null"),
        pytest.param(b"17", "is a number, not an object", id="number"),
        pytest.param(b'"x"', 'is a text ("x"), not an object', id="string"),
        pytest.param(b'{"a": NaN}', "NaN is not JSON", id="nan"),
        pytest.param(b'{"a": -Infinity}', "-Infinity is not JSON", id="infinity"),
        pytest.param(b"[" * 200_000, "nested too deep", id="deep"),
        pytest.param(b'{"a":' * 200_000, "nested too deep", id="deep-objects"),
        pytest.param(b'{"a": ' + b"9" * 10_000 + b"}", "not usable", id="huge-number"),
        pytest.param(b'{"a": "\xff"}', "byte 7 is not UTF-8", id="not-utf-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "not UTF-8", id="utf-16"),
        pytest.param(b"\xef\xbb\xbf{}", "not JSON", id="byte-order-mark"),
        pytest.param(b'{"a\x00": 1}', "not JSON", id="control-character"),
    ],
)
def test_a_body_that_is_not_one_json_object_is_refused(body, words):
    assert words in refusal(Fields.parse, body)


def test_a_body_is_read_as_go_writes_it():
    body = json.dumps({"NetworkID": "n", "Options": None}).encode() + b"\n"
    assert Fields.parse(body).identifier("NetworkID") == "n"
