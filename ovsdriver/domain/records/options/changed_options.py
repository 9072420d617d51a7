"""What `ovsnet set` changed of a container, for its next start. Pure.

Docker makes a new endpoint at every start and asks for it as the container was made. So what was
changed is noted by network and container, with what Docker asked for then: a container that is
connected anew with other options has these.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ovsdriver import codec
from ovsdriver.domain.records.model import Endpoint, NetworkId

PREFIX = "set:"
"""Before network and container in the key of a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A note."""

    asked: Mapping[str, str]
    """Options that Docker asked for, as typed."""
    changes: Mapping[str, str]
    """Options that are other ones, as typed; empty: back to the default."""


def key(network: NetworkId, container: str) -> str:
    """Return the key of a container's note; its id is Docker's."""
    return f"{PREFIX}{network}:{container}"


def of_network(network: NetworkId) -> str:
    """Return what the keys of all notes of a network begin with."""
    return key(network, "")


def place(key: str) -> tuple[NetworkId, str]:
    """Return network and container of a key."""
    network, _, container = key.removeprefix(PREFIX).partition(":")
    return NetworkId(network), container


def of(endpoint: Endpoint, now: Mapping[str, str]) -> Kept | None:
    """Return what is to be kept of an endpoint; None if it is as Docker asked for it.

    ``now`` are its options, as typed, but for what is for a while.
    """
    asked = endpoint.asked
    if asked is None:
        return None
    names = sorted(asked.keys() | now.keys())
    changes = {each: now.get(each, "") for each in names if asked.get(each) != now.get(each)}
    return Kept(asked=asked, changes=changes) if changes else None


def decode(text: str) -> Kept | None:
    """Return what a note says; None if that has no meaning."""
    try:
        return codec.decode(Kept, text)
    except codec.UnreadableError:
        return None
