"""Devices of internal ports that go into containers, settled while they are still in the host.

They stay down: Docker sets them up inside. The mark tells later that a device of this name is the
one that was settled, and not one that vswitchd made anew because the first is in a container.
"""

from ovsdriver.adapters.kernel.codec.link_messages import LinkChange, change_link
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.gateways import internal_device
from ovsdriver.domain.records.model import Tap
from ovsdriver.errors import ConflictError


def ensure_tap(routes: RouteSocket, tap: Tap) -> bool:
    """Settle the device; False if vswitchd has not made it yet.

    Changes only what differs. Raises ConflictError if a link of that name is something else.
    """
    link = internal_device(routes, tap.name)
    if link is None:
        return False
    if link.alias not in ("", tap.alias):
        raise ConflictError(
            f"link {tap.name} exists and is not this endpoint's (its alias is {link.alias!r}, ours "
            f"would be {tap.alias!r}); see `ip -d link show {tap.name}`, and delete or rename it"
        )
    change = LinkChange(
        mac=None if link.mac == tap.mac.packed else tap.mac.packed,
        mtu=None if link.mtu == tap.mtu else tap.mtu,
        alias=None if link.alias == tap.alias else tap.alias,
    )
    if change:
        change_link(routes, link.index, change)
    return True
