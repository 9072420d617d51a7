"""What calls about endpoints must know: records that stand, and what the switch can do."""

from ovsdriver.domain.plan.bridges import tunnels
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId
from ovsdriver.errors import UnknownObjectError
from ovsdriver.ports import State, SwitchView


def standing_network(state: State, network_id: NetworkId) -> Network:
    """Return a network; UnknownObjectError if there is none such, or it has ended."""
    network = state.network(network_id)
    if network is None or network.ended:
        raise UnknownObjectError(
            f"network {network_id[:12]} is not known to ovsnet on this host; remove it with "
            "docker network rm and create it again"
        )
    return network


def standing_endpoint(state: State, network_id: NetworkId, endpoint_id: EndpointId) -> Endpoint:
    """Return an endpoint; UnknownObjectError if there is none such there, or it has ended."""
    endpoint = state.endpoint(endpoint_id)
    if endpoint is None or endpoint.ended or endpoint.network != network_id:
        raise UnknownObjectError(
            f"endpoint {endpoint_id[:12]} is not known on network {network_id[:12]}; "
            "start the container again"
        )
    return endpoint


def two_tags(switch: SwitchView) -> bool:
    """Whether Open vSwitch looks at two VLAN tags, as far as is known."""
    status = switch.status()
    # while it is away nothing is known of it, and Join waits for it
    return not status.connected or tunnels.looks_at_two(status.other_config)
