"""What the change of a record says to people. Most changes say nothing."""

from collections.abc import Mapping, Sequence

from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.names import mac_text

_NOTED = frozenset({"engine", "unused", "made", "ended"})
"""Members of a network that tell how far ovsnet has got with it."""


def of_network(before: Network | None, after: Network) -> Happening | None:
    """Return what to tell of a network's record that is written.

    A network is there from when its making came to its end.
    """
    if after.ended or not after.made:
        return None
    if before is None or not before.made:
        return Happening(
            EventType.NETWORK, "created", network=after.id, attributes=_about_network(after)
        )
    if _settings(before) != _settings(after):
        return Happening(EventType.NETWORK, "changed", network=after.id)
    return None


def of_forgotten_network(network: Network, endpoints: Sequence[Endpoint]) -> Sequence[Happening]:
    """Return what to tell of a network that goes, and of what goes with it."""
    told = [_detached(each) for each in endpoints if each.sandbox is not None]
    if network.made:
        told.append(Happening(EventType.NETWORK, "deleted", network=network.id))
    return told


def of_endpoint(before: Endpoint | None, after: Endpoint) -> Happening | None:
    """Return what to tell of an endpoint's record that is written."""
    former = None if before is None else before.sandbox
    if after.sandbox != former:
        return _detached(after) if after.sandbox is None else _attached(after)
    if before is not None and (before.options, before.port) != (after.options, after.port):
        return Happening(EventType.ENDPOINT, "changed", network=after.network, endpoint=after.id)
    return None


def _attached(endpoint: Endpoint) -> Happening:
    return Happening(
        EventType.ENDPOINT,
        "attached",
        network=endpoint.network,
        endpoint=endpoint.id,
        attributes={
            "address": " ".join(map(str, endpoint.addresses)),
            "mac": mac_text(endpoint.mac),
        },
    )


def _detached(endpoint: Endpoint) -> Happening:
    return Happening(EventType.ENDPOINT, "detached", network=endpoint.network, endpoint=endpoint.id)


def _about_network(network: Network) -> Mapping[str, str]:
    shown = {key: value for key, value in network.segment.shown.items() if value is not None}
    subnets = " ".join(str(each.cidr.cidr) for each in network.subnets)
    return {
        **{key: str(value) for key, value in shown.items()},
        "mode": network.mode.value,
        **({"subnets": subnets} if subnets else {}),
    }


def _settings(network: Network) -> Mapping[str, object]:
    fields = type(network).__dataclass_fields__
    return {name: getattr(network, name) for name in fields if name not in _NOTED}
