"""Ports of others on the bridges of our networks: told when they come and go."""

import asyncio
import logging
from collections.abc import Collection, Mapping

from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.segments import VlanSegment
from ovsdriver.ports import Journal, State, SwitchView

SETTLE_S = 0.5


class ForeignPorts:
    """Compares what is there with what was, when the switch says that something is different."""

    def __init__(
        self, *, state: State, switch: SwitchView, journal: Journal, settle_s: float = SETTLE_S
    ) -> None:
        self._state = state
        self._switch = switch
        self._journal = journal
        self._settle_s = settle_s
        self._news = asyncio.Event()
        self._known: dict[str, frozenset[str]] | None = None
        """Names of ports, by bridge; None until there was a look."""
        switch.on_change(self._changed)

    async def run(self) -> None:
        """Look now and whenever there is reason to, until cancelled."""
        self._news.set()
        while True:
            await self._news.wait()
            await asyncio.sleep(self._settle_s)
            self._news.clear()
            self.look()

    def look(self) -> None:
        """Tell what is different since the last look.

        At the first look all is only noted, later what is on a bridge that was adopted meanwhile.
        """
        if not self._switch.status().connected:
            return
        there, known = self._there(), self._known
        for bridge, ports in there.items():
            if known is None or (bridge not in known and bridge in self._adopted()):
                continue
            before = known.get(bridge, frozenset())
            self._tell("appeared", bridge, ports - before)
            self._tell("gone", bridge, before - ports)
        self._known = dict(there)

    def _adopted(self) -> Collection[str]:
        segments = [each.segment for each in self._state.networks()]
        return {each.bridge for each in segments if each.adopted}

    def _changed(self, plugged: Collection[EndpointId] | None) -> None:
        if plugged is None:
            self._news.set()

    def _there(self) -> Mapping[str, frozenset[str]]:
        # On OVN's bridge ports of others are the rule.
        ours = {
            each.segment.bridge
            for each in self._state.networks()
            if isinstance(each.segment, VlanSegment)
        }
        uplinks = {
            nic
            for each in self._state.networks()
            if each.segment.uplink is not None
            for nic in each.segment.uplink.nics
        }
        return {
            name: frozenset(
                port.name
                for port in bridge.ports
                if names.OWNER_KEY not in port.external_ids and port.name not in uplinks
            )
            for name, bridge in self._switch.bridges().items()
            if name in ours
        }

    def _tell(self, action: str, bridge: str, ports: Collection[str]) -> None:
        for port in sorted(ports):
            attributes = {"port": port, "bridge": bridge}
            level = logging.WARNING if action == "appeared" else logging.INFO
            self._journal.tell(
                Happening(EventType.PORT, action, attributes=attributes), level=level
            )
