"""Which flows bridges and ports are to have, as records, the switch and access rules say now.

Nobody is asked, and nothing is changed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from netaddr import EUI

from ovsdriver.domain.access.policy import AccessPlan, Member
from ovsdriver.domain.plan.bridges import tunnels
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId
from ovsdriver.domain.records.options.flows import PortFlows
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.traffic import judging
from ovsdriver.domain.wires import desired
from ovsdriver.ports import State, SwitchView

NOTHING = PortFlows()

ALL_PORTS = 0
"""The number under which the flows of a bridge are kept; ports have none."""
_LOCAL_PORT = 65534
"""A bridge's own."""


class WantedFlows:
    """Tells it, by a bridge's name and an OpenFlow number."""

    def __init__(
        self, *, state: State, switch: SwitchView, access: Callable[[], AccessPlan]
    ) -> None:
        self._state = state
        self._switch = switch
        self._access = access
        self._policies: dict[str, PortFlows] = {}
        """What policies come to, by key: many rules take their time."""

    def switched(self) -> Sequence[Network]:
        """Return the networks on bridges whose flows are ours to lay; segments' are OVN's."""
        networks = self._state.networks()
        return [each for each in networks if not each.segment.by_ovn]

    def _of_bridge(self, bridge: str) -> PortFlows:
        if self._controlled(bridge):
            return NOTHING
        return desired.bridge_flows(self._state.networks(), bridge, two_tags=self._two_tags())

    def member(self, network: Network, endpoint: Endpoint) -> Member | None:
        """Return what holds for an endpoint by access rules; does not ask for who has none."""
        judged = endpoint.port.judged or network.port.judged
        return self.members().get(endpoint.id) if judged else None

    def members(self) -> Mapping[EndpointId, Member]:
        """Return what access rules say of each endpoint that has any."""
        return {each.endpoint: each for each in self._access().members}

    def of_all_ports(self, bridge: str, number: int = ALL_PORTS) -> PortFlows:
        """Return what is numbered with that on a bridge and is no port's of a container."""
        return self.needed(bridge).get(number, NOTHING)

    def needed(self, bridge: str) -> dict[int, PortFlows]:
        """Return all that a bridge has and is no port's of a container."""
        shared = self.shared(bridge)
        return dict(shared) if shared else {ALL_PORTS: self._of_bridge(bridge)}

    def shared(self, bridge: str) -> Mapping[int, PortFlows]:
        """Return what a bridge has because ports of it have access rules, by numbers.

        That of all ports, with what else they have; of policies; of ports, in which VLAN they are.
        """
        plan = self._access()
        if not plan.members:
            return {}
        here = {each.id: each for each in self._state.networks() if each.segment.bridge == bridge}
        zones: dict[VlanTag, int] = {}
        gateways: dict[VlanTag, dict[NetworkId, EUI]] = {}
        apart: set[str] = set()
        """Ports that need not be told: those of gateways, and of containers with rules."""
        used: set[str] = set()
        for member in plan.members:
            network, endpoint = here.get(member.network), self._state.endpoint(member.endpoint)
            if network is None or endpoint is None:
                continue
            if endpoint.sandbox is not None and not endpoint.ended:
                vlan = desired.own_vlan(network, endpoint) or desired.NO_TAG
                zones[vlan] = judging.zone(bridge, vlan)
                apart |= {member.gateway, names.port(endpoint)}
                used.add(member.policy)
                held = gateways.setdefault(vlan, {})
                if member.gateway and network.id not in held:
                    host = desired.gateway(network, owner="")
                    held |= {} if host is None else {network.id: host.port.mac}
        if not zones:
            return {}
        macs = {vlan: frozenset(held.values()) for vlan, held in gateways.items()}
        everywhere = judging.everywhere(zones, macs)
        found = {
            ALL_PORTS: judging.combined((self._of_bridge(bridge), everywhere)),
            **self._here(bridge, zones, macs, apart),
        }
        self._policies = {
            each.key: self._policies.get(each.key) or judging.policy(each) for each in plan.policies
        }
        for key in used:
            number = judging.policy_number(key)
            found[number] = judging.combined((found.get(number, NOTHING), self._policies[key]))
        return found

    def _here(
        self,
        bridge: str,
        zones: Mapping[VlanTag, int],
        gateways: Mapping[VlanTag, frozenset[EUI]],
        apart: Collection[str],
    ) -> Mapping[int, PortFlows]:
        """Return the flows that say which ports are in ``zones``, but for those ``apart``."""
        seen = self._switch.bridges().get(bridge)
        if seen is None:
            return {}
        places = [(each.ofport, each.untagged_in) for each in seen.ports if each.name not in apart]
        places.append((_LOCAL_PORT, seen.local_tag or 0))
        return {
            judging.port_number(number): judging.here(
                number, zones[VlanTag(vlan)], gateways[VlanTag(vlan)]
            )
            for number, vlan in places
            if number is not None and number > 0 and vlan is not None and vlan in zones
        }

    def of_port(
        self, network: Network, endpoint: Endpoint, member: Member | None = None
    ) -> PortFlows:
        """Return what an endpoint's port has, with what access rules say of ``member``."""
        asked = desired.port_flows(network, endpoint)
        if member is not None:
            asked = judging.combined((asked, desired.judged_flows(network, endpoint, member)))
        if self._controlled(network.segment.bridge):
            return asked
        tags = desired.tag_flows(
            network, endpoint, self._state.networks(), two_tags=self._two_tags()
        )
        return replace(asked, flows=asked.flows | tags) if tags else asked

    def _controlled(self, bridge: str) -> bool:
        seen = self._switch.bridge(bridge)
        return seen is not None and bool(seen.controllers)

    def _two_tags(self) -> bool:
        return tunnels.looks_at_two(self._switch.status().other_config)

    def plugged(self, network: Network) -> Sequence[Endpoint]:
        """Return the endpoints of a network whose containers run."""
        if network.ended:
            return ()
        return [
            each
            for each in self._state.endpoints(network.id)
            if each.sandbox is not None and not each.ended
        ]

    def place(self, endpoint: Endpoint) -> tuple[str, int] | None:
        """Return bridge and number of an endpoint's port; None if it has no number."""
        port = self._switch.port(names.port(endpoint))
        if port is None or port.ofport is None or port.ofport < 1:
            return None
        return port.bridge, port.ofport
