"""What a person means by a name, found in what the process tells of everything."""

from collections.abc import Mapping
from typing import Any

from ovsdriver.admin import by_name
from ovsdriver.cli.outcome import refusals

State = Mapping[str, Any]


def find(text: str, state: State) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the network that ``text`` means, or the endpoint with its network.

    Args:
        text: a network's or a container's name, ``NETWORK/CONTAINER``, or the begin of an id.
        state: the admin socket's ``/state``.

    Raises:
        Refusal: nothing fits, or several things do.
    """
    networks = {each["id"]: each for each in state["networks"]}
    endpoints = {each["id"]: each for each in state["endpoints"]}
    named = {key: each["name"] for key, each in networks.items()}
    placed = [
        (by_name.Target(network=each["network"], endpoint=key), each["container"])
        for key, each in endpoints.items()
    ]
    with refusals():
        found = by_name.target(text, named, placed)
    return networks[found.network], endpoints[found.endpoint] if found.endpoint else None
