"""Servers of webhooks in memory."""

from collections.abc import Mapping
from typing import Any

from ovsdriver.domain.events.webhooks import Webhook
from ovsdriver.errors import UnavailableError


class FakeReceivers:
    """The port ``Receivers``: what each URL took, and why it takes nothing now."""

    def __init__(self) -> None:
        self.taken: dict[str, list[Mapping[str, Any]]] = {}
        self.faults: dict[str, str] = {}
        self.tries = 0

    async def send(self, webhook: Webhook, event: Mapping[str, object]) -> None:
        self.tries += 1
        if webhook.url in self.faults:
            raise UnavailableError(self.faults[webhook.url])
        self.taken.setdefault(webhook.url, []).append(event)
