"""The host's rules as all records say: one plan for all networks and published ports."""

import logging
from collections.abc import Callable, Collection, Sequence

from ovsdriver.domain.records.model import Publication
from ovsdriver.domain.traffic.firewall import FirewallPlan
from ovsdriver.domain.wires import desired
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Firewall, State
from ovsdriver.service.aspects.aspect import Aspect, Finding

log = logging.getLogger(__name__)


class FirewallRules(Aspect):
    """The firewall, told what the records want."""

    name = "firewall"
    before_ports = True  # a gateway must not forward without them
    needs_switch = False

    def __init__(
        self,
        *,
        state: State,
        firewall: Firewall,
        outside_bridges: tuple[str, ...] = (),
        in_fleet: bool = False,
    ) -> None:
        """``in_fleet``: Docker on this host may ask the name server of segments."""
        self._state = state
        self._firewall = firewall
        self._outside_bridges = outside_bridges
        self._in_fleet = in_fleet
        self._made: FirewallPlan | None = None

    async def apply(self, *, renewed: str = "") -> bool:
        """Make the host's rules as all records say; True if they were not as they were made last.

        Where the records say something else than then, it is a call that changes the rules.
        ``renewed`` is a gateway whose device may be another one than was looked at last.
        """
        if renewed:
            self._firewall.renewed(renewed)
        plan = self._plan()
        repaired = self._made in (None, plan)
        changed = await self._firewall.ensure(plan)
        self._made = plan
        return changed and repaired

    async def run(self) -> None:
        """Watch for changes by others."""
        await self._firewall.run()

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when others changed nftables or iptables."""
        self._firewall.on_loss(callback)

    async def clear(self) -> None:
        """Remove our table and accepts, and put the kernel's switches back as notes say."""
        await self._firewall.remove()

    async def find(self) -> Sequence[Finding]:
        """Doubt the table: a look at it alone costs as much as making it."""
        return [
            Finding(
                what="firewall: ovsnet's table was not as it should be",
                about=self.name,
                amiss=self._differs,
                mend=self.apply,
            )
        ]

    async def _differs(self) -> bool:
        plan = self._plan()
        return self._made in (None, plan) and await self._firewall.differs(plan)

    def _plan(self) -> FirewallPlan:
        return desired.firewall(
            self._state.networks(),
            self._state.endpoints(),
            outside_bridges=self._outside_bridges,
            refuses_names=self._in_fleet,
        )

    async def cut(self, published: Collection[Publication]) -> None:
        """End the connections of ports that are published no more, or not yet.

        Where the kernel cannot, they end by themselves, as the containers' ends let them.
        """
        try:
            await self._firewall.cut(published)
        except UnavailableError as error:
            log.warning("ports.connections-left", extra={"why": str(error)})
