"""Find what a person means, and say why a network may not be removed. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId
from ovsdriver.errors import ConflictError, UnknownObjectError
from ovsdriver.ports import EngineView, State

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

SHOWN_DIGITS = 12
"""As ``docker ps`` shows ids."""


def find(text: str, names: Mapping[str, str], *, kind: str = "network") -> str:
    """Return the id that ``text`` means: a whole id, Docker's name, or the begin of one id only.

    Args:
        text: what was typed.
        names: every id there is, with its name in Docker, empty where that is not known.
        kind: the word for the error texts.

    Raises:
        UnknownObjectError: nothing fits.
        ConflictError: several things do.
    """
    if text in names:
        return text
    # An unknown name is empty, and so is what a script types that lost its variable.
    fitting = [each for each, name in names.items() if text and name == text]
    if not fitting and text:
        fitting = [each for each in names if each.startswith(text.lower())]
    if not fitting:
        raise UnknownObjectError(f"ovsnet knows no {kind} {text!r}; `ovsnet {kind} ls` lists them")
    if len(fitting) > 1:
        raise ConflictError(
            f"{text!r} fits several: {_listed(fitting)}; type more digits of the id"
        )
    return fitting[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A network, or one of its endpoints."""

    network: NetworkId
    endpoint: EndpointId | None = None


def target(
    text: str, networks: Mapping[NetworkId, str], endpoints: Sequence[tuple[Target, str]]
) -> Target:
    """Return the network or the endpoint that ``text`` means.

    Args:
        text: a network's name or id, a container's name, ``NETWORK/CONTAINER``, or an endpoint's
            id; of ids the begin.
        networks: every network there is, with its name in Docker, empty where that is not known.
        endpoints: every endpoint there is, with its container's name in the same way.

    Raises:
        UnknownObjectError: nothing fits.
        ConflictError: several things do.
    """
    left, slash, right = text.partition("/")
    if slash:
        network = NetworkId(find(left, {str(key): name for key, name in networks.items()}))
        there = {
            str(each.endpoint): container
            for each, container in endpoints
            if each.network == network
        }
        endpoint = EndpointId(find(right, there, kind="endpoint"))
        return Target(network=network, endpoint=endpoint)
    exact = [Target(network=key) for key, name in networks.items() if text and text in (key, name)]
    exact += [each for each, name in endpoints if text and text in (each.endpoint, name)]
    begun = [Target(network=key) for key in networks if text and key.startswith(text.lower())]
    begun += [each for each, _ in endpoints if text and str(each.endpoint).startswith(text.lower())]
    found = exact or begun
    if not found:
        raise UnknownObjectError(
            f"{text!r} is neither a network nor a container on one of ovsnet's networks; see "
            "`ovsnet network ls` and `ovsnet endpoint ls`"
        )
    if len(found) > 1:
        ways = [_way(each, networks) for each in found]
        raise ConflictError(f"{text!r} fits several: {', '.join(ways[:5])}; type one of these")
    return found[0]


def standing(text: str, state: State, view: EngineView | None) -> Target:
    """Return the network or the endpoint that ``text`` means, of those that have not ended.

    Args:
        text: as of :func:`target`.
        state: the records.
        view: what Docker lists now; None if it does not answer.

    Raises:
        UnknownObjectError, ConflictError: as of :func:`target`.
    """
    networks = {
        each.id: "" if view is None else view.networks.get(each.id, "")
        for each in state.networks()
        if not each.ended
    }
    listed = {} if view is None else view.endpoints
    endpoints = [
        (
            Target(network=each.network, endpoint=each.id),
            listed[each.id].container if each.id in listed else "",
        )
        for each in state.endpoints()
        if not each.ended
    ]
    try:
        return target(text, networks, endpoints)
    except UnknownObjectError as error:
        if view is not None:
            raise
        raise UnknownObjectError(
            f"{error}. Docker does not answer, so names are not known either; use an id"
        ) from error


def _way(found: Target, networks: Mapping[NetworkId, str]) -> str:
    """Return what to type for just that one."""
    network = networks.get(found.network, "") or found.network[:SHOWN_DIGITS]
    if found.endpoint is None:
        return found.network[:SHOWN_DIGITS]
    return f"{network}/{found.endpoint[:SHOWN_DIGITS]}"


def typed(name: str, identifier: str) -> str:
    """Return what to type for a network: its name where a shell takes that as it is, else its id.

    Docker takes nearly everything for a network's name, and what we tell is pasted.
    """
    return name if _PLAIN.fullmatch(name) else identifier[:SHOWN_DIGITS]


def refusal(network: Network, endpoints: Iterable[Endpoint], view: EngineView | None) -> str | None:
    """Return why ``network`` may not be removed behind Docker's back, None if it may.

    Args:
        network: what to remove.
        endpoints: its endpoints.
        view: what Docker lists now; None if it does not answer.
    """
    name = network.id[:SHOWN_DIGITS]
    force = "; if you are sure, add --force"
    if view is None:
        return (
            f"Docker does not answer, so nobody knows whether it still has network {name}; "
            f"start it and try again{force}"
        )
    if network.id in view.networks:
        known_as = view.networks[network.id]
        return (
            f"Docker still has network {known_as} ({name}); type `docker network rm "
            f"{typed(known_as, name)}`, which removes it here too{force}"
        )
    if network.engine and network.engine != view.id:
        return (
            f"network {name} was made by another Docker daemon than the one that answers, which "
            f"cannot tell whether it is still needed{force}"
        )
    live = [
        each.id
        for each in endpoints
        if not each.ended and (each.sandbox or each.id in view.endpoints)
    ]
    if live:
        return (
            f"network {name} still has {len(live)} endpoint{'s' * (len(live) > 1)}: "
            f"{_listed(live)}; end their containers first{force}"
        )
    return None


def _listed(ids: Iterable[str], limit: int = 5) -> str:
    shown = [each[:SHOWN_DIGITS] for each in ids]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more
