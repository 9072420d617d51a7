"""What networks and containers are called: readers of events know names, not ids, and rules do too.

Docker tells a name when a container has started. What was known is kept for the next process.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from ovsdriver.domain.events.event import Event
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Engine, EngineView, Events, State
from ovsdriver.service.forgotten.witnesses import Witness

NAMED_S = 5.0
"""Who follows events waits so long for the names in one: Docker tells a container's when it has
started, and a network's when it was made."""

FRESH_S = 60.0
"""Names in older events are known, or never will be: Docker is read every minute."""

_AGAIN_S = 0.1
"""Before Docker is asked again."""


class Called:
    """Notes names of ours whenever Docker was read, and asks for them when somebody waits."""

    def __init__(
        self,
        *,
        state: State,
        events: Events,
        engine: Engine,
        witness: Witness,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._events = events
        self._engine = engine
        self._witness = witness
        self._clock = clock
        self._names = dict(events.names())
        self._followers: list[Callable[[], None]] = []
        witness.on_read(self._read)

    def names(self) -> Mapping[str, str]:
        """Return names by ids of networks and endpoints, as far as they are known."""
        return self._names

    def on_names(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when one became known, or is another."""
        self._followers.append(callback)

    async def after(self, last: int, *, limit: int) -> Sequence[Event]:
        """Return the next events after one, with names that Docker only just tells.

        Raises:
            UnavailableError: the store does not answer.
        """
        events = await self._events.after(last, limit=limit)
        young = self._clock() - FRESH_S
        fresh = [each for each in events if each.time > young]
        endpoints = {EndpointId(e.endpoint) for e in fresh if e.endpoint and not e.container}
        networks = {NetworkId(e.network_id) for e in fresh if e.network == e.network_id[:12] != ""}
        if not endpoints and not networks:
            return events
        with suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(NAMED_S):
                await self._ask(networks, endpoints)
        return await self._events.after(last, limit=len(events))

    async def _ask(
        self, networks: Collection[NetworkId], endpoints: Collection[EndpointId]
    ) -> None:
        """Ask until all of them that still stand are known."""
        unnamed = {each for each in networks if self._state.network(each) is not None}
        wanted: dict[NetworkId, list[EndpointId]] = {}
        for each in map(self._state.endpoint, endpoints):
            if each is not None and each.sandbox is not None:
                wanted.setdefault(each.network, []).append(each.id)
        while unnamed or wanted:
            if unnamed:
                view = await self._engine.read()
                self._note(view)
                unnamed -= view.networks.keys()
            for network, some in list(wanted.items()):
                called = await self._engine.called(network, some)
                names: dict[str, str] = {each: told[0] for each, told in called.items() if told}
                self._take(names)
                wanted[network] = [each for each in some if each not in names]
                if not wanted[network]:
                    del wanted[network]
            if unnamed or wanted:
                await asyncio.sleep(_AGAIN_S)

    def _read(self) -> None:
        seen = self._witness.seen()
        if seen is not None:
            self._note(seen.view)

    def _note(self, view: EngineView) -> None:
        ids = (each.id for each in self._state.networks())
        names: dict[str, str] = {each: view.networks[each] for each in ids if each in view.networks}
        for endpoint in self._state.endpoints():
            listed = view.endpoints.get(endpoint.id)
            if listed is not None and listed.container:
                names[endpoint.id] = listed.container
        for gone in [each for each in self._names if not self._stands(each)]:
            del self._names[gone]
        self._take(names)

    def _take(self, names: Mapping[str, str]) -> None:
        self._events.note_names(names)
        if names.items() <= self._names.items():
            return
        self._names |= names
        for each in self._followers:
            each()

    def _stands(self, key: str) -> bool:
        return (
            self._state.network(NetworkId(key)) is not None
            or self._state.endpoint(EndpointId(key)) is not None
        )
