"""What a bridge cannot be told on account of one of its networks. Pure."""

from collections.abc import Iterable

from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.options.features import Features
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

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


_FLOWS_BY = "OpenFlow14"
"""In what version of OpenFlow ovsnet speaks to a bridge."""


def refuse_unspoken(features: Features, *, guarded: bool) -> None:
    """Refuse ``ovs.protocols`` by which nobody could guard a port.

    Args:
        features: of its network.
        guarded: it is to be.

    Raises:
        InvalidOptionError: they leave the version out that flows are made by.
    """
    if guarded and features.protocols and _FLOWS_BY not in features.protocols:
        raise InvalidOptionError(
            f"ovs.protocols={'+'.join(features.protocols)}: ovs.guard and access rules are made by "
            f"{_FLOWS_BY}; add +{_FLOWS_BY}, or leave them out"
        )


def refuse_unfit(
    wanted: Features, *, bridge: str, adopted: bool, sharers: Iterable[Network]
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
            f"{option}: ovsnet did not make bridge {bridge} and does not change it; set the option "
            "there with ovs-vsctl, or choose another bridge with -o ovs.bridge=NAME"
        )
    for other in sharers:
        theirs = other.features.said()
        for name in said.keys() & theirs.keys():
            if said[name] != theirs[name]:
                raise ConflictError(
                    f"{_OPTIONS[name]}: network {other.id[:12]} already set it differently on "
                    f"bridge {bridge}, which has only one value; leave the option out, or choose "
                    "another bridge with -o ovs.bridge=NAME"
                )
