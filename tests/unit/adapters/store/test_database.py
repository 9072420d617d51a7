import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ovsdriver.adapters.store.database import Database, Unit
from ovsdriver.errors import UnavailableError


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "state.db", busy_timeout_s=0.05)
    yield opened
    await opened.close()


def put(key: str, value: str = "") -> Unit[str]:
    def unit(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO note (key, value) VALUES (?, ?)", (key, value))
        return key

    return unit


def keys(connection: sqlite3.Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM note")}


def keys_on_disk(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as other:
        return keys(other)


async def test_a_write_is_committed_when_it_returns(database: Database):
    assert await database.write(put("a")) == "a"
    assert keys_on_disk(database.path) == {"a"}


async def test_what_is_written_at_once_shares_one_commit(database: Database):
    await asyncio.gather(*(database.write(put(f"{n}")) for n in range(50)))
    assert database.commits == 1
    assert len(keys_on_disk(database.path)) == 50


async def test_callers_that_write_again_and_again_share_every_commit(database: Database):
    async def caller(name: int) -> None:
        for n in range(20):
            await database.write(put(f"{name}-{n}"))

    await asyncio.gather(*(caller(name) for name in range(50)))
    assert database.commits == 20


async def test_a_unit_that_raises_is_undone_alone(database: Database):
    def half(connection: sqlite3.Connection) -> None:
        put("half")(connection)
        raise LookupError("changed its mind")

    results = await asyncio.gather(
        database.write(put("before")),
        database.write(half),
        database.write(put("after")),
        return_exceptions=True,
    )
    assert results[0] == "before"
    assert isinstance(results[1], LookupError)
    assert results[2] == "after"
    assert database.commits == 1
    assert keys_on_disk(database.path) == {"before", "after"}


async def test_a_refused_constraint_reaches_its_own_caller_only(database: Database):
    results = await asyncio.gather(
        database.write(put("same")),
        database.write(put("same")),
        database.write(put("other")),
        return_exceptions=True,
    )
    assert results[0] == "same"
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert results[2] == "other"


async def test_a_failing_commit_fails_everyone_in_it_and_keeps_nothing(database: Database):
    def orphan(connection: sqlite3.Connection) -> None:
        # A foreign key that is looked at by COMMIT.
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO endpoint VALUES ('e', 'nowhere', '{}')")

    results = await asyncio.gather(
        database.write(put("a")),
        database.write(orphan),
        database.write(put("b")),
        return_exceptions=True,
    )
    assert [type(each) for each in results] == [sqlite3.IntegrityError] * 3
    assert keys_on_disk(database.path) == set()
    assert await database.write(put("later")) == "later"


async def test_a_full_disk_is_a_sentence_and_passes(database: Database):
    await database.read(lambda c: c.execute("PRAGMA max_page_count = 1").fetchall())
    results = await asyncio.gather(
        database.write(put("small")),
        database.write(put("big", "x" * 100_000)),
        return_exceptions=True,
    )
    assert isinstance(results[1], UnavailableError)
    assert "disk is full" in str(results[1])
    assert ("small" in keys_on_disk(database.path)) == (results[0] == "small")

    await database.read(lambda c: c.execute("PRAGMA max_page_count = 4294967294").fetchall())
    assert await database.write(put("big", "x" * 100_000)) == "big"


async def test_when_sqlite_takes_the_whole_transaction_back_nobody_is_told_it_was_kept(
    database: Database,
):
    def loses_everything(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO note VALUES ('first', '')")
        # As SQLite does by itself after some I/O errors.
        connection.execute("INSERT OR ROLLBACK INTO note VALUES ('first', '')")

    results = await asyncio.gather(
        database.write(put("a")),
        database.write(loses_everything),
        database.write(put("b")),
        return_exceptions=True,
    )
    assert all(isinstance(each, sqlite3.IntegrityError) for each in results)
    assert keys_on_disk(database.path) == set()


async def test_a_file_locked_by_another_process_is_a_sentence_and_passes(database: Database):
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match=r"locked by another process.*fuser"):
            await database.write(put("a"))
        other.execute("ROLLBACK")
    assert await database.write(put("a")) == "a"


async def test_a_cancelled_caller_does_not_take_its_unit_back(database: Database):
    caller = database.write(put("a"))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await database.close()
    assert keys_on_disk(database.path) == {"a"}


async def test_what_follows_a_commit_comes_in_order_and_before_the_callers(database: Database):
    seen: list[str] = []

    async def caller(number: int) -> None:
        await database.write(put(f"{number:02}"), lambda key: seen.append(f"kept {key}"))
        seen.append(f"told {number:02}")

    await asyncio.gather(*(caller(number) for number in range(20)))
    assert seen == [f"{what} {n:02}" for what in ("kept", "told") for n in range(20)]


async def test_what_follows_a_commit_comes_without_a_caller_but_not_after_a_refusal(
    database: Database,
):
    kept: list[str] = []
    first = database.write(put("a"), kept.append)
    refused = database.write(put("a"), kept.append)
    first.cancel()
    with pytest.raises(sqlite3.IntegrityError):
        await refused
    assert kept == ["a"]
    assert keys_on_disk(database.path) == {"a"}


class Told:
    """Notes what each unit was told, in order."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.heard: dict[str, object] = {}

    def put_all(self, connection: sqlite3.Connection, given: Sequence[str]) -> list[str]:
        self.calls.append(len(given))
        rows = [(key, "") for key in given]
        connection.executemany("INSERT INTO note (key, value) VALUES (?, ?)", rows)
        return [key.upper() for key in given]

    def submit(self, database: Database, key: str) -> None:
        def told(result: object, error: BaseException | None) -> None:
            self.heard[key] = result if error is None else error

        database.write_alike(self.put_all, key, told)
        assert key not in self.heard, "it was not asked for in full yet"


async def test_what_is_alike_and_follows_each_other_is_done_at_once(database: Database):
    told = Told()
    for key in "abc":
        told.submit(database, key)
    between = database.write(lambda c: sorted(keys(c)))
    for key in "de":
        told.submit(database, key)
    assert await between == ["a", "b", "c"]
    await database.read(keys)
    assert list(told.heard.items()) == [(key, key.upper()) for key in "abcde"]
    assert (told.calls, database.commits) == ([3, 2], 1)


async def test_of_what_is_alike_only_the_one_that_is_refused_hears_it(database: Database):
    told = Told()
    await database.write(put("b"))
    for key in "abc":
        told.submit(database, key)
    other = database.write(put("other"))
    assert await other == "other"
    assert isinstance(told.heard.pop("b"), sqlite3.IntegrityError)
    assert told.heard == {"a": "A", "c": "C"}
    assert told.calls == [3, 1, 1, 1]
    assert keys_on_disk(database.path) == {"a", "b", "c", "other"}


async def test_of_what_is_alike_all_hear_that_the_file_is_closed(database: Database):
    told = Told()
    await database.close()
    told.submit(database, "a")
    await asyncio.sleep(0)
    assert isinstance(told.heard["a"], UnavailableError)


async def test_reading_sees_what_was_written(database: Database):
    await database.write(put("a"))
    assert await database.read(keys) == {"a"}


async def test_a_mistake_in_a_reading_unit_reaches_its_caller(database: Database):
    with pytest.raises(UnavailableError, match="no such table"):
        await database.read(lambda connection: connection.execute("SELECT * FROM missing"))


async def test_closing_commits_what_waits_and_refuses_what_comes_later(database: Database):
    early = [database.write(put(f"{n}")) for n in range(5)]
    await asyncio.sleep(0)
    await database.close()
    assert [await each for each in early] == ["0", "1", "2", "3", "4"]
    with pytest.raises(UnavailableError, match="stopping"):
        await database.write(put("late"))
    with pytest.raises(UnavailableError, match="stopping"):
        await database.read(keys)
    assert keys_on_disk(database.path) == {"0", "1", "2", "3", "4"}


async def test_a_disk_that_does_not_answer_is_given_up_at_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("ovsdriver.adapters.store.database.CLOSE_S", 0.05)
    released = threading.Event()
    hanging = database.write(lambda _: released.wait(60))
    await asyncio.sleep(0)
    await database.close()
    assert "store.given-up" in caplog.text
    released.set()
    assert await hanging
    await database.close()


async def test_closing_twice_succeeds(database: Database):
    await database.close()
    await database.close()
