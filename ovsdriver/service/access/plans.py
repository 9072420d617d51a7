"""What access rules come to now."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from netaddr import IPAddress

from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.domain.wires import desired
from ovsdriver.ports import State
from ovsdriver.service.access.named_sets import NamedSets


class Plans:
    """Makes the plan of all records, as Docker calls things and as named sets say."""

    def __init__(
        self,
        *,
        state: State,
        sets: NamedSets,
        called: Callable[[], Mapping[str, str]],
        names_at: tuple[IPAddress, ...] = (),
    ) -> None:
        """Say what it is made of.

        Args:
            state: the records.
            sets: of rules.
            called: names by ids of networks and endpoints, as far as they are known.
            names_at: as ``AccessPlan.names_at``.
        """
        self._state = state
        self._sets = sets
        self._called = called
        self._names_at = names_at
        self._made_of: object = None
        self._made = AccessPlan()

    def now(self) -> AccessPlan:
        """Return it; empty where nobody has rules, and that costs a look at each record.

        The same again as long as nothing that it is made of is different.
        """
        networks, endpoints = tuple(self._state.networks()), tuple(self._state.endpoints())
        called, sets = self._called(), self._sets.all()
        made_of = (networks, endpoints, dict(called), dict(sets))
        if made_of != self._made_of:
            plan = desired.access(networks, endpoints, called=called, sets=sets)
            self._made = replace(plan, names_at=self._names_at) if plan.names_port else plan
            self._made_of = made_of
        return self._made
