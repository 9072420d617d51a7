"""Webhooks are told in order, until they take it, and go on where they were."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.events import SqliteEvents
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.events.webhooks import Webhook
from ovsdriver.service.events.called import Called
from ovsdriver.service.events.hooks import Hooks
from ovsdriver.service.forgotten.witnesses import Witness
from tests.fakes.engine import FakeEngine
from tests.fakes.receivers import FakeReceivers

ALL = Webhook(url="https://all.example/in?token=abc", secret="s" * 32)
LINKS = Webhook(url="http://u:p@links.example:8080/", types=("link",), secret="t" * 32)


def happening(number: int, kind: EventType = EventType.REPAIR) -> Happening:
    return Happening(kind, "mended", attributes={"number": str(number)})


class Bed:
    """A store with events, and who is told of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.receivers = FakeReceivers()

    async def start(self) -> None:
        self.database = await Database.open(self.path)
        self.events = await SqliteEvents.load(self.database)
        state = await SqliteState.load(self.database, self.events)
        engine = FakeEngine()
        self.called = Called(
            state=state, events=self.events, engine=engine, witness=Witness(engine)
        )

    async def tell(self, *happenings: Happening) -> None:
        for each in happenings:
            self.events.tell(each)
        newest = self.events.newest
        await self.until(lambda: self.events.newest >= newest + len(happenings))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def telling(self, *webhooks: Webhook) -> AsyncIterator[Hooks]:
        hooks = Hooks(
            webhooks,
            events=self.events,
            called=self.called,
            receivers=self.receivers,
            source="host 1/ovsnet",
            pause_s=0.0,
        )
        running = asyncio.create_task(hooks.run())
        await self.until(lambda: set(self.events.positions()) == {each.url for each in webhooks})
        yield hooks
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def taken(self, webhook: Webhook = ALL) -> list[str]:
        found = self.receivers.taken.get(webhook.url, [])
        return [each["data"]["attributes"]["number"] for each in found]


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    made = Bed(tmp_path / "state.db")
    await made.start()
    yield made
    await made.database.close()


async def test_each_is_told_what_it_asked_for_from_now_on(bed: Bed) -> None:
    await bed.tell(happening(0))
    async with bed.telling(ALL, LINKS):
        await bed.tell(happening(1), happening(2, EventType.LINK), happening(3))
        await bed.until(lambda: len(bed.taken()) == 3)
        await bed.until(lambda: len(bed.taken(LINKS)) == 1)
    assert bed.taken() == ["1", "2", "3"]
    assert bed.taken(LINKS) == ["2"]
    (event,) = bed.receivers.taken[LINKS.url]
    assert event["specversion"] == "1.0"
    assert event["type"] == "ovsnet.link.mended"
    assert event["source"] == "/ovsnet/host%201/ovsnet"


async def test_who_does_not_answer_gets_all_of_it_later_in_order_and_holds_up_nobody(
    bed: Bed,
) -> None:
    bed.receivers.faults[ALL.url] = "it answers 503"
    async with bed.telling(ALL, LINKS) as hooks:
        await bed.tell(happening(1), happening(2, EventType.LINK), happening(3))
        await bed.until(lambda: bed.taken(LINKS) == ["2"])
        await bed.until(lambda: bed.receivers.tries > 5)
        assert bed.taken() == []
        (warning,) = hooks.warnings()
        assert warning == "webhook https://all.example/in: it answers 503; events wait for it"
        bed.receivers.faults.clear()
        await bed.until(lambda: len(bed.taken()) == 3)
        assert bed.taken() == ["1", "2", "3"]
        assert hooks.warnings() == ()


async def test_it_goes_on_where_it_was_after_a_restart(bed: Bed) -> None:
    async with bed.telling(ALL):
        await bed.tell(happening(1))
        await bed.until(lambda: bed.taken() == ["1"])
        bed.receivers.faults[ALL.url] = "it does not answer"
        await bed.tell(happening(2), happening(3))
    await bed.database.close()
    await bed.start()
    bed.receivers.faults.clear()
    async with bed.telling(ALL):
        await bed.tell(happening(4))
        await bed.until(lambda: len(bed.taken()) >= 4)
    assert bed.taken() == ["1", "2", "3", "4"]


async def test_telling_costs_no_commit(bed: Bed) -> None:
    async with bed.telling(ALL):
        await bed.tell(*map(happening, range(30)))
        before = bed.database.commits
        await bed.until(lambda: len(bed.taken()) == 30)
        await bed.until(lambda: bed.events.positions()[ALL.url] == bed.events.newest)
        assert bed.database.commits == before


async def test_one_that_is_configured_no_more_is_forgotten_and_begins_anew(bed: Bed) -> None:
    async with bed.telling(ALL):
        await bed.tell(happening(1))
        await bed.until(lambda: bed.taken() == ["1"])
    async with bed.telling(LINKS):
        await bed.tell(happening(2))
    async with bed.telling(ALL):
        await bed.tell(happening(3))
        await bed.until(lambda: bed.taken() == ["1", "3"])


async def test_after_a_restore_it_begins_with_what_is_new(bed: Bed) -> None:
    bed.events.note_position(ALL.url, 500)
    async with bed.telling(ALL):
        await bed.until(lambda: bed.events.positions()[ALL.url] == 0)
        await bed.tell(happening(1))
        await bed.until(lambda: bed.taken() == ["1"])
