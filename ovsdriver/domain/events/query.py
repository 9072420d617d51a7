"""Which events somebody asks for."""

from dataclasses import dataclass

from ovsdriver.domain.events.event import Event

_SHORTEST = 4
"""Digits that are taken for the begin of an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is left empty takes every event."""

    types: frozenset[str] = frozenset()
    """``link``, or ``link.down``."""
    network: str = ""
    """Its name, or the begin of its id."""
    container: str = ""
    """Its name, or the begin of the endpoint's id."""

    def takes(self, event: Event) -> bool:
        """Whether an event is asked for."""
        return (
            (
                not self.types
                or event.type in self.types
                or f"{event.type}.{event.action}" in self.types
            )
            and _is(self.network, event.network, event.network_id)
            and _is(self.container, event.container, event.endpoint)
        )


def _is(wanted: str, name: str, identifier: str) -> bool:
    return (
        not wanted or wanted == name or (len(wanted) >= _SHORTEST and identifier.startswith(wanted))
    )
