"""What a person means by a name, found in what the process tells of everything."""

from collections.abc import Sequence

from ovsdriver.admin import by_name
from ovsdriver.admin.views import EndpointReport, NetworkReport, Report
from ovsdriver.cli.outcome import refusals


def network(text: str, state: Report) -> NetworkReport:
    """Return the network that ``text`` means; Refusal if none or several fit."""
    with refusals():
        found = by_name.find(text, {each.network.id: each.name for each in state.networks})
    return next(each for each in state.networks if each.network.id == found)


def endpoint(text: str, state: Report) -> EndpointReport:
    """Return the endpoint that ``text`` means; Refusal if none or several fit."""
    with refusals():
        names: dict[str, str] = {each.endpoint.id: each.container for each in state.endpoints}
        found = by_name.find(text, names, kind="endpoint")
    return next(each for each in state.endpoints if each.endpoint.id == found)


def endpoints_on(text: str | None, state: Report) -> Sequence[EndpointReport]:
    """Return all endpoints, or those of the network that ``text`` means."""
    if text is None:
        return state.endpoints
    wanted = network(text, state).network.id
    return [each for each in state.endpoints if each.endpoint.network == wanted]


def target(text: str, state: Report) -> tuple[NetworkReport, EndpointReport | None]:
    """Return the network that ``text`` means, or the endpoint with its network.

    Args:
        text: a network's or a container's name, ``NETWORK/CONTAINER``, or the begin of an id.
        state: everything there is.

    Raises:
        Refusal: nothing fits, or several things do.
    """
    networks = {each.network.id: each for each in state.networks}
    endpoints = {each.endpoint.id: each for each in state.endpoints}
    names = {key: each.name for key, each in networks.items()}
    placed = [
        (by_name.Target(network=each.endpoint.network, endpoint=key), each.container)
        for key, each in endpoints.items()
    ]
    with refusals():
        found = by_name.target(text, names, placed)
    return networks[found.network], endpoints[found.endpoint] if found.endpoint else None
