"""What a person means by a name, found in what the process tells of everything."""

from collections.abc import Mapping
from typing import Any

from ovsdriver.cli.outcome import Refusal
from ovsdriver.errors import DriverError
from ovsdriver.service import lookup

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
    left, slash, right = text.partition("/")
    try:
        if slash:
            home = lookup.find(left, {key: each["name"] for key, each in networks.items()})
            there = {k: e["container"] for k, e in endpoints.items() if e["network"] == home}
            return networks[home], endpoints[lookup.find(right, there, kind="endpoint")]
        names = {key: each["name"] for key, each in networks.items()}
        names |= {key: each["container"] for key, each in endpoints.items()}
        found = lookup.find(text, names, kind="endpoint")
    except DriverError as error:
        raise Refusal(str(error)) from error
    if found in networks:
        return networks[found], None
    return networks[endpoints[found]["network"]], endpoints[found]
