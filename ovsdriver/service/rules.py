"""The host's rules as all records say: one plan for all networks and published ports."""

import logging
from collections.abc import Collection

from ovsdriver.domain import desired
from ovsdriver.domain.firewall import FirewallPlan
from ovsdriver.domain.model import Publication
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Firewall, State

log = logging.getLogger(__name__)


class Rules:
    """The firewall, told what the records want."""

    def __init__(
        self, *, state: State, firewall: Firewall, outside_bridges: tuple[str, ...] = ()
    ) -> None:
        self._state = state
        self._firewall = firewall
        self._outside_bridges = outside_bridges

    async def ensure(self) -> bool:
        """Make the host's rules as all records say; False if they already were."""
        return await self._firewall.ensure(self._plan())

    async def differ(self) -> bool:
        """Whether :meth:`ensure` would change anything; changes nothing."""
        return await self._firewall.differs(self._plan())

    def _plan(self) -> FirewallPlan:
        return desired.firewall(
            self._state.networks(),
            self._state.endpoints(),
            outside_bridges=self._outside_bridges,
        )

    async def cut(self, published: Collection[Publication]) -> None:
        """End the connections of ports that are published no more, or not yet.

        Where the kernel cannot, they end by themselves, as the containers' ends let them.
        """
        try:
            await self._firewall.cut(published)
        except UnavailableError as error:
            log.warning("ports.connections-left", extra={"why": str(error)})
