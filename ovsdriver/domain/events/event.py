"""One event: as it is told, and as it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from ovsdriver.domain.records.model import NO_OPTIONS

NOTHING: Mapping[str, str] = MappingProxyType({})


class EventType(StrEnum):
    """What an event is about."""

    NETWORK = "network"
    """``created``, ``changed``, ``deleted``."""
    ENDPOINT = "endpoint"
    """``attached``, ``changed``, ``detached``."""
    LEASE = "lease"
    """``given``, ``released``: an address for a container."""
    LINK = "link"
    """``up``, ``down``: the carrier of a container's link."""
    UPLINK = "uplink"
    """``up``, ``down``: the carrier of a NIC; ``freed``: it went back to the host."""
    PORT = "port"
    """``appeared``, ``gone``: one that is not ours, on a bridge of our networks."""
    CONFLICT = "conflict"
    """``answered``: somebody has an address that was to be given."""
    REPAIR = "repair"
    """``mended``, ``left``: what could not be mended."""
    SWITCH = "switch"
    """``connected``, ``lost``: Open vSwitch."""
    DOCKER = "docker"
    """``answered``, ``lost``."""
    HOST = "host"
    """``forgotten``: of the fleet."""
    RULES = "rules"
    """``changed``, ``removed``: a set of access rules, by command."""
    PROCESS = "process"
    """``ready``, ``stopping``: ovsnet itself."""


class Happening(NamedTuple):
    """What there is to tell; who does it and when is added where it is kept."""

    type: EventType
    action: str
    network: str = ""
    """Its id; empty if it is about none."""
    endpoint: str = ""
    """Its id, likewise."""
    container: str = ""
    """Its name, where that is known by then."""
    attributes: Mapping[str, str] = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, with names as they were known last."""

    id: int
    """1 and up, in the order in which it was written; some are left out."""
    time: float
    """Seconds since the epoch."""
    type: str
    """One of :class:`EventType`, or of a newer ovsnet's."""
    action: str
    network: str = ""
    """Its name, or the begin of its id where that is not known; empty if it is about none."""
    container: str = ""
    """Its name; empty if that is not known, or it is about none."""
    endpoint: str = ""
    """Its id."""
    network_id: str = ""
    cause: str = ""
    """As ``causes.Cause.name``."""
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
