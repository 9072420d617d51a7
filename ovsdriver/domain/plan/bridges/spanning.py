"""Who takes part in a bridge's spanning tree, and what cannot be on a bridge that has one. Pure.

What takes part can become the tree's root and have all traffic led its way, by one frame; so
containers do where their network says so, for labs of switches in containers, and nowhere else.

Open vSwitch floods nothing to a port that takes no part where RSTP or STP runs (``bundle_update``
in ``ofproto/ofproto-dpif.c``; measured with 3.5.0 and 4.0.0). Internal ports and bonds never can,
so gateways would not be heard there, nor containers that are kept out.
"""

from collections.abc import Iterable

from ovsdriver.domain.records.model import Mode, Network
from ovsdriver.errors import ConflictError, UnsupportedError

SAID = "ovs.rstp=containers"


def refuse_unfit(
    wanted: bool,
    *,
    bridge: str,
    adopted: bool,
    speaks: bool,
    speaks_stp: bool,
    sharers: Iterable[Network],
) -> None:
    """Refuse a network that says something else of the tree than its bridge and the others on it.

    Args:
        wanted: whether its containers are to take part.
        bridge: its name.
        adopted: it is not ours.
        speaks: RSTP is on there.
        speaks_stp: STP is, its forerunner.
        sharers: the other networks on it.

    Raises:
        ConflictError: another network says something else.
        UnsupportedError: the bridge speaks STP; or RSTP and the network does not say so, or, where
            the bridge is somebody else's, the other way round.
    """
    if speaks_stp:
        raise UnsupportedError(
            f"bridge {bridge} speaks STP, which does not reach containers; switch it off: "
            f"ovs-vsctl set Bridge {bridge} stp_enable=false"
        )
    for other in sharers:
        if bool(other.features.rstp) is not wanted:
            raise ConflictError(
                f"{SAID}: network {other.id[:12]} on bridge {bridge} "
                f"{'does not say it' if wanted else 'says it'}, and all of a bridge must; "
                f"{'' if wanted else 'say it too, or '}name another bridge with -o ovs.bridge=NAME"
            )
    if adopted and wanted and not speaks:
        raise UnsupportedError(
            f"{SAID}: ovsnet did not make bridge {bridge} and does not change it; switch RSTP on "
            f"there first: ovs-vsctl set Bridge {bridge} rstp_enable=true"
        )
    if speaks and not wanted and not any(other.features.rstp for other in sharers):
        raise UnsupportedError(
            f"bridge {bridge} speaks RSTP, which reaches only containers that take part; say "
            f"-o {SAID}, or switch it off: ovs-vsctl set Bridge {bridge} rstp_enable=false"
        )


def refuse_aside(mode: Mode, *, internal: bool, wire: bool, probe: bool, leg: bool) -> None:
    """Refuse what a network with a tree cannot have beside it.

    Args:
        mode: the network's.
        internal: its containers are plugged in by internal ports.
        wire: the bridge is ours and has an uplink.
        probe: its segment is to be asked before an address is given.
        leg: this host has an address on it.

    Raises:
        UnsupportedError: it has some of that.
    """
    if mode.has_gateway:
        raise UnsupportedError(
            f"{SAID} with ovs.mode={mode}: Open vSwitch floods nothing to a gateway where RSTP "
            "runs; say -o ovs.mode=isolated, flat or gwbridge"
        )
    if wire:
        raise UnsupportedError(
            f"{SAID} with an uplink: a container could become the root of the wire's tree; leave "
            "ovs.uplink out, or name a bridge of your own that speaks RSTP"
        )
    if leg:
        raise UnsupportedError(
            f"{SAID} with ovs.host_address: Open vSwitch floods nothing to this host's port where "
            "RSTP runs; leave one of them out"
        )
    if probe:
        raise UnsupportedError(
            f"{SAID} with ipam.probe: where RSTP runs, answers to the probe may get lost; leave "
            "one of them out"
        )
    refuse_port(internal=internal)


def refuse_port(*, internal: bool) -> None:
    """Refuse a kind of port that cannot take part: UnsupportedError."""
    if internal:
        raise UnsupportedError(
            f"ovs.port=internal with {SAID}: Open vSwitch floods nothing to internal ports where "
            "RSTP runs; use ovs.port=veth"
        )


def refuse_guard() -> None:
    """Refuse a guard of who takes part: UnsupportedError."""
    raise UnsupportedError(
        f"ovs.guard with {SAID}: a container in a spanning tree can draw all traffic to itself, "
        "and no guard stops that; leave one of them out"
    )
