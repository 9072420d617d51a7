"""Records as JSON text with a version, for the columns that nothing queries."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ovsdriver import codec
from ovsdriver.codec import UnreadableError
from ovsdriver.domain.records.model import Endpoint, Network, Transport

T = TypeVar("T")

VERSION = 3
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
    version: Any = members.get(_VERSION_KEY) if isinstance(members, dict) else None
    if version not in range(1, VERSION + 1):
        raise UnreadableError(f"it has version {version}, this ovsnet reads {VERSION}")
    for older, changes in _CHANGES.items():
        if version <= older and kind in changes:
            try:
                members = changes[kind](members)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise UnreadableError(f"it is none of version {older}") from error
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


# Version 2 had a protocol as its number, and of what nobody publishes only what a person reads.

_PROTOCOLS = {each.number: each.value for each in Transport}


def _endpoint_of_2(members: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        **members,
        **{
            name: [each | {"protocol": _PROTOCOLS[each["protocol"]]} for each in members[name]]
            for name in ("published", "wanted")
            if name in members
        },
        "unpublished": [_mapping(text) for text in members.get("unpublished", ())],
    }


def _mapping(text: str) -> Mapping[str, Any]:
    """Return the members of a mapping without its side of the host: of ``80-90/tcp``."""
    ports, _, protocol = text.partition("/")
    first, _, last = ports.partition("-")
    return {
        "protocol": protocol,
        "port": int(first),
        "count": int(last or first) - int(first) + 1,
    }


_CHANGES: Mapping[int, Mapping[type, Callable[[Mapping[str, Any]], Mapping[str, Any]]]] = {
    1: {Network: _network_of_1, Endpoint: _endpoint_of_1},
    2: {Endpoint: _endpoint_of_2},
}
"""What makes members of a version those of the next one."""
