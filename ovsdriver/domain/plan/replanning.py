"""From other options to another record of what stands already. Pure.

The same checks as at creation, with the same sentences. What the options do not say keeps the
value that was chosen when the network was made, unless its key was just emptied: the default is
chosen anew then. What stands is not refused for what has changed around it since, so that it can
still be changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ovsdriver.domain.plan import planning, port_planning, segment_planning
from ovsdriver.domain.plan.bridges import vlan_planning
from ovsdriver.domain.plan.inputs import Defaults, PlanInputs
from ovsdriver.domain.records.model import Endpoint, Network, Segment
from ovsdriver.domain.records.options.port_options import PortOptions
from ovsdriver.domain.records.requests import (
    EndpointOptions,
    NetworkOptions,
    NewNetwork,
    OfferedSubnet,
)
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.domain.wires import desired, ways
from ovsdriver.errors import DriverError, UnsupportedError

_MODES = frozenset({"mode", "mode4", "mode6"})
_OF_TUNNELS = frozenset({"port.vlan", "port.vlan_mode", "port.cvlans"})
_OF_WIRES = frozenset({"port.vlan", "port.vlan_mode", "port.mtu"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Which options a command changes, by their rows' ``field``: ``icc``, ``port.mtu``."""

    fields: frozenset[str]
    anew: frozenset[str] = frozenset()
    """Those of ``fields`` that go back to their default."""


def network(
    current: Network,
    options: NetworkOptions,
    touched: Touched,
    around: PlanInputs,
    defaults: Defaults,
) -> Network:
    """Return the record of ``current`` with other options.

    Args:
        current: its record.
        options: all of them, those that are not changed as well.
        touched: which ones are.
        around: as for a new network, ``networks`` without itself.
        defaults: the configuration's.

    Raises:
        InvalidOptionError, ConflictError, UnsupportedError: as ``planning.plan``; or containers
            that are connected stand against it.
    """
    around = replace(
        around,
        current=current,
        nics=around.nics if touched.fields & _OF_WIRES else {},
        two_tags=around.two_tags or not touched.fields & _OF_TUNNELS,
        other_gateways="gateways" in touched.fields,
    )
    wanted = NewNetwork(
        id=current.id,
        subnets=tuple(
            OfferedSubnet(space=each.space, cidr=each.cidr, gateway=each.gateway)
            for each in current.subnets
        ),
        internal=current.internal,
        options=_pinned(current, options, touched),
    )
    standing = current.segment
    segment_planning.refuse_change(current, touched.fields)
    if isinstance(standing, OvnSegment):
        segment_planning.refuse_unfit(options)
        typed = segment_planning.as_planned(wanted.options, internal=wanted.internal)
        wanted = replace(wanted, options=replace(typed, routes=()))  # its router has them
        segment: Segment = standing
    else:
        segment = replace(
            vlan_planning.choose(wanted, around, defaults, standing.bridge),
            adopted=standing.adopted,
            datapath=standing.datapath,
        )
    planned = planning.plan(wanted, segment, around, defaults)
    if planned.mode.has_gateway != current.mode.has_gateway or (
        planned.mode is not current.mode and not planned.mode.has_gateway
    ):
        raise UnsupportedError(
            f"ovs.mode={planned.mode}: the network has ovs.mode={current.mode}, and only nat and "
            "routed change into each other; create another network with -o "
            f"ovs.mode={planned.mode}, and connect the containers to it"
        )
    return replace(
        planned,
        engine=current.engine,
        made=current.made,
        options=options.typed,
    )


