"""Records as JSON text with a version, for the columns that nothing queries."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ovsdriver import codec
from ovsdriver.codec import UnreadableError
from ovsdriver.domain.records.model import Endpoint, Network

T = TypeVar("T")

VERSION = 2
"""Raised when a member changes its meaning; :func:`decode` then reads the older ones too."""

_VERSION_KEY = "_version"


def encode(record: object) -> str:
    """Return ``record``, a dataclass, as JSON text."""
    return codec.encode({_VERSION_KEY: VERSION} | codec.members(record))


def decode(kind: type[T], text: str) -> T:
    """Return the record of ``kind`` that ``text`` holds.

    Raises:
        UnreadableError: it holds none, or one of a newer program.
    """
    members = codec.loads(text)
    version = members.get(_VERSION_KEY) if isinstance(members, dict) else None
    if version == 1:
        return codec.read(kind, _OF_VERSION_1.get(kind, dict)(members))
    if version != VERSION:
        raise UnreadableError(f"it has version {version}, this ovsnet reads {VERSION}")
    return codec.read(kind, members)


# Version 1 had what is ``port`` now in members of its own, of a network some in its segment, and
# the kind of port in ``port``.

_PORT = (
    *("mtu", "vlan", "vlan_mode", "trunks", "cvlans", "guard", "mirror", "sink"),
    *("rate", "burst", "broadcast", "delay_us", "jitter_us", "loss_ppm"),
)


def _endpoint_of_1(members: Mapping[str, Any]) -> Mapping[str, Any]:
    port = {name: members[name] for name in _PORT if name in members}
    return {**members, "port": port | {"kind": members.get("port", "veth")}}


def _network_of_1(members: Mapping[str, Any]) -> Mapping[str, Any]:
    segment = members.get("segment")
    said = segment if isinstance(segment, dict) else {}
    return _endpoint_of_1(
        {
            "mtu": 1500,
            "guard": False,
            **members,
            "vlan_mode": "dot1q-tunnel" if said.get("tunnel") else "access",
            "cvlans": said.get("cvlans", []),
        }
    )


_OF_VERSION_1: Mapping[type, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    Network: _network_of_1,
    Endpoint: _endpoint_of_1,
}
