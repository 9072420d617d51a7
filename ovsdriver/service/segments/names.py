"""What containers of segments are called: a row of OVN's for each, by which other hosts find them.

Docker tells names to its API only, which is asked once a container has joined. The row itself is
the note of what is to be taken back: it says whose it is, and every look compares this host's with
its records.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from ipam.tasks import Tasks
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.errors import DriverError
from ovsdriver.ports import Engine, Northbound, SharedName, State
from ovsdriver.service.aspects.aspect import Aspect, Finding

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,252}")
"""What can be asked for; aliases may be any text."""

_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Before Docker is asked: it lists a container when it has done its own part of Join."""
_AGAIN_S = 1.0


class SegmentNames(Aspect):
    """A name is of one container of a segment: of two that want it, the first one has it."""

    name = "names on segments"
    needs_switch = False

    def __init__(
        self,
        *,
        state: State,
        northbound: Northbound,
        engine: Engine,
        listed: Callable[[EndpointId], str],
        host: Callable[[], str],
        pauses_s: Sequence[float] = _PAUSES_S,
    ) -> None:
        """``listed``: the container's name in Docker's last words, empty if it has none there."""
        self._state = state
        self._northbound = northbound
        self._engine = engine
        self._listed = listed
        self._host = host
        self._pauses_s = pauses_s
        self._tasks = Tasks()
        self._told: dict[EndpointId, tuple[str, ...]] = {}
        """Names that came with an address, until Docker's API says them with all aliases."""
        self._learned: dict[EndpointId, tuple[str, ...]] = {}
        self._asking: set[EndpointId] = set()
        self._due: set[EndpointId] = set()
        self._doubtful = True
        """What was written before the connection is not known."""
        self._denied: set[tuple[EndpointId, str]] = set()
        """Names of others that were told."""
        self._news = asyncio.Event()
        self._settling = asyncio.Lock()
        self._clearing = False
        """All rows go, and records are next: from :meth:`clear` to a Join, or the next look."""
        northbound.on_change(self._changed)
        northbound.on_names(self._said)

    # What happens

    async def joined(self, network: Network, endpoint: Endpoint) -> None:
        """Find out what a container is called; engine 29 has told its name with its address."""
        segment = network.segment
        if not isinstance(segment, OvnSegment) or not endpoint.addresses:
            return
        self._clearing = False
        lease = self._northbound.lease(segment.segment, endpoint.addresses[0].ip)
        if lease is not None and lease.name:
            self._told[endpoint.id] = _names([lease.name])
            self._settle_soon([endpoint.id])
        self._ask(endpoint)

    async def left(self, endpoint: Endpoint) -> None:
        """Take back what a container was called, behind Docker's back."""
        self._settle_soon([endpoint.id])

    async def forget(self, endpoint: Endpoint) -> None:
        """Take back what was not taken back at Leave."""
        self._learned.pop(endpoint.id, None)
        self._told.pop(endpoint.id, None)
        self._denied = {each for each in self._denied if each[0] != endpoint.id}
        self._settle_soon([endpoint.id])

    async def clear(self) -> None:
        """Say nothing more: the rows are taken back with all else that this host has."""
        async with self._settling:
            self._clearing = True

    def read(self) -> None:
        """Hear that Docker was read: a container may be called otherwise, or not be known yet."""
        for endpoint in self._here():
            name = self._listed(endpoint.id).lower()
            if name and name not in self._learned.get(endpoint.id, ()):
                self._ask(endpoint)

    def _changed(self, segments: Collection[str] | None) -> None:
        if segments is None:
            self._doubtful = True
            self._news.set()

    def _said(self, names: Collection[tuple[str, str]]) -> None:
        """Hear of names that somebody has now, or has not any more: who wants them looks again."""
        texts = {name for _, name in names}
        self._settle_soon(
            endpoint
            for endpoint, wanted in {**self._told, **self._learned}.items()
            if not texts.isdisjoint(wanted) and self._standing(endpoint) is not None
        )

    def _settle_soon(self, endpoints: Iterable[EndpointId]) -> None:
        self._due.update(endpoints)
        if self._due:
            self._news.set()

    async def run(self) -> None:
        """Say and take back what is to be, whenever the database answers; until cancelled."""
        deferred = ""
        while True:
            await self._news.wait()
            self._news.clear()
            if not self._northbound.status().connected:
                continue  # once it is, everything is looked at
            if why := await self._settle_due():
                if why != deferred:
                    log.info("segment.names-deferred", extra={"why": why})
                await asyncio.sleep(_AGAIN_S)
                self._news.set()
            deferred = why

    async def _settle_due(self) -> str:
        """Settle what is due; return why some of it is due still, or nothing."""
        try:
            if self._doubtful:
                self._due |= self._all()
                self._doubtful = False
        except DriverError as error:
            return str(error)
        why = ""
        for each in tuple(self._due):
            self._due.discard(each)
            try:
                await self._settle(each)
            except DriverError as error:
                # one whose segment is gone does not keep the others from it
                self._due.add(each)
                why = str(error)
        return why

    # Docker

    def _ask(self, endpoint: Endpoint) -> None:
        if endpoint.id not in self._asking:
            self._asking.add(endpoint.id)
            self._tasks.in_background(self._learn(endpoint))

    async def _learn(self, endpoint: Endpoint) -> None:
        """Ask Docker; what it does not know in time is asked for when it is read next."""
        try:
            for pause_s in self._pauses_s:
                await asyncio.sleep(pause_s)
                found = await self._engine.called(endpoint.network, [endpoint.id])
                if endpoint.id in found and self._standing(endpoint.id) is not None:
                    self._learned[endpoint.id] = _names(found[endpoint.id])
                    self._told.pop(endpoint.id, None)
                    self._settle_soon([endpoint.id])
                    return
        except DriverError as error:
            log.debug("segment.name-unknown", extra={"why": str(error)})
        finally:
            self._asking.discard(endpoint.id)

    # Rows

    async def find(self) -> Sequence[Finding]:
        """Compare this host's rows with its containers, and say which names are others'."""
        self._clearing = False
        if not self._northbound.status().connected:
            return []
        self.read()
        found = [
            Finding(
                what=f"endpoint {each[:12]}: its names in OVN's northbound database were not as "
                "they should be",
                mend=partial(self._settle, each),
            )
            for each in sorted(self._all())
            if self._wanted(each) != self._northbound.name(each)
        ]
        for endpoint in self._here():
            segment = self._segment(endpoint.id) or ""
            for name in self._own_name(endpoint.id):
                holder = self._holder(segment, name, endpoint.id)
                if holder is not None:
                    found.append(Finding(what=_denied(segment, name, holder)))
        return found

    async def _settle(self, endpoint: EndpointId) -> bool:
        async with self._settling:
            if self._clearing:
                return False
            wanted, there = self._wanted(endpoint), self._northbound.name(endpoint)
            self._tell_denied(endpoint)
            if wanted == there:
                return False
            if wanted is None:
                return await self._northbound.forget_name(endpoint)
            await self._northbound.put_name(wanted)
            return True

    def _wanted(self, endpoint_id: EndpointId) -> SharedName | None:
        """Return what the row of an endpoint should say; None: there should be none."""
        there, endpoint = self._northbound.name(endpoint_id), self._standing(endpoint_id)
        if endpoint is None:
            return None if there is None or there.host == self._host() else there
        wanted, segment = self._names_of(endpoint_id), self._segment(endpoint_id)
        if wanted is None or segment is None:
            return there
        free = tuple(each for each in wanted if self._holder(segment, each, endpoint_id) is None)
        if not free:
            return None
        return SharedName(
            segment=segment,
            endpoint=endpoint_id,
            host=self._host(),
            names=free,
            addresses=tuple(each.ip for each in endpoint.addresses),
        )

    def _names_of(self, endpoint_id: EndpointId) -> tuple[str, ...] | None:
        """Return what a container is to be called; None while nobody has said it."""
        return self._learned.get(endpoint_id, self._told.get(endpoint_id))

    def _own_name(self, endpoint_id: EndpointId) -> Sequence[str]:
        """Return a container's name without its aliases, which several may well have."""
        return (self._names_of(endpoint_id) or ())[:1]

    def _holder(self, segment: str, name: str, endpoint: EndpointId) -> SharedName | None:
        """Return who else has a name; of two who took it at once, both see the same one."""
        own = self._northbound.name(endpoint)
        has_it = own is not None and name in own.names
        for other in self._northbound.called(segment, name):
            gone = other.host == self._host() and self._standing(other.endpoint) is None
            if other.endpoint == endpoint or gone:
                continue
            if not has_it or other.endpoint < endpoint:
                return other
        return None

    def _tell_denied(self, endpoint: EndpointId) -> None:
        segment = self._segment(endpoint)
        if segment is None or self._standing(endpoint) is None:
            return
        for name in self._own_name(endpoint):
            holder = self._holder(segment, name, endpoint)
            if holder is None:
                self._denied.discard((endpoint, name))
            elif (endpoint, name) not in self._denied:
                self._denied.add((endpoint, name))
                log.warning(
                    "segment.name-taken",
                    extra={"endpoint": endpoint, "why": _denied(segment, name, holder)},
                )

    # Records

    def _all(self) -> set[EndpointId]:
        """Return all endpoints that have a row of this host's, or may have one."""
        rows = {each.endpoint for each in self._northbound.names(self._host())}
        return rows | {each.id for each in self._here()}

    def _here(self) -> Iterable[Endpoint]:
        """Give the containers on segments."""
        for network in self._state.networks():
            if isinstance(network.segment, OvnSegment):
                for each in self._state.endpoints(network.id):
                    if self._standing(each.id) is not None:
                        yield each

    def _standing(self, endpoint_id: EndpointId) -> Endpoint | None:
        """Return an endpoint that is plugged in."""
        endpoint = self._state.endpoint(endpoint_id)
        gone = endpoint is None or endpoint.ended or endpoint.sandbox is None
        return None if gone else endpoint

    def _segment(self, endpoint_id: EndpointId) -> str | None:
        endpoint = self._state.endpoint(endpoint_id)
        network = self._state.network(endpoint.network) if endpoint is not None else None
        segment = network.segment if network is not None else None
        return segment.segment if isinstance(segment, OvnSegment) else None


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    """Return names as they are asked for, without those that nobody could ask for."""
    lower = dict.fromkeys(each.lower() for each in texts)
    return tuple(each for each in lower if _NAME.fullmatch(each))


def _denied(segment: str, name: str, holder: SharedName) -> str:
    return (
        f"name {name} on segment {segment} is the container's with "
        f"{' and '.join(map(str, holder.addresses))} on host {holder.host}, which had it first; "
        "rename one of the two"
    )
