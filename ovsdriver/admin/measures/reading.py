"""The counters of links, and the names of what they belong to, for whoever looks just now."""

from collections.abc import Callable, Mapping

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.wires.observed import Measured
from ovsdriver.ports import EngineView, Links, Sandboxes, State


class Counters:
    """Reads counters. Nothing is read while nobody asks."""

    def __init__(self, *, owner: str, state: State, links: Links, sandboxes: Sandboxes) -> None:
        self._owner = owner
        self._state = state
        self._links = links
        self._sandboxes = sandboxes

    async def read(self) -> Mapping[str, Measured]:
        """Return what passed each link, by name, directions as :class:`Traffic` has them.

        Of the host's namespace by one dump. A device that is in its container is looked at there:
        of one on the userspace datapath Open vSwitch tells no counters (measured with 3.5).

        Raises:
            UnavailableError: the kernel does not answer.
        """
        found = dict(await self._links.measured())
        inside: dict[str, str] = {}
        called: dict[str, str] = {}
        for each in self._state.endpoints():
            if not each.internal:
                _turn(found, names.host_link(each.id))
            elif each.sandbox is not None and not each.ended:
                alias = names.alias(self._owner, each.id)
                inside[alias], called[alias] = each.sandbox, names.internal_link(each.id)
        for network in self._state.networks():
            _turn(found, names.gateway_link(network.id))
        if inside:
            for alias, measured in (await self._sandboxes.measured(inside)).items():
                found[called[alias]] = measured
        return found


def _turn(found: dict[str, Measured], link: str) -> None:
    """Have the host's end of a link say what a container's would."""
    measured = found.get(link)
    if measured is not None:
        found[link] = Measured(measured.traffic.turned, measured.up)


class Named:
    """What Docker called networks and containers when it was last read.

    Docker is never asked for it here: it is read in the background a moment after a container came,
    and once a minute. A name stays while its daemon is away, else series would end with that.
    """

    def __init__(self, *, state: State, view: Callable[[], EngineView | None]) -> None:
        """``view``: what Docker said last; None since its daemon ended."""
        self._state = state
        self._view = view
        self._read: EngineView | None = None
        self._networks: dict[NetworkId, str] = {}
        self._containers: dict[EndpointId, str] = {}

    def refresh(self) -> None:
        """Take over what Docker said since the last time."""
        view = self._view()
        if view is None or view is self._read:
            return
        self._read = view
        there = {each.id for each in self._state.networks()}
        self._networks = {each: name for each, name in view.networks.items() if each in there}
        self._containers = {
            each.id: view.endpoints[each.id].container
            for each in self._state.endpoints()
            if each.id in view.endpoints
        }

    @property
    def known(self) -> bool:
        """Whether Docker was ever read."""
        return self._read is not None

    def network(self, network: NetworkId) -> str:
        """Return a network's name; empty if Docker does not list it."""
        return self._networks.get(network, "")

    def container(self, endpoint: EndpointId) -> str:
        """Return the name of an endpoint's container; empty if Docker does not list it."""
        return self._containers.get(endpoint, "")
