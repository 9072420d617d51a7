"""Asking a pool's segment for addresses, for the IPAM: from the host's own port on it."""

import logging
from collections.abc import Mapping, Sequence

from netaddr import IPAddress

from ipam import PoolId
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.wires import desired
from ovsdriver.errors import DriverError
from ovsdriver.ports import Journal, Links, State

log = logging.getLogger(__name__)


class SegmentProber:
    """What ``ipam.probe`` asks with: see :class:`ipam.probing.Prober`.

    A question that cannot be asked counts as not answered: it must not keep containers from
    starting.
    """

    def __init__(self, *, owner: str, state: State, links: Links, journal: Journal) -> None:
        self._owner = owner
        self._journal = journal
        self._state = state
        self._links = links

    async def claimed(
        self, pool: PoolId, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, str]:
        """Return the MACs of those who answer within that time; empty if nobody can be asked."""
        network = self._state.network_of_pool(pool)
        link = desired.asking_link(network, owner=self._owner) if network is not None else None
        if link is None:
            log.debug(
                "ipam.probe-nowhere",
                extra={"pool": pool, "why": "no network of ovsnet has the pool"},
            )
            return {}
        try:
            found = await self._links.neighbours(link, addresses, within_s=within_s)
        except DriverError as error:
            log.warning("ipam.probe-failed", extra={"pool": pool, "why": str(error)})
            return {}
        macs = {address: mac_text(mac) for address, mac in found.items()}
        for address, mac in macs.items():
            self._tell(network, pool, address, mac)
        return macs

    def _tell(self, network: Network | None, pool: PoolId, address: IPAddress, mac: str) -> None:
        conflict = Happening(
            EventType.CONFLICT,
            "answered",
            network="" if network is None else network.id,
            attributes={"address": str(address), "mac": mac, "pool": pool},
        )
        self._journal.tell(conflict, level=logging.WARNING)
