"""What a bridge of ours does besides switching: said by its networks, the same by all. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from ovsdriver.errors import ConflictError, UnsupportedError


class FailMode(StrEnum):
    """What a bridge does without its controller (``ovs.failmode``)."""

    STANDALONE = "standalone"
    SECURE = "secure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Where records of traffic are sent, over UDP."""

    targets: tuple[str, ...]
    """``ADDRESS:PORT`` each."""
    sampling: int | None = None
    """One of so many packets is looked at; None: Open vSwitch's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Each is None, or empty, where no network says anything of it."""

    rstp: bool | None = None
    """The bridge speaks RSTP, and containers take part; see ``spanning``."""
    mcast: bool | None = None
    """Multicasts go to who listens, by IGMP and MLD, and not to all."""
    control_frames: bool | None = None
    """Frames for the switch itself (LLDP, LACP, BPDUs) are forwarded."""
    fail_mode: FailMode | None = None
    protocols: tuple[str, ...] = ()
    """Versions of OpenFlow: ``OpenFlow13``."""
    controllers: tuple[str, ...] = ()
    """``tcp:ADDRESS:PORT`` and the like."""
    sflow: Exporter | None = None
    netflow: Exporter | None = None
    ipfix: Exporter | None = None

    def said(self) -> dict[str, Any]:
        """Return what is said, by field."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value not in (None, ())}


NOTHING = Features()

_OPTIONS = {  # without RSTP, of which ``spanning`` judges
    "mcast": "ovs.mcast",
    "control_frames": "ovs.control_frames",
    "fail_mode": "ovs.failmode",
    "protocols": "ovs.protocols",
    "controllers": "ovs.controller",
    "sflow": "ovs.sflow",
    "netflow": "ovs.netflow",
    "ipfix": "ovs.ipfix",
}


class Sharer(Protocol):
    """A network that shares a bridge with others."""

    @property
    def id(self) -> str:
        """Docker's."""
        ...

    @property
    def features(self) -> Features:
        """What it says."""
        ...


def combined(all_of: Iterable[Features]) -> Features:
    """Return what all networks of a bridge say together; they do not contradict each other."""
    said: dict[str, Any] = {}
    for each in all_of:
        said = each.said() | said
    return Features(**said)


def refuse_unfit(
    wanted: Features, *, bridge: str, adopted: bool, sharers: Iterable[Sharer]
) -> None:
    """Refuse features that a bridge cannot have on account of a network.

    Args:
        wanted: what the network says.
        bridge: its name.
        adopted: it is not ours.
        sharers: the other networks on it.

    Raises:
        UnsupportedError: the bridge is somebody else's.
        ConflictError: another network on it says something else.
    """
    said = {name: value for name, value in wanted.said().items() if name in _OPTIONS}
    if adopted and said:
        option = _OPTIONS[next(iter(said))]
        raise UnsupportedError(
            f"{option}: bridge {bridge} is not ours, so it stays as it is; leave the option out "
            "and set it there with ovs-vsctl, or name another bridge with -o ovs.bridge=NAME"
        )
    for other in sharers:
        theirs = other.features.said()
        for name in said.keys() & theirs.keys():
            if said[name] != theirs[name]:
                raise ConflictError(
                    f"{_OPTIONS[name]}: network {other.id[:12]} is on bridge {bridge} as well and "
                    "says something else, and a bridge has one of it; leave the option out, or "
                    "name another bridge with -o ovs.bridge=NAME"
                )
