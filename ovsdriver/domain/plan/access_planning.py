"""Which access rules a network or a container can have. Pure."""

from collections.abc import Iterable
from typing import NoReturn

from ovsdriver.domain.records.model import Mode, Network
from ovsdriver.domain.records.options.access import AccessRule, PeerKind
from ovsdriver.domain.records.options.port_options import PortOptions, VlanMode
from ovsdriver.domain.wires import desired
from ovsdriver.errors import InvalidOptionError, UnsupportedError

_PAST_A_GATEWAY = (PeerKind.NAME, PeerKind.HOST, PeerKind.OUTSIDE)
"""Peers that only a gateway tells from others."""


def check(network: Network, port: PortOptions) -> None:
    """Refuse access rules that would not hold for a port; without any, nothing is refused.

    Args:
        network: its record.
        port: what holds for the port of a container, or the network's own ports.

    Raises:
        InvalidOptionError: other options contradict the rules.
        UnsupportedError: nobody would enforce them there.
    """
    if not port.judged:
        return
    option = _option(port)
    if network.segment.by_ovn:
        _unsupported(option, "OVN switches on its segments, and ovsnet's rules do not act there")
    if network.mode is Mode.GWBRIDGE:
        _unsupported(option, "its containers leave by docker_gwbridge; use -o ovs.mode=nat")
    if network.features.rstp:
        _unsupported(option, "containers in a spanning tree (ovs.rstp) can draw traffic aside")
    if not port.guard:
        raise InvalidOptionError(
            f"ovs.guard=false and {option} contradict each other: with another address a container "
            "would escape its rules; leave one of them out"
        )
    mode = port.vlan_mode or VlanMode.ACCESS
    if mode.has_trunks or port.tunnels:
        raise InvalidOptionError(
            f"{option} and {'ovs.trunks' if mode.has_trunks else 'ovs.vlan_mode=dot1q-tunnel'} "
            "contradict each other: frames with tags are not judged; leave one of them out"
        )
    refuse_unknowable([*port.allow, *port.deny], network, port, option)


def refuse_unknowable(
    rules: Iterable[AccessRule], network: Network, port: PortOptions, option: str
) -> None:
    """Refuse rules about peers that nobody can tell from others at a port.

    Args:
        rules: of its options, or of a set.
        network: its record.
        port: as of :func:`check`.
        option: who says them, ``ovs.allow``.

    Raises:
        UnsupportedError: there is one.
    """
    if desired.passes_gateway(network, port):
        return
    for each in rules:
        if each.peer in _PAST_A_GATEWAY:
            where = (
                f"ovs.mode={network.mode} has no gateway"
                if not network.mode.has_gateway
                else "the container's ovs.vlan has no gateway"
            )
            raise UnsupportedError(
                f'{option}: "{each.text}" is judged at a gateway, and {where}; name addresses, '
                "container:NAME or network:NAME"
            )


def _option(port: PortOptions) -> str:
    return next(f"ovs.{each}" for each in ("allow", "deny", "rules") if getattr(port, each))


def _unsupported(option: str, why: str) -> NoReturn:
    raise UnsupportedError(f"{option}: {why}; leave the rules out")
