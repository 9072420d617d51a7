"""Carriers of containers' links and of uplinks, told when they come and go.

A container that starts or stops takes its link up and down; that is no event. What counts is a
link that loses its carrier while its container stays attached.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId
from ovsdriver.domain.records.options.port_options import Cable
from ovsdriver.domain.wires import desired
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Links, State, StoredEvents

SETTLE_S = 0.5
"""A link that was lost is looked at again so much later: its container may be about to end."""


YOUNG_S = 5.0
"""So long after a link was made a loss is no event if it comes back: Docker moves the other end
into the container, which takes it down."""


class Carriers:
    """Hears of every link, and tells of ours."""

    def __init__(
        self,
        *,
        state: State,
        links: Links,
        events: StoredEvents,
        busy: Callable[[EndpointId], bool],
        plugged: Callable[[], None] = lambda: None,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            state: records.
            links: of the host.
            events: where it is told.
            busy: whether a call is at work on an endpoint.
            plugged: called when a link whose cable is pulled has a carrier.
            settle_s: see :data:`SETTLE_S`.
            clock: seconds.
        """
        self._plugged = plugged
        self._state = state
        self._links = links
        self._events = events
        self._busy = busy
        self._settle_s = settle_s
        self._clock = clock
        self._made: dict[str, float] = {}
        """When links were heard of first that are young."""
        self._running: dict[str, bool] = {}
        """Whether links have a carrier, by what was heard of them last."""
        self._down: set[str] = set()
        """Those that were told to be down."""
        self._doubts: dict[str, bool] = {}
        """Links that lost theirs since the last look; whether it is back."""
        self._news = asyncio.Event()

    def heard(self, link: str, running: bool | None) -> None:
        """Take what the kernel says of any link; None: it is gone. Cheap."""
        if running is None:
            self._running.pop(link, None)
            self._made.pop(link, None)
            self._doubts.pop(link, None)
            self._down.discard(link)
            return
        before = self._running.get(link)
        self._running[link] = running
        if before is None:
            self._made[link] = self._clock()
        if before is None or before is running:
            return
        if running and self._pulled(link):
            self._plugged()
        if not running:
            self._doubts[link] = False
        elif link in self._doubts:
            self._doubts[link] = True
        elif link in self._down:
            self._down.discard(link)
            self._tell(link, "up")
        else:
            return
        self._news.set()

    async def run(self) -> None:
        """Look at what was lost, until cancelled."""
        await self._begin()
        while True:
            await self._news.wait()
            await asyncio.sleep(self._settle_s)
            self._news.clear()
            self._look()

    def _look(self) -> None:
        now = self._clock()
        self._made = {link: at for link, at in self._made.items() if now - at < YOUNG_S}
        doubts, self._doubts = self._doubts, {}
        for link, back in doubts.items():
            if link in self._made:
                if not back:  # not yet
                    self._doubts[link] = False
                    self._news.set()
            elif self._tell(link, "down"):
                if back:
                    self._tell(link, "up")
                else:
                    self._down.add(link)

    async def _begin(self) -> None:
        """Tell of what was lost or came back while nobody listened."""
        try:
            links = await self._links.links()
        except UnavailableError:
            return
        told = self._events.latest(EventType.LINK)
        attached = {names.host_link(each.id): each for each in self._state.endpoints()}
        for name, link in links.items():
            running = self._running.setdefault(name, link.up and link.carrier)
            endpoint = attached.get(name)
            if endpoint is None or endpoint.sandbox is None:
                continue
            known_down = told.get(endpoint.id) == "down"
            if known_down and running:
                self._tell(name, "up")
            elif not running and (known_down or self._tell(name, "down")):
                self._down.add(name)

    def _tell(self, link: str, action: str) -> bool:
        """Tell of a link, if it is one of ours that should have a carrier."""
        endpoint = self._endpoint(link)
        if endpoint is not None:
            happening = Happening(
                EventType.LINK,
                action,
                network=endpoint.network,
                endpoint=endpoint.id,
                attributes={"link": link},
            )
        elif (bridge := self._uplinks().get(link)) is not None:
            attributes = {"nic": link, "bridge": bridge}
            happening = Happening(EventType.UPLINK, action, attributes=attributes)
        else:
            return False
        self._events.tell(happening, level=logging.WARNING if action == "down" else logging.INFO)
        return True

    def _endpoint(self, link: str) -> Endpoint | None:
        if not link.startswith(names.PLUG_PREFIX):
            return None
        for each in self._state.endpoints():
            if names.host_link(each.id) == link:
                there = each.sandbox is not None and not each.ended and not self._busy(each.id)
                return each if there else None
        return None

    def _pulled(self, link: str) -> bool:
        """Whether the cable of a link is pulled; that of a young one is not asked for."""
        if self._clock() - self._made.get(link, -YOUNG_S) < YOUNG_S:
            return False
        endpoint = self._endpoint(link)
        if endpoint is not None:
            network = self._state.network(endpoint.network)
            return network is not None and desired.cable(network, endpoint) is Cable.DOWN
        return self._uplinks().get(link) in desired.pulled_uplinks(self._state.networks())

    def _uplinks(self) -> Mapping[str, str]:
        return {
            nic: each.segment.bridge
            for each in self._state.networks()
            if each.segment.uplink is not None and not each.ended
            for nic in each.segment.uplink.nics
        }
