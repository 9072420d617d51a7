"""Containers that are started again get what `ovsnet set` had changed of them.

In the background: which container an endpoint is of is known to Docker's API alone, which is not
asked while Docker waits for us. So the container has its old options for a moment.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from ovsdriver import codec
from ovsdriver.domain.records.model import Endpoint, EndpointId, NetworkId
from ovsdriver.domain.records.options import changed_options
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Engine, EngineView, HostNotes, State
from ovsdriver.service.change.timed import TimedChanges
from ovsdriver.words.changes import OtherOptions

log = logging.getLogger(__name__)

SETTLE_S = 0.3
"""Changes of ports come in bursts: one look serves all of a burst."""

LONGEST_PAUSE_S = 60.0
"""Between looks while there is something that Docker has not told yet."""


class KeptOptions:
    """Notes what was changed, and changes it again at the next start."""

    def __init__(
        self,
        *,
        state: State,
        notes: HostNotes,
        engine: Engine,
        changes: TimedChanges,
        settle_s: float = SETTLE_S,
    ) -> None:
        """Build it.

        Args:
            state: networks and endpoints.
            notes: where it is kept.
            engine: Docker, for which container an endpoint is of.
            changes: changes.
            settle_s: pause before a look.
        """
        self._state = state
        self._notes = notes
        self._engine = engine
        self._changes = changes
        self._settle_s = settle_s
        self._poked = asyncio.Event()
        self._everything = True
        self._sandboxes: set[str] = set()
        self._containers: dict[EndpointId, str] = {}
        """Ids of containers, as far as they are known."""
        self._refused: dict[EndpointId, str] = {}
        self._tidied = False

    def poke(self, sandbox: str | None = None) -> None:
        """Ask for a look soon, at everything or what is in one sandbox; as often as you like."""
        if sandbox is None:
            self._everything = True
        else:
            self._sandboxes.add(sandbox)
        self._poked.set()

    async def run(self) -> None:
        """Look whenever poked, and again while Docker has not told all, until cancelled."""
        pause_s = self._settle_s
        while True:
            self._poked.clear()
            everything, self._everything = self._everything, False
            sandboxes, self._sandboxes = self._sandboxes, set()
            try:
                done = await self.look(None if everything else sandboxes)
            except DriverError as error:
                log.debug("kept.not-looked", extra={"why": str(error)})
                done = False
            self._everything = self._everything or not done
            pause_s = self._settle_s if done else min(pause_s * 2, LONGEST_PAUSE_S)
            try:
                async with asyncio.timeout(None if done else pause_s):
                    await self._poked.wait()
            except TimeoutError:
                continue
            pause_s = self._settle_s
            await asyncio.sleep(self._settle_s)

    async def note(self, endpoint_id: EndpointId, container: str) -> None:
        """Note what was changed of an endpoint, if it is known which container's it is.

        Otherwise that is left to the next look.
        """
        endpoint = self._state.endpoint(endpoint_id)
        if endpoint is not None and endpoint.asked is not None and container:
            self._containers[endpoint_id] = container
            await self._settle(endpoint, changed_options.key(endpoint.network, container))
        self.poke()

    async def look(self, sandboxes: Iterable[str] | None = None) -> bool:
        """Note what was changed, and change what was started; False if Docker must tell more.

        Of everything, or of what is in some sandboxes. Docker is asked only if something depends
        on it.
        """
        await self._forget_gone_networks()
        notes = self._kept()
        self._forget_gone_endpoints()
        if sandboxes is None:
            standing = self._state.endpoints()
        else:
            standing = [each for path in sandboxes for each in self._state.endpoints_in(path)]
        concerned = self._concerned(standing, notes)
        if not concerned and (self._tidied or not notes):
            self._tidied = True
            return True
        if not self._tidied or any(each.id not in self._containers for each in concerned):
            await self._tidy(await self._engine.read(), notes)
        done = True
        for each in concerned:
            container = self._containers.get(each.id)
            if container is None:
                done = False
            else:
                await self._settle(each, changed_options.key(each.network, container))
        return done

    async def _forget_gone_networks(self) -> None:
        for key in self._kept():
            if self._state.network(changed_options.place(key)[0]) is None:
                await self._notes.forget_note(key)

    def _kept(self) -> Mapping[str, str]:
        return {
            k: v for k, v in self._notes.notes().items() if k.startswith(changed_options.PREFIX)
        }

    def _forget_gone_endpoints(self) -> None:
        for known in (self._containers, self._refused):
            for gone in [each for each in known if self._state.endpoint(each) is None]:
                del known[gone]
                self._tidied = False  # its container may be gone as well

    def _concerned(
        self, standing: Iterable[Endpoint], notes: Mapping[str, str]
    ) -> Sequence[Endpoint]:
        """Return those that a note is missing of, or may be there for."""
        networks = {changed_options.place(key)[0] for key in notes}
        return [
            each
            for each in standing
            if not each.ended
            and each.sandbox is not None
            and self._refused.get(each.id) != str(each.options)
            and self._differs(each, notes, networks)
        ]

    def _differs(
        self, endpoint: Endpoint, notes: Mapping[str, str], networks: set[NetworkId]
    ) -> bool:
        container = self._containers.get(endpoint.id)
        noted = notes.get(changed_options.key(endpoint.network, container)) if container else None
        if endpoint.asked is None:
            return noted is not None if container else endpoint.network in networks
        wanted = changed_options.of(endpoint, self._changes.lasting(endpoint))
        return (
            container is None
            or (None if noted is None else changed_options.decode(noted)) != wanted
        )

    async def _tidy(self, view: EngineView, notes: Mapping[str, str]) -> None:
        """Learn containers, and forget notes of containers and networks that are gone."""
        for endpoint, each in view.endpoints.items():
            if each.container_id:
                self._containers[endpoint] = each.container_id
        for key in notes:
            network, container = changed_options.place(key)
            if self._state.network(network) is None or container not in view.containers:
                await self._notes.forget_note(key)
        self._tidied = True

    async def _settle(self, endpoint: Endpoint, key: str) -> None:
        text = self._notes.notes().get(key)
        noted = None if text is None else changed_options.decode(text)
        if endpoint.asked is None and noted is not None and noted.asked == endpoint.options:
            await self._change(endpoint, noted)
            return
        wanted = changed_options.of(endpoint, self._changes.lasting(endpoint))
        if wanted is not None:
            await self._notes.put_note(key, codec.encode(wanted))
        elif text is not None:
            await self._notes.forget_note(key)

    async def _change(self, endpoint: Endpoint, noted: changed_options.Kept) -> None:
        try:
            await self._changes.endpoint(endpoint.id, OtherOptions(typed=noted.changes))
        except UnavailableError:
            raise
        except DriverError as error:
            self._refused[endpoint.id] = str(endpoint.options)
            log.warning(
                "endpoint.options-not-kept",
                extra={"endpoint": endpoint.id, "network": endpoint.network, "why": str(error)},
            )
