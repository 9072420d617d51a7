"""The codec, on bytes; tests/integration/test_links.py compares it with other programs."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovsdriver.adapters.kernel.codec import rtnetlink
from ovsdriver.adapters.kernel.codec.rtnetlink import NetlinkError, Remembered

ERROR, DONE = 2, 3
CAPPED, TLVS = 0x100, 0x200
KINDS = st.integers(min_value=1, max_value=0x3FFF)


@given(st.dictionaries(KINDS, st.binary(max_size=70)))
def test_attributes_are_read_as_they_were_rendered(values: dict[int, bytes]) -> None:
    rendered = b"".join(rtnetlink.attribute(kind, value) for kind, value in values.items())

    assert len(rendered) % 4 == 0
    assert rtnetlink.attributes(rendered) == values


@given(st.binary(max_size=200))
def test_reading_any_bytes_as_attributes_ends(data: bytes) -> None:
    assert sum(4 + len(value) for _, value in rtnetlink.each_attribute(data)) <= len(data) + 4


def test_a_nested_attribute_carries_the_flag_that_the_kernel_demands() -> None:
    rendered = rtnetlink.nest(18, rtnetlink.text(1, "veth"))

    assert struct.unpack_from("=HH", rendered) == (len(rendered), 18 | 0x8000)
    assert rtnetlink.attributes(rtnetlink.attributes(rendered)[18]) == {1: b"veth\0"}


def test_an_alias_that_is_no_utf8_can_still_be_read() -> None:
    assert rtnetlink.read_text(b"caf\xe9\0") == "caf\\xe9"


def refusal(kind: int, number: int, flags: int, rest: bytes) -> bytes:
    body = struct.pack("=i", -number) + rest
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 7, 0) + body


REQUEST = struct.pack("=IHHII", 24, 16, 5, 7, 0)
SAID = rtnetlink.text(1, "MTU too big")


@pytest.mark.parametrize(
    ("kind", "flags", "rest"),
    [
        pytest.param(ERROR, TLVS | CAPPED, REQUEST + SAID, id="capped"),
        pytest.param(ERROR, TLVS, REQUEST + bytes(8) + SAID, id="with the whole request"),
        pytest.param(DONE, TLVS, SAID, id="at the end of a dump"),
    ],
)
def test_a_refusal_says_what_the_kernel_says(kind: int, flags: int, rest: bytes) -> None:
    message = refusal(kind, errno.EINVAL, flags, rest)

    with pytest.raises(NetlinkError, match="Invalid argument: MTU too big") as caught:
        rtnetlink.raise_refusal(message, kind, flags)
    assert caught.value.errno == errno.EINVAL


def test_a_refusal_without_words_has_the_systems_own() -> None:
    with pytest.raises(NetlinkError, match=r"\] File exists$"):
        rtnetlink.raise_refusal(refusal(ERROR, errno.EEXIST, CAPPED, REQUEST), ERROR, CAPPED)


def test_an_acknowledgement_is_no_refusal() -> None:
    rtnetlink.raise_refusal(refusal(ERROR, 0, CAPPED, REQUEST), ERROR, CAPPED)


def test_a_message_that_came_the_last_time_is_not_read_again() -> None:
    read: list[bytes] = []

    def count(message: bytes) -> int:
        read.append(message)
        return len(message)

    memory = Remembered(count)
    assert memory.all([b"a", b"bb"]) == [1, 2]
    assert memory.all([b"bb", b"ccc"]) == [2, 3]
    assert read == [b"a", b"bb", b"ccc"]
    assert memory.all([b"a"]) == [1]
    assert read[3:] == [b"a"], "of what is gone nothing is kept"
