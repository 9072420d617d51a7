"""The mode of each family of a new network, and the options that no such mode can honour. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from ovsdriver.domain.records.model import HostAccess, Mode
from ovsdriver.domain.records.requests import NetworkOptions
from ovsdriver.errors import InvalidOptionError

_GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv"
_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """As ``Network.mode`` and ``Network.mode6``."""

    mode: Mode
    mode6: Mode | None = None

    def __contains__(self, mode: Mode) -> bool:
        return mode in (self.mode, self.mode6)

    def mode_of(self, family: int) -> Mode:
        """Return the mode of ``family`` (4 or 6)."""
        return self.mode6 if family == 6 and self.mode6 is not None else self.mode


def by_family(options: NetworkOptions, mode: Mode, families: Collection[int]) -> Modes:
    """Return the modes of a network that has subnets of ``families``.

    Args:
        options: as typed; the mode of IPv6 in them, if there is one, is not that of IPv4.
        mode: of IPv4, or of both.
        families: 4 and 6.

    Raises:
        InvalidOptionError: a mode that differs was said of a family that the network does not have.
    """
    mode6 = options.mode6
    if mode6 is None or mode is Mode.ISOLATED:
        return Modes(mode=mode)
    if 4 in families and 6 in families:
        return Modes(mode=mode, mode6=mode6)
    here, there = (4, 6) if 4 in families else (6, 4)
    modes = {4: mode, 6: mode6}
    if modes[there] is Mode.ROUTED:
        # nat may be what follows from the other family's being routed; routed was typed.
        raise InvalidOptionError(
            f"{_GATEWAY_MODE}{there}=routed: the network has no IPv{there} subnet; "
            f"leave the option out, or {'add --ipv6' if there == 6 else 'give it one'}"
        )
    return Modes(mode=modes[here])


def refuse_gateway(typed: str) -> NoReturn:
    """Refuse a gateway on a network whose containers have Docker's.

    Raises:
        InvalidOptionError: always.
    """
    raise InvalidOptionError(
        f"{typed}: containers of a network with ovs.mode=gwbridge leave through Docker's own "
        "bridge docker_gwbridge, which has a gateway of its own; leave it out, or use "
        "-o ovs.mode=flat"
    )


def refuse_vain(options: NetworkOptions, modes: Modes) -> None:
    """Refuse what networks of these modes cannot do.

    Raises:
        InvalidOptionError: it was typed, and would have no effect.
    """
    if options.masquerade and Mode.NAT not in modes:
        raise InvalidOptionError(
            f"{_MASQUERADE}=true: on a network with ovs.mode={modes.mode} this host rewrites no "
            "addresses; leave the option out, or use -o ovs.mode=nat"
        )
    _refuse_vain_host(options, modes)
    if options.isolate is None or Mode.ROUTED in modes:
        return
    # Of nat and isolated networks "true" is the truth anyway.
    if not options.isolate or modes.mode not in (Mode.NAT, Mode.ISOLATED):
        raise InvalidOptionError(
            f"ovs.isolate={str(options.isolate).lower()} works between routed networks, and this "
            f"one has ovs.mode={modes.mode}; leave the option out, or use -o ovs.mode=routed"
        )


def _refuse_vain_host(options: NetworkOptions, modes: Modes) -> None:
    if options.host is None or modes.mode.has_gateway or options.host_addresses:
        return
    # Of isolated networks "none" is the truth anyway.
    if options.host is not HostAccess.NONE or modes.mode is not Mode.ISOLATED:
        raise InvalidOptionError(
            f"ovs.host={options.host}: this host has no address on a network with "
            f"ovs.mode={modes.mode}, so there is nothing to open or close; leave the option out"
        )
