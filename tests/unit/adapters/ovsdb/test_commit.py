"""Changes of concurrent callers share transactions, and one that is refused fails alone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from ovsdriver.adapters.ovsdb import (
    ConnectionLostError,
    Operation,
    RefusedError,
    Replica,
    Schema,
)
from ovsdriver.adapters.ovsdb.commit import MAX_UNITS, GroupCommit
from tests.unit.adapters.ovsdb.small_schema import SCHEMA, WATCHED

Judge = Callable[[list[str]], Sequence[Any] | Exception]


class Server:
    """Stands for a session: keeps what it is sent, and answers as ``judge`` says."""

    def __init__(self) -> None:
        self.replica = Replica(Schema(SCHEMA), WATCHED)
        self.sent: list[list[str]] = []
        self.judge: Judge = lambda rows: [{} for _ in rows]
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def transact(self, operations: Sequence[Operation]) -> Sequence[Any]:
        rows = [operation["row"]["name"] for operation in operations]
        self.sent.append(rows)
        self.asked.set()
        await self.gate.wait()
        answer = self.judge(rows)
        if isinstance(answer, Exception):
            raise answer
        return answer


def insert(name: str) -> Operation:
    return {"op": "insert", "table": "Port", "row": {"name": name}}


def plan(*names: str) -> Callable[[Replica], list[Operation]]:
    return lambda _: [insert(name) for name in names]


def refused_at(index: int, count: int) -> Sequence[Any]:
    """Return RFC 7047's answer to a transaction of which one operation failed."""
    error = {"error": "constraint violation", "details": "no"}
    return [{}] * index + [error] + [None] * (count - index - 1)


def refused_at_commit(count: int) -> Sequence[Any]:
    """Return the answer to a transaction that failed as a whole."""
    return [{}] * count + [{"error": "constraint violation", "details": "twice"}]


@pytest.fixture
def server() -> Server:
    return Server()


@asynccontextmanager
async def committing(server: Server) -> AsyncIterator[GroupCommit]:
    async def session() -> Server:
        return server

    commits = GroupCommit(session)
    running = asyncio.create_task(commits.run())
    try:
        yield commits
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def outcomes(futures: Sequence[asyncio.Future[bool]]) -> list[bool | BaseException]:
    async with asyncio.timeout(30):
        return await asyncio.gather(*futures, return_exceptions=True)


async def test_a_lone_plan_goes_at_once(server: Server) -> None:
    async with committing(server) as commits:
        assert await commits.submit(plan("a"), "a")

    assert server.sent == [["a"]]


async def test_plans_that_come_while_one_is_in_flight_share_the_next(server: Server) -> None:
    server.gate.clear()
    async with committing(server) as commits:
        first = commits.submit(plan("a"), "a")
        await server.asked.wait()
        others = [commits.submit(plan(name), name) for name in ("b", "c", "d")]
        await asyncio.sleep(0)
        server.gate.set()

        assert await outcomes([first, *others]) == [True] * 4

    assert server.sent == [["a"], ["b", "c", "d"]]
    assert (commits.transactions, commits.commits) == (2, 4)


async def test_a_plan_with_nothing_to_do_costs_no_transaction(server: Server) -> None:
    async with committing(server) as commits:
        assert not await commits.submit(plan(), "a")

    assert server.sent == []


async def test_a_refused_operation_fails_its_own_plan_only(server: Server) -> None:
    def judge(rows: list[str]) -> Sequence[Any]:
        bad = next((i for i, name in enumerate(rows) if name == "bad"), None)
        return [{}] * len(rows) if bad is None else refused_at(bad, len(rows))

    server.judge = judge
    async with committing(server) as commits:
        results = await outcomes(
            [
                commits.submit(plan("a", "b"), "1"),
                commits.submit(plan("c", "bad"), "2"),
                commits.submit(plan("d"), "3"),
            ]
        )

    assert results[0] is results[2] is True
    assert isinstance(results[1], RefusedError)
    assert str(results[1]) == "constraint violation: no"
    assert server.sent == [["a", "b", "c", "bad", "d"], ["a", "b", "d"]]


async def test_a_transaction_refused_at_commit_is_halved_until_the_culprit_is_alone(
    server: Server,
) -> None:
    server.judge = lambda rows: (
        refused_at_commit(len(rows)) if "bad" in rows else [{} for _ in rows]
    )
    names = [f"p{number}" for number in range(31)] + ["bad"]
    async with committing(server) as commits:
        results = await outcomes([commits.submit(plan(name), name) for name in names])

    assert results[:-1] == [True] * 31
    assert isinstance(results[-1], RefusedError)
    assert len(server.sent) <= 11
    committed = [name for rows in server.sent if "bad" not in rows for name in rows]
    assert sorted(committed) == sorted(names[:-1])


