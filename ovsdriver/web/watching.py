"""What browsers are shown as it changes; nothing is asked of the process while nobody looks."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import replace

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.events.views import EventReport
from ovsdriver.admin.graph.layout import layout
from ovsdriver.admin.graph.views import Graph
from ovsdriver.logs import event
from ovsdriver.web.asking import AnsweredError, Asking

log = logging.getLogger(__name__)

WAIT_S = 2.0
"""From one look at traffic to the next; changes of Open vSwitch end the wait."""
PAUSE_S = 0.2
"""At least, between two looks."""
DETAILS_S = 10.0
"""After so long, what no change of Open vSwitch tells of is read again: options, pools."""
AGAIN_S = 2.0
"""After an answer that failed."""
EVENTS = 300
"""The newest ones, which a browser has a list of."""
EVENTS_S = 86_400.0
"""Older ones are for ``ovsnet events``."""

Shown = tuple[int, str]
"""Which one it is, and JSON."""


class Watch:
    """Reads while somebody looks, and hands out what is new to each, the latest of each kind.

    Kinds: ``graph`` with places, ``traffic`` by edge, ``details`` (status, report and pools),
    ``events``, the newest first, and ``trouble``: why nothing is known, empty when it is again.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._latest: dict[str, Shown] = {}
        self._count = 0
        self._news = asyncio.Condition()
        self._lookers = 0
        self._reading: asyncio.Task[None] | None = None

    async def looks(self) -> AsyncGenerator[tuple[str, str], None]:
        """Yield each kind and its JSON, at first what is known already."""
        self._lookers += 1
        if self._reading is None:
            self._latest.clear()  # of who looked last, hours ago
            self._reading = asyncio.create_task(self._read(), name="watch")
        seen: dict[str, int] = {}
        try:
            while True:
                async with self._news:
                    await self._news.wait_for(lambda: self._unseen(seen))
                    new = self._unseen(seen)
                for kind, (number, text) in new.items():
                    seen[kind] = number
                    yield kind, text
        finally:
            self._lookers -= 1
            if not self._lookers:
                await self.close()

    async def close(self) -> None:
        """Read nothing any more."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    def _unseen(self, seen: Mapping[str, int]) -> dict[str, Shown]:
        return {kind: each for kind, each in self._latest.items() if seen.get(kind) != each[0]}

    async def _show(self, kind: str, text: str) -> None:
        if self._latest.get(kind, (0, ""))[1] != text:
            self._count += 1
            async with self._news:
                self._latest[kind] = (self._count, text)
                self._news.notify_all()

    async def _read(self) -> None:
        changed = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._follow_graph(changed))
                both.create_task(self._follow_details(changed))
        except* Exception as faults:  # noqa: BLE001 - the last one to see it
            event(log, "page.crashed", level=logging.ERROR, fault=faults)
            await self._show("trouble", json.dumps("the page's server broke; see what it printed"))

    async def _follow_graph(self, changed: asyncio.Event) -> None:
        """Nothing that takes its time comes between two looks: a lost port is mended within one."""
        version = -1
        while True:
            try:
                found = await self._asking.look(asks.ShowGraph(seen=version, wait_s=WAIT_S))
                version = found.version
                drawn = await asyncio.to_thread(_drawn, found)
                if drawn != self._latest.get("graph", (0, ""))[1]:
                    changed.set()
                await self._show("graph", drawn)
                await self._show("traffic", _traffic(found))
                await self._show("trouble", '""')
                await asyncio.sleep(PAUSE_S)
            except AnsweredError as error:
                version = -1
                await self._show("trouble", json.dumps(str(error)))
                await asyncio.sleep(AGAIN_S)

    async def _follow_details(self, changed: asyncio.Event) -> None:
        events = _Events(self._asking)
        loop = asyncio.get_running_loop()
        read_at = -DETAILS_S
        while True:
            try:
                if changed.is_set() or loop.time() - read_at > DETAILS_S:
                    changed.clear()
                    await self._show("details", await self._details())
                    read_at = loop.time()
                await self._show("events", await events.newest())
                with suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_S):
                        await changed.wait()
                await asyncio.sleep(PAUSE_S)
            except AnsweredError:  # the graph's says why
                changed.set()
                await asyncio.sleep(AGAIN_S)

    async def _details(self) -> str:
        status, report, pools = await asyncio.gather(
            self._asking.text(asks.ShowStatus()),
            self._asking.text(asks.ShowState()),
            self._asking.text(asks.ListPools()),
        )
        return f'{{"status":{status},"report":{report},"pools":{pools}}}'


class _Events:
    """The newest events, read on from the last one."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._kept: deque[EventReport] = deque(maxlen=EVENTS)
        self._last: int | None = None

    async def newest(self) -> str:
        """Return them as JSON, the newest first."""
        more = True
        while more:
            page = await self._asking.look(
                asks.ListEvents(since=time.time() - EVENTS_S, limit=asks.PAGE_MOST)
                if self._last is None
                else asks.ListEvents(after=self._last, limit=asks.PAGE_MOST)
            )
            self._kept.extend(page.events)
            self._last, more = page.last, page.more
        return codec.encode(tuple(reversed(self._kept)))


def _drawn(graph: Graph) -> str:
    placed = layout(graph)
    edges = tuple(replace(each, traffic=None) for each in graph.edges)
    behind = {
        each.id: placed.behind[each.outer, each.inner]
        for each in edges
        if (each.outer, each.inner) in placed.behind
    }
    shown = {
        "nodes": graph.nodes,
        "edges": edges,
        "places": {node: (round(at.x), round(at.y)) for node, at in placed.places.items()},
        "columns": {tier.value: round(x) for tier, x in placed.columns.items()},
        "behind": behind,
        "outside": [each.id for each in edges if each.told_outside],
        "width": round(placed.width),
        "height": round(placed.height),
    }
    return codec.encode(shown)


def _traffic(graph: Graph) -> str:
    return codec.encode({each.id: each.traffic._asdict() for each in graph.edges if each.traffic})
