"""Which gateways of ours open which way: to the outside, each other, inside, the host. Pure.

A packet between two links of the host is judged by the sets that its links are in. What is in no
set stays closed, so a mode that is forgotten here is a closed one. The host's own addresses are
the other way round, open as Docker's bridge has them, until a network closes them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ovsdriver.domain.records.model import HostAccess, Mode
from ovsdriver.domain.traffic.firewall import GatewayRules


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Closings:
    """Links of our gateways by what of the host is closed to the containers behind them."""

    narrow: tuple[str, ...] = ()
    """All but the address of their own gateway."""
    silent: tuple[str, ...] = ()
    """Of ``narrow``: and that but for ICMP."""


def closings(gateways: Iterable[GatewayRules]) -> Closings:
    """Return what ``gateways`` close of the host, the same for both families."""
    narrow = [each for each in gateways if each.host is not HostAccess.ALL]
    return Closings(
        narrow=_links(narrow),
        silent=_links(each for each in narrow if each.host is HostAccess.NONE),
    )


def _links(gateways: Iterable[GatewayRules]) -> tuple[str, ...]:
    return tuple(sorted(each.link for each in gateways))
