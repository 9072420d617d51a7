"""Networks over several hosts: what their segment has said, and what each may say itself. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from ovsdriver.domain.plan.inputs import KnownPool
from ovsdriver.domain.records.model import Mode, Network, NetworkId
from ovsdriver.domain.records.port_options import ETHERNET_MTU, PortOptions
from ovsdriver.domain.records.requests import EndpointOptions, NetworkOptions, NewNetwork
from ovsdriver.domain.records.segments import ENCAPSULATION, OvnSegment, segment_of, space_of
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError

MTU = ETHERNET_MTU - ENCAPSULATION
"""Bytes that a segment carries over an underlay of Ethernet's 1500."""

_SAID_ONCE = frozenset({"port.mtu", "port.guard"})
"""Options that hold on all hosts: the first network of a segment says them."""


def segment_meant(new: NewNetwork, pools: Sequence[KnownPool]) -> str | None:
    """Return the segment that a network is on; None: it ends on this host.

    Who says it to the IPAM alone is understood: by an IPAM driver that is a segment's, or if no
    other pool can be meant.

    Raises:
        InvalidOptionError: it is said, and the addresses are not the segment's.
    """
    fitting = [
        {segment_of(pool.space) for pool in pools if pool.subnet == each.cidr.cidr}
        for each in new.subnets
    ]
    wanted = new.options.segment
    if wanted is None:
        named = {segment_of(each.space) for each in new.subnets}
        if len(named) == 1 and named != {None}:
            return named.pop()
        meant = fitting[0] if fitting else set()
        same = len(meant) == 1 and all(each == meant for each in fitting)
        return next(iter(meant)) if same else None
    if not fitting or not all(wanted in each for each in fitting):
        raise InvalidOptionError(
            f"ovs.segment={wanted}: the network's addresses are not the segment's; "
            f"add --ipam-driver ovsipam --ipam-opt ipam.segment={wanted}"
        )
    return wanted


def settled(new: NewNetwork, segment: str) -> NewNetwork:
    """Return a new network on ``segment`` as ``planning.plan`` takes it.

    Raises:
        InvalidOptionError: it asks for what a segment does not have.
    """
    refuse_unfit(new.options)
    options = as_planned(new.options, internal=new.internal)
    return replace(new, options=replace(options, segment=segment, space=space_of(segment)))


def as_planned(options: NetworkOptions, *, internal: bool) -> NetworkOptions:
    """Return the options of a network on a segment with what holds there if nothing is said."""
    return replace(
        options,
        mode=Mode.ISOLATED if internal else Mode.GWBRIDGE,
        port=options.port | PortOptions(mtu=MTU, guard=True),
    )


def common(network: Network) -> Mapping[str, str]:
    """Return what a segment's first network says for those of all hosts."""
    return {"mtu": str(network.mtu), "guard": "true" if network.port.guard else "false"}


def inherited(new: NewNetwork, segment: str, said: Mapping[str, str]) -> NewNetwork:
    """Return a further network with what the segment's first one has said.

    Raises:
        ConflictError: it says something else.
    """
    port = new.options.port
    own = {
        "mtu": None if port.mtu is None else str(port.mtu),
        "guard": None if port.guard is None else "true" if port.guard else "false",
    }
    for name, text in own.items():
        if text is not None and text != said.get(name, text):
            raise ConflictError(
                f"ovs.{name}={text}: segment {segment} has ovs.{name}={said[name]} on all hosts; "
                "leave it out"
            )
    settled = PortOptions(
        mtu=int(said["mtu"]) if "mtu" in said else None,
        guard=said["guard"] == "true" if "guard" in said else None,
    )
    return replace(new, options=replace(new.options, port=settled | port))


def refuse_unfit(options: NetworkOptions | EndpointOptions) -> None:
    """Refuse options that do nothing on a segment; InvalidOptionError."""
    if options.off_segment:
        raise InvalidOptionError(options.off_segment)


def refuse_change(network: Network, fields: Collection[str]) -> None:
    """Refuse to change for one host what a segment has on all of them; UnsupportedError."""
    if isinstance(network.segment, OvnSegment) and _SAID_ONCE & set(fields):
        raise UnsupportedError(
            f"{network.segment.name}: ovs.mtu and ovs.guard hold on all its hosts; "
            "make another segment with others"
        )


def refuse_second(new: NetworkId, segment: str, networks: Iterable[Network]) -> None:
    """Refuse a further network of this host on a segment; ConflictError."""
    for each in networks:
        there = each.segment
        if (
            isinstance(there, OvnSegment)
            and there.segment == segment
            and each.id != new
            and not each.ended
        ):
            raise ConflictError(
                f"segment {segment}: network {each.id[:12]} of this host is on it already; connect "
                "the containers to that one"
            )


def refuse_without_fleet(segment: str) -> NoReturn:
    """Refuse a segment on a host that is in no fleet; UnsupportedError always."""
    raise UnsupportedError(
        f"segment {segment}: this host is in no fleet; name the fleet's servers with "
        "ovn_northbound in /etc/ovsnet/ovsnet.toml"
    )
