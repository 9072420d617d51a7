"""Several ports that change at once: no frame meets half of them in the old VLAN. Pure."""

from collections.abc import Sequence

from ovsdriver.adapters.ovs.ovsdb import Operation, Replica
from ovsdriver.adapters.ovs.rows.ports import EnsurePort
from ovsdriver.adapters.ovs.rows.uplinks import EnsureUplink


class ChangeTogether:
    """Put right the ports that are there; those that are not are left to who makes them."""

    def __init__(self, plans: Sequence[EnsurePort | EnsureUplink]) -> None:
        self._plans = plans

    def __call__(self, replica: Replica) -> list[Operation]:
        """Return the operations, none if all is as wanted; errors as of the single plans."""
        return [
            operation for plan in self._plans if plan.there(replica) for operation in plan(replica)
        ]
