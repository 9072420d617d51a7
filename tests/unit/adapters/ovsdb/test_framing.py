"""Cutting and decoding the byte stream of ovsdb-server."""

import asyncio
import json
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovsdriver.adapters.ovsdb.wire.framing import Splitter, decode, whole

TEXT = st.text(st.sampled_from('{}[]"\\ü€😀\n ab:,'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks = []
    while data:
        size = sizes.pop() if sizes else len(data)
        chunks.append(data[:size])
        data = data[size:]
    return chunks


@pytest.mark.slow
@given(
    st.lists(OBJECTS, max_size=4),
    st.lists(st.integers(1, 7), max_size=40),
    st.booleans(),
    st.sampled_from([b"", b" ", b"\n\t"]),
)
def test_objects_are_found_however_the_stream_is_cut(
    objects: list[Any], sizes: list[int], ascii_only: bool, between: bytes
) -> None:
    texts = [json.dumps(each, ensure_ascii=ascii_only).encode() for each in objects]
    chunks = cut(between.join(texts), sizes)
    splitter = Splitter()

    found = [text for chunk in chunks for text in splitter.feed(chunk)]

    assert [json.loads(text) for text in found] == objects
    assert read(chunks) == objects


def read(chunks: list[bytes]) -> list[Any]:
    """Read a stream as a connection does: what is whole at once, the rest piece by piece."""
    splitter, found = Splitter(), []
    for chunk in chunks:
        if splitter.empty:
            values, chunk = whole(chunk)
            found += values
        found += [json.loads(text) for text in splitter.feed(chunk)]
    return found


def test_what_is_whole_is_decoded_at_once_and_the_rest_given_back() -> None:
    assert whole(b'{"a":1}{"b":"}"}') == ([{"a": 1}, {"b": "}"}], b"")
    assert whole(b'{"a":1}{"b":') == ([{"a": 1}], b'{"b":')
    assert whole('{"a":"ü"}'.encode()[:-3]) == ([], '{"a":"ü"}'.encode()[:-3])
    assert whole(b'["a"]') == ([], b'["a"]')


def test_an_object_is_given_out_as_soon_as_its_last_byte_is_there() -> None:
    splitter = Splitter()

    assert splitter.feed(b'{"a":"}') == []
    assert splitter.feed(b'"') == []
    assert splitter.feed(b'}{"b"') == [b'{"a":"}"}']
    assert splitter.feed(b":1}") == [b'{"b":1}']


def test_an_escape_cut_in_two_is_joined() -> None:
    splitter = Splitter()

    assert splitter.feed(b'{"a":"\\') == []
    assert splitter.feed(b'"}') == []
    assert splitter.feed(b'\\\\"}') == [b'{"a":"\\"}\\\\"}']


def test_a_closing_brace_too_many_is_an_error() -> None:
    with pytest.raises(ValueError, match="brace"):
        Splitter().feed(b'{"a":1}}')


@given(OBJECTS)
async def test_small_texts_decode_to_what_was_encoded(value: Any) -> None:
    assert await decode(json.dumps(value).encode()) == value


@pytest.mark.slow
@pytest.mark.parametrize("indent", [None, 1])
async def test_large_texts_decode_to_what_was_encoded(indent: int | None) -> None:
    value = reply(2000)

    assert await decode(json.dumps(value, indent=indent).encode()) == value


@pytest.mark.parametrize("broken", ['{"a"}', '{"a":1', '{"a":1,}', '{"a":[1}', "{]", '{"a":[}'])
async def test_large_nonsense_is_a_value_error(broken: str) -> None:
    padding = json.dumps(reply(600))[1:-1]
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of json
        await decode(("{" + padding + "," + broken[1:]).encode())


@pytest.mark.slow
async def test_decoding_a_large_text_gives_way_to_other_tasks() -> None:
    text = json.dumps(reply(5000)).encode()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    await decode(text)
    task.cancel()

    assert turns >= len(text) // (80 * 1024)


@pytest.mark.slow
async def test_the_cost_of_a_reply_grows_with_its_size_and_no_faster() -> None:
    small, large = await calls_for(2000), await calls_for(4000)

    assert large <= 2.2 * small


def reply(ports: int) -> dict[str, Any]:
    """Return a reply to monitor_cond with that many ports."""
    uuids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(ports)]
    ids = ["map", [["ovsnet-owner", "ovsnet"], ["note", 'a "quoted" {brace}'], ["ü", "€"]]]
    return {
        "id": 1,
        "error": None,
        "result": {
            "Bridge": {"b": {"initial": {"ports": ["set", [["uuid", uuid] for uuid in uuids]]}}},
            "Interface": {
                uuid: {"initial": {"name": f"p{uuid[:8]}", "ofport": 5, "external_ids": ids}}
                for uuid in uuids
            },
            "Port": {},
        },
    }


async def calls_for(ports: int) -> int:
    """Count the Python function calls that it takes to split and decode that reply."""
    data = json.dumps(reply(ports)).encode()
    splitter = Splitter()
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for start in range(0, len(data), 4096):
            for text in splitter.feed(data[start : start + 4096]):
                await decode(text)
    finally:
        sys.setprofile(None)
    assert count > ports
    return count
