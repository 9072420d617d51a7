"""What access rules come to now."""

from collections.abc import Callable, Mapping

from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.domain.wires import desired
from ovsdriver.ports import State
from ovsdriver.service.access.named_sets import NamedSets


class Plans:
    """Makes the plan of all records, as Docker calls things and as named sets say."""

    def __init__(
        self, *, state: State, sets: NamedSets, called: Callable[[], Mapping[str, str]]
    ) -> None:
        """``called``: names by ids of networks and endpoints, as far as they are known."""
        self._state = state
        self._sets = sets
        self._called = called

    def now(self) -> AccessPlan:
        """Return it; empty where nobody has rules, and that costs a look at each record."""
        return desired.access(
            self._state.networks(),
            self._state.endpoints(),
            called=self._called(),
            sets=self._sets.all(),
        )
