"""OpenFlow rules of single ports: there while the port is, and gone with it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovsdriver.domain import desired, guarding, names
from ovsdriver.domain.flows import PortFlows
from ovsdriver.domain.model import Endpoint, EndpointId, Network
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Flows, State, Switch

log = logging.getLogger(__name__)

_NOTHING = PortFlows()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look at all bridges found."""

    differing: Sequence[EndpointId] = ()
    """Endpoints whose flows are not as they should be."""
    strays: Sequence[str] = ()
    """What nobody's port had, and was removed unless nothing was to be; a sentence each."""
    failed: Sequence[str] = ()


async def clear(switch: Switch, flows: Flows) -> None:
    """Remove every flow and meter of ours; UnavailableError if a bridge does not answer."""
    for bridge in switch.bridges():
        for number in await flows.differing(bridge, dict):
            await flows.ensure(bridge, number, _NOTHING)


class FlowRules:
    """Keeps the flows of ports; bridges where no port asks for any are never spoken to."""

    def __init__(self, *, state: State, switch: Switch, flows: Flows) -> None:
        self._state = state
        self._switch = switch
        self._flows = flows
        self._held: dict[EndpointId, tuple[str, int]] = {}
        """Bridge and number of each port that has flows."""
        self._searched: set[str] = set()
        """Bridges where flows of an earlier process were looked for."""

    def check(self, network: Network, endpoint: Endpoint) -> None:
        """Refuse an endpoint whose flows would not hold on its bridge: UnsupportedError."""
        bridge = self._switch.bridge(network.segment.bridge)
        if bridge is not None:
            guarding.refuse_unfit(
                bridge.name,
                guard=desired.guarded(network, endpoint),
                metered=bool(desired.shaping(network, endpoint).metered),
                controllers=bridge.controllers,
            )

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Make the flows of a plugged-in endpoint's port as its records say.

        Raises:
            UnsupportedError: the bridge cannot do it.
            UnavailableError: ovs-vswitchd does not answer, or the port is not there.
        """
        wanted = desired.port_flows(network, endpoint)
        if not wanted and endpoint.id not in self._held:
            return
        at = self._place(endpoint)
        if at is None:
            raise UnavailableError(
                f"port {names.port(endpoint)} has no OpenFlow port number yet; try again"
            )
        earlier = self._held.pop(endpoint.id, at)
        if wanted:
            self._held[endpoint.id] = at
        await self._flows.ensure(*at, wanted)
        # A port that was plugged in anew may have another number, and its old one another port.
        if earlier != at and earlier not in self._held.values():
            await self._flows.ensure(*earlier, _NOTHING)

    def place(self, endpoint: Endpoint) -> tuple[str, int] | None:
        """Return where flows of a port are to be removed from once it is gone; None if it has none.

        To be asked before the port is removed: its number goes with it.
        """
        return self._held.get(endpoint.id)

    async def remove(self, endpoint: Endpoint, at: tuple[str, int] | None) -> None:
        """Remove the flows of a port that is gone; what fails is left to the next look."""
        if at is None:
            return
        self._held.pop(endpoint.id, None)
        try:
            await self._flows.ensure(*at, _NOTHING)
        except DriverError as error:
            self._searched.discard(at[0])
            log.warning(
                "flows.removal-deferred", extra={"endpoint": endpoint.id, "why": str(error)}
            )

    async def look(self, *, mend: bool = True) -> Seen:
        """Compare every bridge that has flows of ours, or may have some of an earlier process.

        What is of nobody's port is removed, if that may be mended.
        """
        for each in tuple(self._held):
            if self._state.endpoint(each) is None:  # it went with its network
                del self._held[each]
        differing: list[EndpointId] = []
        found: list[str] = []
        failed: list[str] = []
        for bridge in self._bridges():
            try:
                ours, strays = await self._compare(bridge)
                differing.extend(ours)
                for number in strays:
                    if mend:
                        await self._flows.ensure(bridge, number, _NOTHING)
                    found.append(f"bridge {bridge}: flows of ours for port {number} were left")
            except DriverError as error:
                failed.append(f"bridge {bridge}: flows: {error}")
            else:
                if mend:
                    self._searched.add(bridge)
        return Seen(differing=differing, strays=found, failed=failed)

    def _bridges(self) -> Sequence[str]:
        networks = self._state.networks()
        present = self._switch.bridges()
        known = {each.segment.bridge for each in networks} | self._searched
        self._searched &= present.keys()
        asked = {bridge for bridge, _ in self._held.values()} | {
            network.segment.bridge
            for network in networks
            if any(desired.port_flows(network, e) for e in self._plugged(network))
        }
        return sorted(name for name in present if name in asked or name in known - self._searched)

    async def _compare(self, bridge: str) -> tuple[Sequence[EndpointId], Sequence[int]]:
        """Return the endpoints whose flows differ, and the ports of nobody's that have some."""
        owners: dict[int, EndpointId] = {}
        right: dict[int, PortFlows] = {}

        def wanted() -> Mapping[int, PortFlows]:
            # Read after the switch: a handler writes its record before it makes flows.
            for network in self._state.networks():
                for endpoint in self._plugged(network):
                    at = self._place(endpoint)
                    if at is not None and at[0] == bridge:
                        right[at[1]] = desired.port_flows(network, endpoint)
                        owners[at[1]] = endpoint.id
            return right

        numbers = await self._flows.differing(bridge, wanted)
        for number, owner in owners.items():
            # an earlier process may have made them
            if number in numbers or right[number]:
                self._held.setdefault(owner, (bridge, number))
        return (
            [owners[number] for number in sorted(numbers) if number in owners],
            [number for number in sorted(numbers) if number not in owners],
        )

    def _plugged(self, network: Network) -> Sequence[Endpoint]:
        if network.ended:
            return ()
        return [
            each
            for each in self._state.endpoints(network.id)
            if each.sandbox is not None and not each.ended
        ]

    def _place(self, endpoint: Endpoint) -> tuple[str, int] | None:
        port = self._switch.port(names.port(endpoint))
        if port is None or port.ofport is None or port.ofport < 1:
            return None
        return port.bridge, port.ofport
