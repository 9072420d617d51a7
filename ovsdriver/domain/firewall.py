"""What the host's firewall and forwarding should allow; pure."""

from dataclasses import dataclass

from netaddr import IPNetwork

from ovsdriver.domain.model import Mode, NetworkId


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRules:
    """What may cross one gateway of ours."""

    network: NetworkId
    link: str
    """The gateway's device in the host's namespace."""
    mode: Mode
    subnets: tuple[IPNetwork, ...]
    masquerade: bool = True
    """``nat`` only: rewrite the source of what leaves; ``enable_ip_masquerade``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallPlan:
    """The whole of it: one table, replaced at once."""

    gateways: tuple[GatewayRules, ...] = ()
    outside_bridges: tuple[str, ...] = ()
    """Linux bridges that the administrator declares to be outside, not other containers."""
