"""Which gateways of ours open which way: networks to the outside, to each other, inside. Pure.

A packet between two links of the host is judged by the sets that its links are in. What is in no
set stays closed, so a mode that is forgotten here is a closed one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ovsdriver.domain.firewall import GatewayRules
from ovsdriver.domain.model import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Openings:
    """Links of our gateways by what is open there, for packets of one family."""

    masqueraded: tuple[str, ...] = ()
    """What leaves by another link than a gateway gets the host's address."""
    reachable: tuple[str, ...] = ()
    """The outside may begin connections with containers there, and they answer."""
    mutual: tuple[str, ...] = ()
    """Containers behind any of these reach those behind all others of these."""
    apart: tuple[str, ...] = ()
    """Of ``mutual``: but not those behind the same gateway."""


def openings(gateways: Iterable[GatewayRules], *, family: int) -> Openings:
    """Return what ``gateways`` open for packets of ``family`` (4 or 6)."""
    here = [each for each in gateways if each.carries(family)]
    routed = [each for each in here if each.mode_of(family) is Mode.ROUTED]
    mutual = [each for each in routed if not each.isolate]
    return Openings(
        masqueraded=_links(
            each for each in here if each.mode_of(family) is Mode.NAT and each.masquerade
        ),
        reachable=_links(routed),
        mutual=_links(mutual),
        apart=_links(each for each in mutual if not each.icc),
    )


def _links(gateways: Iterable[GatewayRules]) -> tuple[str, ...]:
    return tuple(sorted(each.link for each in gateways))
