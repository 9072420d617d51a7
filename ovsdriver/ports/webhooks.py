"""Servers of others that are told of events."""

from collections.abc import Mapping
from typing import Protocol

from ovsdriver.domain.events.webhooks import Webhook


class Receivers(Protocol):
    """Where webhooks lead."""

    async def send(self, webhook: Webhook, event: Mapping[str, object]) -> None:
        """Send one event, signed; returns when it was taken.

        UnavailableError, with a clause about the server: it is not found, does not answer in
        10 s, or answers anything but yes.
        """
        ...
