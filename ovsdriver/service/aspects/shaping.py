"""Rates, delays and losses of containers' links: made with the port, and kept.

What a container sends is shaped on its own end of the pair, which Docker moves into the sandbox
some time after Join, and the kernel forgets disciplines of a link that moves. So that end is
shaped afterwards, as soon as it is found inside.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.records.options.shaping import NO_NETEM, LinkShape, Shaping
from ovsdriver.domain.wires import desired
from ovsdriver.errors import DriverError, UnavailableError, UnsupportedError
from ovsdriver.ports import HostNotes, Shapes, State
from ovsdriver.service.aspects.aspect import Aspect, Finding, never

log = logging.getLogger(__name__)

_NOTE = "shaped:"
"""Key of the note, before an endpoint's id: there may be disciplines of ours on its link."""
_MOVE_S = 30.0
"""How long a link that Docker is to move is looked for; later looks are the reconciler's."""
_PAUSE_S = 0.1
_INSIDE_S = 25.0
"""Time between two looks into sandboxes."""
_NOTHING = LinkShape()


class Shaper(Aspect):
    """Links of containers for which nothing is asked are never touched."""

    name = "shaping"
    needs_switch = False

    def __init__(self, *, state: State, notes: HostNotes, shapes: Shapes) -> None:
        self._state = state
        self._notes = notes
        self._shapes = shapes
        self._moving: dict[EndpointId, float] = {}
        """Whose end is not in its sandbox yet, and since when, on the loop's clock."""
        self._news = asyncio.Event()
        self._inside_from = 0.0

    async def check(self, network: Network, endpoint: Endpoint) -> None:
        """Refuse what this kernel cannot do: UnsupportedError."""
        await self._check(desired.shaping(network, endpoint))

    async def check_network(self, network: Network) -> None:
        """Refuse what this kernel cannot do: UnsupportedError."""
        await self._check(Shaping.of(network.port))

    async def _check(self, shaping: Shaping) -> None:
        if shaping.towards.impaired and not await self._shapes.able(shaping.towards):
            raise UnsupportedError(NO_NETEM)

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Have the link of a plugged-in endpoint shaped as its records say.

        Raises:
            UnsupportedError: the kernel cannot do it.
            ConflictError: somebody else shapes the link.
            UnavailableError: the kernel or the store did not answer.
        """
        wanted = desired.shaping(network, endpoint)
        noted = self._noted(endpoint.id)
        if not noted and not wanted.towards and not wanted.away:
            return
        if not noted:
            await self._notes.put_note(f"{_NOTE}{endpoint.id}", "")
        await self._shapes.on_host(names.port(endpoint), wanted.towards)
        if not wanted.away and not noted:
            return
        if not await self._shape_inside(endpoint, wanted.away):
            self._moving[endpoint.id] = asyncio.get_running_loop().time()
            self._news.set()
        elif not wanted.towards and not wanted.away:
            await self._forget(endpoint.id)

    async def forget(self, endpoint: Endpoint) -> None:
        """Forget that its link was shaped."""
        await self._forget(endpoint.id)

    async def _forget(self, endpoint: EndpointId) -> None:
        self._moving.pop(endpoint, None)
        if self._noted(endpoint):
            await self._notes.forget_note(f"{_NOTE}{endpoint}")

    async def find(self) -> Sequence[Finding]:
        """Compare links of the host; sandboxes are gone into now and then, which costs threads."""
        noted = [EndpointId(k.removeprefix(_NOTE)) for k in self._notes.notes() if _ours(k)]
        observed = await self._shapes.observed() if noted else {}
        inside = asyncio.get_running_loop().time() >= self._inside_from
        found: list[Finding] = []
        for each in noted:
            what = f"endpoint {each[:12]}: its link was not shaped as it should be"
            endpoint = self._state.endpoint(each)
            network = self._state.network(endpoint.network) if endpoint is not None else None
            if endpoint is None or network is None:
                found.append(Finding(what=what, amiss=never, mend=partial(self._forget, each)))
                continue
            if endpoint.sandbox is None or endpoint.ended or each in self._moving:
                continue
            wanted, link = desired.shaping(network, endpoint), names.port(endpoint)
            if not self._shapes.same(observed.get(link, _NOTHING), wanted.towards):
                found.append(Finding(what=what, mend=partial(self._mend, link, wanted.towards)))
            if inside and wanted.away:
                again = partial(self._mend_inside, endpoint, wanted.away)
                found.append(Finding(what=what, amiss=never, mend=again))
        return found

    async def _mend(self, link: str, shape: LinkShape) -> bool:
        await self._shapes.on_host(link, shape)
        return True

    async def _mend_inside(self, endpoint: Endpoint, shape: LinkShape) -> None:
        self._inside_from = asyncio.get_running_loop().time() + _INSIDE_S
        await self._shape_inside(endpoint, shape)

    async def run(self) -> None:
        """Shape containers' own ends as Docker moves them, until cancelled."""
        while True:
            self._news.clear()
            for each in tuple(self._moving):
                await self._follow(each)
            try:
                async with asyncio.timeout(_PAUSE_S if self._moving else None):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _follow(self, endpoint_id: EndpointId) -> None:
        began = self._moving[endpoint_id]
        endpoint = self._state.endpoint(endpoint_id)
        network = self._state.network(endpoint.network) if endpoint is not None else None
        if endpoint is None or network is None or endpoint.sandbox is None:
            self._moving.pop(endpoint_id, None)
            return
        try:
            done = await self._shape_inside(endpoint, desired.shaping(network, endpoint).away)
        except UnavailableError:
            done = False
        except DriverError as error:
            log.warning("shaping.failed", extra={"endpoint": endpoint_id, "why": str(error)})
            done = True
        if done or asyncio.get_running_loop().time() - began > _MOVE_S:
            self._moving.pop(endpoint_id, None)

    async def _shape_inside(self, endpoint: Endpoint, shape: LinkShape) -> bool:
        if endpoint.sandbox is None:
            return False
        return await self._shapes.inside(endpoint.sandbox, endpoint.mac, shape)

    def _noted(self, endpoint: EndpointId) -> bool:
        return f"{_NOTE}{endpoint}" in self._notes.notes()


def _ours(key: str) -> bool:
    return key.startswith(_NOTE)
