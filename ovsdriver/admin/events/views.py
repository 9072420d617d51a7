"""Events as they are told: what ``--json`` prints, a line each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ovsdriver.domain.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReport:
    """One event; see :class:`~ovsdriver.domain.events.event.Event`."""

    id: int
    """0: it tells what is there, not what happened."""
    time: str
    """``2026-11-29T10:05:00.123Z``."""
    type: str
    action: str
    network: str
    container: str
    endpoint: str
    network_id: str
    cause: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some events that follow each other."""

    events: tuple[EventReport, ...] = ()
    last: int = 0
    """Id of the last event that was looked at: the next page is ``after`` that."""
    more: bool = False
    """There are further ones."""
    missed: bool = False
    """Events after the one that was seen last are no longer kept."""


def report(event: Event) -> EventReport:
    """Return how an event is told."""
    at = datetime.fromtimestamp(event.time, UTC)
    return EventReport(
        id=event.id,
        time=f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
        type=event.type,
        action=event.action,
        network=event.network,
        container=event.container,
        endpoint=event.endpoint,
        network_id=event.network_id,
        cause=event.cause,
        attributes=event.attributes,
    )
