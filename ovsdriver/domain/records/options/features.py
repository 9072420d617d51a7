"""What a bridge of ours does besides switching: said by its networks, the same by all. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import or_

from ovsdriver.domain.records.options.said import Said


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
class Features(Said):
    """What one network says of its bridge, or all of them together."""

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


NOTHING = Features()


def combined(all_of: Iterable[Features]) -> Features:
    """Return what all networks of a bridge say together; they do not contradict each other."""
    return reduce(or_, all_of, NOTHING)
