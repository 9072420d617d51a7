"""Whom events are sent to, and as what: CloudEvents 1.0, JSON, in structured mode."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from ovsdriver.domain.events.event import Event
from ovsdriver.domain.events.query import Query

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver."""

    url: str
    """``http:`` or ``https:``."""
    types: tuple[str, ...] = ()
    """As of :class:`Query`; none: all."""
    secret: str = field(repr=False)
    """Signs what is sent: HMAC-SHA256."""

    @property
    def query(self) -> Query:
        """Return which events it gets."""
        return Query(types=frozenset(self.types))

    @property
    def host(self) -> str:
        """The name or address of its server."""
        return urlsplit(self.url).hostname or ""

    @property
    def shown(self) -> str:
        """Its URL without what may be secret in it."""
        parts = urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{place}{parts.path}"


def cloud_event(event: Event, *, source: str) -> Mapping[str, object]:
    """Return an event as CloudEvents has it.

    ``source`` says whose it is: a host's and an instance's name. With the ``id`` it is unique.
    """
    subject = "/".join(each for each in (event.network, event.container) if each)
    return {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"/ovsnet/{quote(source)}",
        "type": f"ovsnet.{event.type}.{event.action}",
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds"),
        **({"subject": subject} if subject else {}),
        "datacontenttype": "application/json",
        "data": {
            "type": event.type,
            "action": event.action,
            "network": event.network,
            "container": event.container,
            "endpoint": event.endpoint,
            "network_id": event.network_id,
            "cause": event.cause,
            "attributes": dict(event.attributes),
        },
    }
