"""What networks and containers are called, noted for events: their readers know names, not ids."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Engine, Events, State
from ovsdriver.service.forgotten.witnesses import Witness

_AGAIN_S = 0.1
"""Before Docker is asked again for a container that it did not list yet."""


class Called:
    """Notes names of ours whenever Docker was read, and asks for them when a person waits."""

    def __init__(self, *, state: State, events: Events, engine: Engine, witness: Witness) -> None:
        self._state = state
        self._events = events
        self._engine = engine
        self._witness = witness
        witness.on_read(self._note)

    async def ask(self, endpoints: Collection[EndpointId], *, within_s: float) -> None:
        """Note what the containers of endpoints are called, also of those that are being started.

        What Docker does not tell within that time stays unknown.
        """
        wanted: dict[NetworkId, list[EndpointId]] = {}
        for each in map(self._state.endpoint, endpoints):
            if each is not None and each.sandbox is not None:
                wanted.setdefault(each.network, []).append(each.id)
        with suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(within_s):
                while wanted:
                    for network, some in list(wanted.items()):
                        called = await self._engine.called(network, some)
                        names: dict[str, str] = {
                            each: told[0] for each, told in called.items() if told
                        }
                        self._events.note_names(names)
                        wanted[network] = [each for each in some if each not in names]
                        if not wanted[network]:
                            del wanted[network]
                    await asyncio.sleep(_AGAIN_S)

    def _note(self) -> None:
        seen = self._witness.seen()
        if seen is None:
            return
        view = seen.view
        ids = (each.id for each in self._state.networks())
        names: dict[str, str] = {each: view.networks[each] for each in ids if each in view.networks}
        for endpoint in self._state.endpoints():
            listed = view.endpoints.get(endpoint.id)
            if listed is not None and listed.container:
                names[endpoint.id] = listed.container
        self._events.note_names(names)
