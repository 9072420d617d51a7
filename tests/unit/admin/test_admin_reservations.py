"""Requests about reserved addresses: what a body may be, and what becomes of it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from netaddr import IPAddress

from ipam.errors import StoreError
from ipam.model import Reservation
from ovsdriver import codec
from ovsdriver.admin import api, asks
from ovsdriver.admin.asks import Answers, Ask
from ovsdriver.admin.views import Changes, Made, Reserved
from tests.unit.cli.conftest import Desk

WEB = Reservation(space="ovsnet", address=IPAddress("10.0.0.5"), name="web", created=1.0)
KEPT = Reserved(
    reservation=WEB,
    pool=None,
    subnet=None,
    network=None,
    network_name="",
    holder="",
    held_since=None,
)
LIST, APPLY = "list-reservations", "apply-reservations"
NOTHING = Changes(added=(), changed=(), removed=(), same=0, dry_run=False)


class Clerk:
    """Notes what it is asked, and answers always the same."""

    def __init__(self) -> None:
        self.asked: list[Ask[object]] = []
        self.refusal: Exception | None = None

    def answers(self) -> Answers:
        made = Made(outcome="added", reservation=KEPT)
        return {
            asks.ListReservations: self._noting((KEPT,)),
            asks.Reserve: self._noting(made),
            asks.Unreserve: self._noting(WEB),
            asks.ApplyReservations: self._noting(NOTHING),
        }

    def _noting(self, answer: object) -> Callable[[Any], Awaitable[object]]:
        async def note(ask: Ask[object]) -> object:
            if self.refusal is not None:
                raise self.refusal
            self.asked.append(ask)
            return answer

        return note


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
async def client(clerk: Clerk, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    runner = web.AppRunner(api.application(Desk().also(clerk.answers())))
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "admin.sock").start()
    connector = aiohttp.UnixConnector(str(tmp_path / "admin.sock"))
    async with aiohttp.ClientSession("http://ovsnet", connector=connector) as session:
        yield session
    await runner.cleanup()


async def answer(client: aiohttp.ClientSession, word: str, body: object = None) -> tuple[int, Any]:
    data = None
    if body is not None:
        data = BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    async with client.post(f"/ask/{word}", data=data) as response:
        return response.status, await response.json()


async def test_the_list_may_be_of_a_place(client: aiohttp.ClientSession, clerk: Clerk):
    said = {"network": "lab", "space": "ovsnet-global"}
    status, (found,) = await answer(client, "list-reservations", said)
    assert (status, found["reservation"]["address"]) == (200, "10.0.0.5")
    assert clerk.asked == [asks.ListReservations(network="lab", space="ovsnet-global")]


async def test_one_address_is_asked_for_by_itself_or_by_a_name(
    client: aiohttp.ClientSession, clerk: Clerk
):
    wish = {"address": "10.0.0.5", "name": "web", "note": "n", "replace": True, "space": "s"}
    assert (await answer(client, "reserve", wish))[1]["outcome"] == "added"
    await answer(client, "reserve", {"name": "web", "pool": "p", "space": ""})
    assert clerk.asked == [
        asks.Reserve(address=IPAddress("10.0.0.5"), name="web", note="n", replace=True, space="s"),
        asks.Reserve(name="web", pool="p"),
    ]


async def test_an_address_is_removed(client: aiohttp.ClientSession, clerk: Clerk):
    assert (await answer(client, "unreserve", {"address": "fd00:0::5", "space": "s"}))[0] == 200
    assert clerk.asked == [asks.Unreserve(address=IPAddress("fd00::5"), space="s")]


async def test_a_list_is_read_whole(client: aiohttp.ClientSession, clerk: Clerk):
    body = {
        "reservations": [
            {"space": "s", "address": "10.0.0.5", "name": "web", "note": "n"},
            {"space": "ovsnet", "address": "10.0.0.6"},
        ],
        "prune": ["s"],
        "dry_run": True,
    }
    status, found = await answer(client, "apply-reservations", body)
    assert (status, found["same"]) == (200, 0)
    await answer(client, "apply-reservations", {"prune_all": True, "replace": True})
    wanted = (
        asks.Wanted(space="s", address=IPAddress("10.0.0.5"), name="web", note="n"),
        asks.Wanted(space="ovsnet", address=IPAddress("10.0.0.6")),
    )
    assert clerk.asked == [
        asks.ApplyReservations(reservations=wanted, prune=("s",), dry_run=True),
        asks.ApplyReservations(prune_all=True, replace=True),
    ]


@pytest.mark.parametrize(
    ("word", "body", "sentence"),
    [
        (LIST, {"space": "a/b"}, 'space: "a/b" cannot name an address space'),
        (LIST, {"space": "-global"}, "space: "),
        ("unreserve", {"address": "x"}, 'address: "x" is not an address'),
        ("unreserve", {"address": "10.0.0.5", "space": "a b"}, "space: "),
        ("reserve", b"{", "the request is not JSON"),
        ("reserve", b"\xff", "the request is not JSON: byte 0"),
        ("reserve", b"[]", "the request is a list"),
        ("reserve", {"address": 5}, "address: a whole number, not a text"),
        ("reserve", {"address": "10.0.0.5/24"}, "address: "),
        ("reserve", {"address": "10.0.0.5", "replace": "yes"}, "replace: a text"),
        ("reserve", {"address": "10.0.0.5", "name": "a b"}, 'name: "a b" cannot be'),
        ("reserve", {"address": "10.0.0.5", "name": "a" * 256}, "name: "),
        ("reserve", {"address": "10.0.0.5", "note": "n" * 5000}, "note: 5000 characters"),
        ("reserve", {"address": "10.0.0.5", "note": "\ud800"}, "note: "),
        ("reserve", {"address": "10.0.0.5", "space": ".."}, "space: "),
        (APPLY, {"reservations": {}}, "reservations: an object, not a list"),
        (APPLY, {"reservations": [5]}, "reservations[0]: a whole number, not an object"),
        (APPLY, {"reservations": [{"space": "s"}]}, "reservations[0].address: missing"),
        (APPLY, {"reservations": [{"address": "::1"}]}, "reservations[0].space: missing"),
        (APPLY, {"prune": [5]}, "prune[0]: a whole number"),
        (APPLY, {"prune": ["a/b"]}, "prune[0]: "),
        (APPLY, {"dry_run": 1}, "dry_run: a whole number"),
        (APPLY, b'{"note":"' + b"x" * (9 << 20) + b'"}', "the request is longer than 8 MiB"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_place(
    client: aiohttp.ClientSession,
    clerk: Clerk,
    word: str,
    body: object,
    sentence: str,
):
    status, found = await answer(client, word, body)
    assert (status, found["error"][: len(sentence)]) == (400, sentence)
    assert clerk.asked == []


async def test_a_refusal_is_a_sentence(client: aiohttp.ClientSession, clerk: Clerk):
    clerk.refusal = StoreError("the disk is full")
    assert await answer(client, APPLY, {}) == (503, {"error": "the disk is full"})


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["reservations", "address", "space", "name", "prune", "note"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(junk=_JUNK | st.binary(max_size=40))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_is_a_value_or_a_refusal(junk: object):
    body = junk if isinstance(junk, bytes) else json.dumps(junk).encode()
    try:
        asked = codec.decode(asks.ApplyReservations, body, strict=True)
    except codec.UnreadableError:
        return
    assert all(each.space and each.address for each in asked.reservations)
    assert all(asked.prune)