async def test_a_value_that_does_not_fit_is_never_sent(server: Server) -> None:
    def bad(_: Replica) -> list[Operation]:
        return [{"op": "insert", "table": "Port", "row": {"name": "bad", "tag": 99999}}]

    async with committing(server) as commits:
        results = await outcomes([commits.submit(bad, "1"), commits.submit(plan("a"), "2")])

    assert isinstance(results[0], RefusedError)
    assert results[1] is True
    assert server.sent == [["a"]]


async def test_what_a_plan_raises_goes_to_its_caller(server: Server) -> None:
    def confused(_: Replica) -> list[Operation]:
        raise LookupError("me")

    async with committing(server) as commits:
        results = await outcomes([commits.submit(confused, "1"), commits.submit(plan("a"), "2")])

    assert isinstance(results[0], LookupError)
    assert results[1] is True


async def test_a_plan_is_asked_again_after_the_connection_broke(server: Server) -> None:
    answers: list[Any] = [ConnectionLostError("gone"), [{}, {}]]
    server.judge = lambda _: answers.pop(0)
    found_committed: list[str] = []

    def once(_: Replica) -> list[Operation]:
        if found_committed:
            return []
        found_committed.append("a")
        return [insert("a")]

    async with committing(server) as commits:
        results = await outcomes(
            [
                commits.submit(once, "a"),
                commits.submit(plan("b"), "b"),
                commits.submit(plan("c"), "c"),
            ]
        )

    assert results == [False, True, True]
    assert server.sent == [["a", "b", "c"], ["b", "c"]]


async def test_plans_about_one_subject_go_one_after_the_other(server: Server) -> None:
    async with committing(server) as commits:
        results = await outcomes(
            [
                commits.submit(plan("a1"), "a"),
                commits.submit(plan("a2"), "a"),
                commits.submit(plan("b"), "b"),
                commits.submit(plan("a3"), "a"),
            ]
        )

    assert results == [True] * 4
    assert server.sent == [["a1", "b"], ["a2"], ["a3"]]


async def test_a_row_that_went_meanwhile_makes_the_plan_think_again(server: Server) -> None:
    server.judge = lambda rows: [{"count": 0} if name == "gone" else {} for name in rows]
    rows = iter(["gone", "new"])

    async with committing(server) as commits:
        results = await outcomes(
            [
                commits.submit(lambda _: [insert(next(rows))], "1"),
                commits.submit(plan("a"), "2"),
                commits.submit(plan("gone"), "3"),
            ]
        )

    assert results[:2] == [True, True]
    assert isinstance(results[2], RefusedError)
    assert server.sent == [["gone", "a", "gone"], ["new"]]


async def test_a_plan_that_is_refused_whatever_it_says_gives_up(server: Server) -> None:
    server.judge = lambda rows: refused_at(0, len(rows))
    numbers = iter(range(100))
    async with committing(server) as commits:
        [result] = await outcomes([commits.submit(lambda _: [insert(f"p{next(numbers)}")], "1")])

    assert isinstance(result, RefusedError)
    assert len(server.sent) == 5


async def test_a_request_refused_as_a_whole_fails_everyone_in_it(server: Server) -> None:
    server.judge = lambda _: RefusedError("unknown database")
    async with committing(server) as commits:
        results = await outcomes([commits.submit(plan(name), name) for name in ("a", "b")])

        server.judge = lambda rows: [{} for _ in rows]
        assert await commits.submit(plan("c"), "c")

    assert [type(result) for result in results] == [RefusedError, RefusedError]


async def test_a_cancelled_plan_is_not_sent(server: Server) -> None:
    server.gate.clear()
    async with committing(server) as commits:
        first = commits.submit(plan("a"), "a")
        await server.asked.wait()
        late, other = commits.submit(plan("b"), "b"), commits.submit(plan("c"), "c")
        late.cancel()
        first.cancel()
        server.gate.set()

        assert await other

    assert server.sent == [["a"], ["c"]]


async def test_a_long_queue_is_sent_in_parts(server: Server) -> None:
    async with committing(server) as commits:
        names = [f"p{number}" for number in range(2 * MAX_UNITS + 1)]
        results = await outcomes([commits.submit(plan(name), name) for name in names])

    assert results == [True] * len(names)
    assert [len(rows) for rows in server.sent] == [MAX_UNITS, MAX_UNITS, 1]


async def test_stopping_fails_those_who_wait(server: Server) -> None:
    server.gate.clear()
    async with committing(server) as commits:
        in_flight = commits.submit(plan("a"), "a")
        await server.asked.wait()
        queued = commits.submit(plan("b"), "b")

    results = await outcomes([in_flight, queued])
    assert [type(result) for result in results] == [ConnectionLostError, ConnectionLostError]
