"""Telling webhooks: in order, each event until it was taken, from what is kept.

Nothing is queued. How far each has got is noted with what else is written, so after a crash a
receiver may get some again: it knows them by their id.
"""

import asyncio
import logging
from collections.abc import Sequence

from ovsdriver.domain.events.event import Event
from ovsdriver.domain.events.webhooks import Webhook, cloud_event
from ovsdriver.errors import UnavailableError
from ovsdriver.logs import event as log_event
from ovsdriver.ports import Receivers, StoredEvents
from ovsdriver.service.events.called import Called

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Between two tries."""

_AT_ONCE = 100


class Hooks:
    """Tells all of them, each for itself."""

    def __init__(
        self,
        webhooks: Sequence[Webhook],
        *,
        events: StoredEvents,
        called: Called,
        receivers: Receivers,
        source: str,
        pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Build it.

        Args:
            webhooks: whom to tell.
            events: what is kept.
            called: reads it with names.
            receivers: their servers.
            source: this host's name, for those who hear of several.
            pause_s: before the second try; each further one waits twice as long.
        """
        self._webhooks = webhooks
        self._events = events
        self._called = called
        self._receivers = receivers
        self._source = source
        self._pause_s = pause_s
        self._faults: dict[str, tuple[Webhook, str]] = {}

    def warnings(self) -> Sequence[str]:
        """Return a sentence for each that does not take what it is sent."""
        return tuple(
            f"webhook {webhook.shown}: {why}; events wait for it"
            for webhook, why in self._faults.values()
        )

    async def run(self) -> None:
        """Tell what happens, until cancelled."""
        for reader in list(self._events.positions()):
            if reader not in {each.url for each in self._webhooks}:
                self._events.forget_reader(reader)
        async with asyncio.TaskGroup() as tasks:
            for each in self._webhooks:
                # From now on: what happened before it was configured is not for it.
                if each.url not in self._events.positions():
                    self._events.note_position(each.url, self._events.newest)
                tasks.create_task(self._tell(each))
            await asyncio.Event().wait()

    async def _tell(self, webhook: Webhook) -> None:
        news = asyncio.Event()
        stop = self._events.on_event(news.set)
        try:
            while True:
                news.clear()
                try:
                    some = await self._next(webhook)
                except UnavailableError as error:
                    self._fault(webhook, str(error))
                    await asyncio.sleep(LONGEST_PAUSE_S)
                    continue
                for each in some:
                    if webhook.query.takes(each):
                        await self._until_taken(webhook, each)
                if some:
                    self._events.note_position(webhook.url, some[-1].id)
                elif not news.is_set():
                    await news.wait()
        finally:
            stop()

    async def _next(self, webhook: Webhook) -> Sequence[Event]:
        position = self._events.positions()[webhook.url]
        if position > self._events.newest:
            # the store was restored from a backup
            position = self._events.newest
            self._events.note_position(webhook.url, position)
        oldest = await self._events.oldest()
        if oldest > position + 1 and position:
            log_event(log, "webhook.missed", level=logging.WARNING, url=webhook.shown)
        return await self._called.after(position, limit=_AT_ONCE)

    async def _until_taken(self, webhook: Webhook, event: Event) -> None:
        pause_s = self._pause_s
        body = cloud_event(event, source=self._source)
        while True:
            try:
                await self._receivers.send(webhook, body)
            except UnavailableError as error:
                self._fault(webhook, str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                if self._faults.pop(webhook.url, None) is not None:
                    log_event(log, "webhook.taken", url=webhook.shown)
                return

    def _fault(self, webhook: Webhook, why: str) -> None:
        known = self._faults.get(webhook.url)
        self._faults[webhook.url] = (webhook, why)
        if known is None or known[1] != why:
            log_event(log, "webhook.failed", level=logging.WARNING, url=webhook.shown, why=why)
