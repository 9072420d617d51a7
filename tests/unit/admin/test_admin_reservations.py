"""The pages about reserved addresses: what a body may be, and what becomes of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from netaddr import IPAddress

from ipam.errors import ReservedError, StoreError
from ipam.model import Reservation
from ovsdriver.admin import api, api_reservations
from ovsdriver.admin.reservation_report import Changes, Entry, Made, Reserved
from ovsdriver.errors import DriverError
from tests.unit.cli.conftest import Desk

KEPT = Reserved(
    address="10.0.0.5",
    space="ovsnet",
    name="web",
    note="",
    created=1.0,
    pool=None,
    subnet=None,
    network=None,
    network_name="",
    holder="",
    held_since=None,
)
ENTRY = Entry(address="10.0.0.5", space="ovsnet", name="web", note="")
NOTHING = Changes(added=(), changed=(), removed=(), same=0, dry_run=False)


class Clerk:
    """Notes what it is asked, and answers always the same."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.refusal: Exception | None = None

    def _note(self, what: str, said: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append((what, said))

    async def reservations(self, **where: str) -> Sequence[Reserved]:
        self._note("list", where)
        return [KEPT]

    async def reserve(self, address: IPAddress, **said: Any) -> Made:
        self._note("reserve", (str(address), said))
        return Made(outcome="added", reservation=KEPT)

    async def reserve_any(self, **said: Any) -> Made:
        self._note("any", said)
        return Made(outcome="same", reservation=KEPT)

    async def remove(self, address: IPAddress, **where: str) -> Entry:
        self._note("remove", (str(address), where))
        return ENTRY

    async def apply(self, wanted: Sequence[Reservation], **said: Any) -> Changes:
        self._note("apply", (list(wanted), said))
        return NOTHING


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
async def client(clerk: Clerk, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    runner = web.AppRunner(api.application(Desk(), *api_reservations.routes(clerk)))
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "admin.sock").start()
    connector = aiohttp.UnixConnector(str(tmp_path / "admin.sock"))
    async with aiohttp.ClientSession("http://ovsnet", connector=connector) as session:
        yield session
    await runner.cleanup()


async def answer(
    client: aiohttp.ClientSession, method: str, path: str, body: object = None
) -> tuple[int, Any]:
    data = None
    if body is not None:
        data = BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    async with client.request(method, f"/ipam/reservations{path}", data=data) as response:
        return response.status, await response.json()


WHERE = {"pool": "", "network": "", "space": ""}


async def test_the_list_may_be_of_a_place(client: aiohttp.ClientSession, clerk: Clerk):
    status, found = await answer(client, "GET", "?network=lab&space=ovsnet-global")
    assert status == 200
    assert found["reservations"][0]["address"] == "10.0.0.5"
    assert clerk.asked == [("list", {"pool": "", "network": "lab", "space": "ovsnet-global"})]


async def test_one_address_is_asked_for_by_itself_or_by_a_name(
    client: aiohttp.ClientSession, clerk: Clerk
):
    wish = {"address": "10.0.0.5", "name": "web", "note": "n", "replace": True, "space": "s"}
    assert (await answer(client, "POST", "", wish))[1]["outcome"] == "added"
    assert (await answer(client, "POST", "", {"name": "web", "pool": "p"}))[1]["outcome"] == "same"
    named = {"name": "web", "note": "n", "rename": True}
    assert clerk.asked == [
        ("reserve", ("10.0.0.5", WHERE | named | {"space": "s"})),
        ("any", WHERE | {"name": "web", "note": "", "pool": "p"}),
    ]


async def test_an_address_is_removed(client: aiohttp.ClientSession, clerk: Clerk):
    assert (await answer(client, "DELETE", "/fd00:0::5?space=s"))[0] == 200
    assert clerk.asked == [("remove", ("fd00::5", WHERE | {"space": "s"}))]


async def test_a_list_is_read_whole(client: aiohttp.ClientSession, clerk: Clerk):
    body = {
        "reservations": [
            {"space": "s", "address": "10.0.0.5", "name": "web", "note": "n"},
            {"space": "ovsnet", "address": "10.0.0.6"},
        ],
        "prune": [{"space": "s"}],
        "dry_run": True,
    }
    status, found = await answer(client, "PUT", "", body)
    assert (status, found["same"]) == (200, 0)
    await answer(client, "PUT", "", {"prune_all": True, "replace": True})
    wanted = [
        Reservation(space="s", address=IPAddress("10.0.0.5"), name="web", note="n"),
        Reservation(space="ovsnet", address=IPAddress("10.0.0.6")),
    ]
    assert clerk.asked == [
        ("apply", (wanted, {"prune": {"s"}, "rename": False, "dry_run": True})),
        ("apply", ([], {"prune": None, "rename": True, "dry_run": False})),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence"),
    [
        ("GET", "?space=a/b", None, 'space: "a/b" cannot name an address space'),
        ("GET", "?space=-global", None, "space: "),
        ("DELETE", "/x", None, 'address: "x" is not an address'),
        ("DELETE", "/10.0.0.5?space=a%20b", None, "space: "),
        ("POST", "", None, "the request is not JSON"),
        ("POST", "", b"\xff", "the request is not JSON: byte 0"),
        ("POST", "", b"[]", "the request is a list"),
        ("POST", "", {}, "address: missing"),
        ("POST", "", {"address": 5}, "address: a number, not a text"),
        ("POST", "", {"address": "10.0.0.5/24"}, "address: "),
        ("POST", "", {"address": "10.0.0.5", "replace": "yes"}, "replace: a text"),
        ("POST", "", {"address": "10.0.0.5", "name": "a b"}, 'name: "a b" cannot be'),
        ("POST", "", {"address": "10.0.0.5", "name": "a" * 256}, "name: "),
        ("POST", "", {"address": "10.0.0.5", "note": "n" * 5000}, "note: 5000 characters"),
        ("POST", "", {"address": "10.0.0.5", "note": "\ud800"}, "note: "),
        ("POST", "", {"address": "10.0.0.5", "space": ".."}, "space: "),
        ("PUT", "", {"reservations": {}}, "reservations: an object, not a list"),
        ("PUT", "", {"reservations": [5]}, "reservations[0]: a number, not an object"),
        ("PUT", "", {"reservations": [{"space": "s"}]}, "reservations[0].address: missing"),
        ("PUT", "", {"reservations": [{"address": "::1"}]}, "reservations[0].space: missing"),
        ("PUT", "", {"prune": ["s"]}, "prune[0]: a text"),
        ("PUT", "", {"prune": [{"space": "a/b"}]}, "prune[0].space: "),
        ("PUT", "", {"dry_run": 1}, "dry_run: a number"),
        ("PUT", "", b'{"note":"' + b"x" * (9 << 20) + b'"}', "the request is longer than 8 MiB"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_place(
    client: aiohttp.ClientSession,
    clerk: Clerk,
    method: str,
    path: str,
    body: object,
    sentence: str,
):
    status, found = await answer(client, method, path, body)
    assert (status, found["error"][: len(sentence)]) == (400, sentence)
    assert clerk.asked == []


async def test_a_refusal_of_one_of_several_says_which(client: aiohttp.ClientSession, clerk: Clerk):
    clerk.refusal = ReservedError("address 10.0.0.5 is reserved already")
    clerk.refusal.index = 3
    assert await answer(client, "PUT", "", {}) == (
        409,
        {"error": "reservations[3]: address 10.0.0.5 is reserved already"},
    )
    clerk.refusal = StoreError("the disk is full")
    assert await answer(client, "PUT", "", {}) == (503, {"error": "the disk is full"})


async def test_an_answer_that_takes_too_long_is_given_up(
    client: aiohttp.ClientSession, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
):
    async def never(**_: str) -> Sequence[Reserved]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(api_reservations, "READ_S", 0.05)
    monkeypatch.setattr(clerk, "reservations", never)
    assert (await answer(client, "GET", ""))[0] == 504


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
        _, wanted, prune = api_reservations._list(body)
    except DriverError:
        return
    assert all(each.space and each.address for each in wanted)
    assert prune is None or all(prune)
