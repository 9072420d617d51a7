"""Remove everything that carries our mark, records included."""

import logging
from dataclasses import dataclass

from ipam.service import Ipam
from ovsdriver.domain import names
from ovsdriver.errors import DriverError
from ovsdriver.ports import Firewall, HostNotes, Links, State, Switch

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


class Purge:
    """By the mark and nothing else: what others put on our bridges keeps those bridges alive."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        notes: HostNotes,
        ipam: Ipam,
        switch: Switch,
        links: Links,
        firewall: Firewall,
    ) -> None:
        self._owner = owner
        self._state = state
        self._notes = notes
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._firewall = firewall

    async def run(self, *, switch_wait_s: float) -> Purged:
        """Remove it all; what one part of the host refuses does not keep the others from it.

        The records go last, and only when their plumbing is gone, so that a purge can be run
        again until nothing is left.
        """
        failed: list[str] = []
        ports: list[str] = []
        bridges: list[str] = []
        links: list[str] = []
        try:
            await self._switch.connected(switch_wait_s)
            await self._empty_switch(ports, bridges)
        except DriverError as error:
            failed.append(str(error))
        try:
            await self._remove_links(links)
        except DriverError as error:
            failed.append(str(error))
        try:
            await self._firewall.remove()
        except DriverError as error:
            failed.append(str(error))
        networks: list[str] = []
        pools: list[str] = []
        if not failed:
            await self._forget(networks, pools)
        purged = Purged(
            ports=tuple(ports),
            bridges=tuple(bridges),
            links=tuple(links),
            networks=tuple(networks),
            pools=tuple(pools),
            failed=tuple(failed),
        )
        log.warning(
            "purge.done",
            extra={
                "ports": len(ports),
                "bridges": len(bridges),
                "links": len(links),
                "networks": len(networks),
                "pools": len(pools),
                "failed": len(failed),
            },
        )
        return purged

    async def _empty_switch(self, ports: list[str], bridges: list[str]) -> None:
        for bridge in self._switch.bridges().values():
            for port in bridge.ports:
                if port.external_ids.get(names.OWNER_KEY) != self._owner:
                    continue
                if await self._switch.remove_port(port.name):
                    ports.append(port.name)
        for bridge in self._switch.bridges().values():
            if bridge.owned and await self._switch.remove_bridge(bridge.name):
                bridges.append(bridge.name)

    async def _remove_links(self, links: list[str]) -> None:
        for link in (await self._links.links()).values():
            if names.owned_alias(self._owner, link.alias) and await self._links.remove_veth(
                link.name
            ):
                links.append(link.name)

    async def _forget(self, networks: list[str], pools: list[str]) -> None:
        for network in self._state.networks():
            if await self._state.forget_network(network.id):
                networks.append(network.id)
        for pool in self._ipam.pools():
            if await self._ipam.release_pool(pool.id):
                pools.append(str(pool.subnet))
        for key in tuple(self._notes.notes()):
            await self._notes.forget_note(key)
