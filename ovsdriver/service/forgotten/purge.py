"""Remove everything that carries our mark, records included."""

import logging
from dataclasses import dataclass, field

from ipam.errors import IpamError
from ipam.service import Ipam
from ovsdriver.domain.records import names
from ovsdriver.domain.wires.diff import deserted
from ovsdriver.errors import DriverError
from ovsdriver.ports import Firewall, Flows, HostNotes, Links, Nics, State, Switch
from ovsdriver.service.aspects.flows import clear
from ovsdriver.service.aspects.mirrors import Mirrors
from ovsdriver.service.aspects.published import Publisher
from ovsdriver.service.aspects.uplinks import Uplinks, free_marked

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


class MarkPurge:
    """By the mark and nothing else, for a store that cannot be read; the store is left alone.

    What others put on our bridges keeps those bridges alive.
    """

    def __init__(
        self,
        *,
        owner: str,
        switch: Switch,
        links: Links,
        nics: Nics,
        firewall: Firewall,
        flows: Flows,
        unread: str = "",
    ) -> None:
        """Build it.

        Args:
            owner: the mark.
            switch: Open vSwitch.
            links: the host's links.
            nics: those of them that are uplinks.
            firewall: our table and the accepts that go with it.
            flows: our OpenFlow rules on bridges.
            unread: why there are no records, as a sentence that names the store.
        """
        self._owner = owner
        self._switch = switch
        self._links = links
        self._nics = nics
        self._firewall = firewall
        self._flows = flows
        self._left = (
            (
                f"the records: {unread}",
                "forwarding switches of the kernel that ovsnet turned on: only the records say "
                "which, so they stay on until the next boot",
                "NICs that were uplinks stay up: only the records say whether they were before",
            )
            if unread
            else ()
        )

    async def run(self, *, switch_wait_s: float) -> Purged:
        """Remove it all; what one part of the host refuses does not keep the others from it.

        The records go last, and only when their plumbing is gone, so that a purge can be run
        again until nothing is left.
        """
        tally = _Tally()
        try:
            await self._switch.connected(switch_wait_s)
            await clear(self._switch, self._flows)
            await self._free_uplinks()
            await self._empty_switch(tally)
            await self._free_mirrors()
        except DriverError as error:
            tally.failed.append(str(error))
        try:
            await self._remove_links(tally)
        except DriverError as error:
            tally.failed.append(str(error))
        try:
            await self._firewall.remove()
        except DriverError as error:
            tally.failed.append(str(error))
        if not tally.failed:
            try:
                await self._forget(tally)
            except (DriverError, IpamError) as error:
                tally.failed.append(str(error))
        purged = Purged(
            ports=tuple(tally.ports),
            bridges=tuple(tally.bridges),
            links=tuple(tally.links),
            networks=tuple(tally.networks),
            pools=tuple(tally.pools),
            failed=tuple(tally.failed),
            left=self._left,
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

    async def _empty_switch(self, tally: _Tally) -> None:
        for bridge in self._switch.bridges().values():
            if bridge.mirrors:
                await self._switch.ensure_mirrors(bridge.name, ())
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

    async def _free_uplinks(self) -> None:
        """Take NICs out of bridges; how they were before is not known here."""
        await free_marked(self._owner, self._switch, self._nics)

    async def _free_mirrors(self) -> None:
        """Make NICs that mirrors led to as they were, which is not known here."""

    async def _forget(self, tally: _Tally) -> None:
        """Remove the records, of which there are none here."""


class Purge(MarkPurge):
    """By the mark, then the records; the switches of the kernel are put back as they say."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        notes: HostNotes,
        ipam: Ipam,
        switch: Switch,
        links: Links,
        nics: Nics,
        firewall: Firewall,
        flows: Flows,
        uplinks: Uplinks,
        mirrors: Mirrors,
        publisher: Publisher,
    ) -> None:
        super().__init__(
            owner=owner, switch=switch, links=links, nics=nics, firewall=firewall, flows=flows
        )
        self._state = state
        self._notes = notes
        self._ipam = ipam
        self._publisher = publisher
        self._uplinks = uplinks
        self._mirrors = mirrors

    async def _free_uplinks(self) -> None:
        await self._uplinks.release_all()

    async def _free_mirrors(self) -> None:
        await self._mirrors.release_all()

    async def _forget(self, tally: _Tally) -> None:
        for network in self._state.networks():
            if await self._state.forget_network(network.id):
                tally.networks.append(network.id)
        await self._publisher.release_all()
        for pool in self._ipam.pools():
            if await self._ipam.release_pool(pool.id):
                tally.pools.append(str(pool.subnet))
        for key in tuple(self._notes.notes()):
            await self._notes.forget_note(key)
