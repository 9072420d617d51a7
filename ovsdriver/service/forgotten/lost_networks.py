"""Remove networks of ours that Docker has no more, and whose end nobody told us.

DeleteNetwork is sent once, or never: a plugin that is away for a minute misses it, with the
releases of its pools, and a dockerd that is killed in CreateNetwork forgets what we made.

A network is removed if nothing is attached to it here, and the daemon that it is of, alone and in
three readings over ten minutes, does not list it. One that no daemon ever listed may be removed on
the word of any, if nothing was ever attached to it: else a daemon that we could not read has it.
Networks of swarm are left to people: a node lists them only while it has tasks.
"""

import logging
import time
from collections.abc import Callable, Sequence

from ovsdriver.domain.records.model import Network, NetworkId
from ovsdriver.ports import EngineView, State
from ovsdriver.service.forgotten.doubts import Doubts
from ovsdriver.service.networks.networks import Networks

log = logging.getLogger(__name__)

PATIENCE_S = 600.0
READINGS = 3
READINGS_APART_S = 60.0

_LOCAL_ID_DIGITS = 64
"""Swarm's ids are shorter."""


class LostNetworks:
    """Looks at one reading of Docker after the other."""

    def __init__(
        self,
        *,
        state: State,
        networks: Networks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._networks = networks
        self._clock = clock
        self._doubts: Doubts[NetworkId] = Doubts(
            patience_s=PATIENCE_S, readings=READINGS, apart_s=READINGS_APART_S
        )

    async def collect(self, view: EngineView) -> None:
        """Remove what this reading leaves no doubt about."""
        lost = [each.id for each in self._state.networks() if self._lost(each, view)]
        for network_id in self._doubts.look(lost, now=self._clock(), daemon=view.id):
            network = self._state.network(network_id)
            if network is not None and self._lost(network, view):
                await self._remove(network)

    def doubted(self) -> Sequence[NetworkId]:
        """Return the networks that the last reading did not list."""
        return self._doubts.doubted()

    def _lost(self, network: Network, view: EngineView) -> bool:
        return (
            network.made
            and not network.ended
            and network.id not in view.networks
            and (network.engine == view.id or (network.unused and not network.engine))
            and len(network.id) == _LOCAL_ID_DIGITS
            and not self._state.endpoints(network.id)
        )

    async def _remove(self, network: Network) -> None:
        if not await self._networks.delete(network.id):
            return
        log.warning(
            "network.collected",
            extra={
                "network": network.id,
                "subnets": ",".join(str(each.cidr.cidr) for each in network.subnets),
                "why": "Docker does not list it and nothing is attached to it, in readings over "
                f"{PATIENCE_S:.0f} s",
            },
        )