def _pinned(current: Network, options: NetworkOptions, touched: Touched) -> NetworkOptions:
    """Return ``options`` with what is in force said where nothing is."""
    anew = set(touched.anew)
    if touched.fields & _MODES:
        anew |= _MODES  # of one family says something of the other, too
    if "bond" in touched.fields:
        anew.add("lacp")  # its default follows from that
    segment = current.segment
    bonded = segment.uplink if segment.uplink is not None and segment.uplink.bond else None
    in_force: dict[str, Any] = {
        "bridge": segment.bridge,
        # of a segment's first network, another host may have said it
        "icc": current.icc if segment.by_ovn else None,
        "mode": current.mode,
        "mode6": current.mode6,
        "datapath": segment.datapath,
        "bond": bonded.bond if bonded is not None else None,
        "lacp": bonded.lacp if bonded is not None else None,
    }
    port = PortOptions(
        vlan=None if "port.vlan" in anew else segment.tag,
        mtu=None if "port.mtu" in anew else current.mtu,
        guard=current.port.guard if segment.by_ovn else None,
    )
    return replace(
        options,
        port=options.port | port,
        **{
            name: value
            for name, value in in_force.items()
            if name not in anew and getattr(options, name) is None
        },
    )


def refuse_unfit(current: Network, planned: Network, endpoints: Iterable[Endpoint]) -> None:
    """Refuse other options of a network that endpoints of it could not be on.

    Not for what one of them is refused for on the network as it is, too.

    Raises:
        InvalidOptionError, UnsupportedError: one could not, and why.
    """
    for each in endpoints:
        refusal = None if each.ended else _refusal(current, planned, each)
        if refusal is not None and str(refusal) != str(_refusal(current, current, each)):
            raise type(refusal)(f"endpoint {each.id[:12]} of this network: {refusal}")


def _refusal(current: Network, planned: Network, endpoint: Endpoint) -> DriverError | None:
    try:
        port_planning.check(endpoint, planned)
        _refuse_unpublished(endpoint, planned)
        _refuse_reopening((current, endpoint), (planned, endpoint))
    except DriverError as error:
        return error
    return None


def endpoint(
    current: Endpoint, options: EndpointOptions, network: Network, *, two_tags: bool
) -> Endpoint:
    """Return the record of ``current`` with other options.

    Raises:
        InvalidOptionError, UnsupportedError: as for a new endpoint; or the container that has it
            stands against it.
    """
    planned = port_planning.with_options(current, options, network, two_tags=two_tags)
    if planned.options != current.options and current.asked is None:
        planned = replace(planned, asked=current.options)
    if planned.published:
        _refuse_unpublished(planned, network)
    _refuse_reopening((network, current), (network, planned))
    return planned


def affected(
    before: Network, after: Network, endpoints: Iterable[Endpoint], *, owner: str
) -> Sequence[Endpoint]:
    """Return the plugged-in endpoints whose plumbing a change of their network is about."""
    rules = [desired.firewall([each]).gateways for each in (before, after)]
    return [
        each
        for each in endpoints
        if each.sandbox is not None
        and not each.ended
        and (
            rules[0] != rules[1] or _plumbing(before, each, owner) != _plumbing(after, each, owner)
        )
    ]


def _plumbing(network: Network, endpoint: Endpoint, owner: str) -> object:
    attachment = desired.attachment(network, endpoint, owner=owner)
    port = desired.port_options(network, endpoint)
    return (
        attachment,
        (port.allow, port.deny, port.rules),
        ways.wanted(network, endpoint),
        desired.port_flows(network, endpoint),
        desired.shaping(network, endpoint),
    )


def _refuse_unpublished(endpoint: Endpoint, network: Network) -> None:
    addresses = {each.ip for each in port_planning.publishable(endpoint, network)}
    for each in endpoint.published:
        if each.address not in addresses:
            raise UnsupportedError(
                f"the change would end the published port {each.text} (-p): "
                f"{port_planning.why_unpublished(endpoint, network)}; stop the container first"
            )


def _refuse_reopening(before: tuple[Network, Endpoint], after: tuple[Network, Endpoint]) -> None:
    """Refuse what makes vswitchd open an internal port's device anew, which destroys it."""
    _, current = before
    _, planned = after
    if planned.sandbox is None or not planned.internal:
        return
    for option, differs in (
        ("ovs.ofport", planned.ofport != current.ofport),
        ("ovs.mtu", desired.mtu(*after) != desired.mtu(*before)),
    ):
        if differs:
            raise UnsupportedError(
                f"{option}: Open vSwitch would make the container's internal port anew, and the "
                "container would lose it; start the container again with the option"
            )
