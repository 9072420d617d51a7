"""Remove everything that carries our mark, records included."""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from ipam.errors import IpamError
from ipam.leasing import Leasing
from ovsdriver.domain.records import names
from ovsdriver.domain.wires.diff import deserted
from ovsdriver.errors import DriverError
from ovsdriver.ports import Bridges, HostNotes, Links, State
from ovsdriver.service.aspects.aspect import Aspect

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What was removed, by name, and what could not be."""

    ports: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    """A sentence for each part of the host that refused: purge again."""
    left: tuple[str, ...] = ()
    """A sentence for each thing that purging again would leave as well."""


@dataclass(slots=True, kw_only=True)
class _Tally:
    ports: list[str] = field(default_factory=list)
    bridges: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def tried(self, work: Awaitable[None]) -> bool:
        """Do some of the work; False if it was refused."""
        try:
            await work
        except (DriverError, IpamError) as error:
            self.failed.append(str(error))
            return False
        return True


class Purge:
    """By the mark, then the records. What others put on our bridges keeps those bridges alive."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        notes: HostNotes,
        ipam: Leasing,
        switch: Bridges,
        links: Links,
        aspects: Sequence[Aspect],
    ) -> None:
        self._owner = owner
        self._state = state
        self._notes = notes
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._aspects = aspects

    async def run(self, *, switch_wait_s: float, unread: str = "") -> Purged:
        """Remove it all; what one part of the host refuses does not keep the others from it.

        Everything goes in the other order than it is made. The records go last, and only when
        their plumbing is gone, so that a purge can be run again until nothing is left.

        Args:
            switch_wait_s: for how long Open vSwitch is waited for.
            unread: why there are no records, as a sentence that names the store.
        """
        tally = _Tally()
        there = await tally.tried(self._switch.connected(switch_wait_s))
        backwards = tuple(reversed(self._aspects))
        for each in backwards:
            if not each.before_ports and (there or not each.needs_switch):
                await tally.tried(each.clear_unread() if unread else each.clear())
        if there:
            await tally.tried(self._empty_switch(tally))
        await tally.tried(self._remove_links(tally))
        for each in backwards:
            if each.before_ports and (there or not each.needs_switch):
                await tally.tried(each.clear_unread() if unread else each.clear())
        if not tally.failed:
            await tally.tried(self._forget(tally))
        purged = Purged(
            ports=tuple(tally.ports),
            bridges=tuple(tally.bridges),
            links=tuple(tally.links),
            networks=tuple(tally.networks),
            pools=tuple(tally.pools),
            failed=tuple(tally.failed),
            left=_left(unread) if unread else (),
        )
        log.warning(
            "purge.done",
            extra={
                "ports": len(purged.ports),
                "bridges": len(purged.bridges),
                "links": len(purged.links),
                "networks": len(purged.networks),
                "pools": len(purged.pools),
                "failed": len(purged.failed),
                "left": len(purged.left),
            },
        )
        return purged

    async def _empty_switch(self, tally: "_Tally") -> None:
        for bridge in self._switch.bridges().values():
            for port in bridge.ports:
                if port.external_ids.get(names.OWNER_KEY) != self._owner:
                    continue
                if await self._switch.remove_port(port.name):
                    tally.ports.append(port.name)
        for bridge in self._switch.bridges().values():
            if bridge.owned and await self._switch.remove_bridge(bridge.name):
                tally.bridges.append(bridge.name)

    async def _remove_links(self, tally: _Tally) -> None:
        links = await self._links.links()
        found = [each.name for each in links.values() if names.owned_alias(self._owner, each.alias)]
        if self._switch.status().connected:
            found += deserted(self._switch.bridges(), links, owner=self._owner)
        for name in found:
            if await self._links.remove_link(name):
                tally.links.append(name)

    async def _forget(self, tally: "_Tally") -> None:
        for network in self._state.networks():
            if await self._state.forget_network(network.id):
                tally.networks.append(network.id)
        for pool in self._ipam.pools():
            if await self._ipam.release_pool(pool.id):
                tally.pools.append(str(pool.subnet))
        for key in tuple(self._notes.notes()):
            await self._notes.forget_note(key)


def _left(unread: str) -> tuple[str, ...]:
    return (
        f"the records: {unread}",
        "forwarding switches of the kernel that ovsnet turned on: only the records say which, so "
        "they stay on until the next boot",
        "NICs that were uplinks stay up: only the records say whether they were before",
    )
