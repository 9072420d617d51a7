"""Routes by routers of a container's link, inside its sandbox; threads as of ``inner_links``."""

import errno

from ovsdriver.adapters.kernel.codec.route_messages import (
    add_route,
    added_by,
    is_given,
    read_route,
    route_messages,
    take_route,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NetlinkError,
    RouteSocket,
    passed_over,
)
from ovsdriver.adapters.kernel.sandbox import inner_links
from ovsdriver.domain.records.model import Way
from ovsdriver.domain.wires.plumbing import Tap, Veth
from ovsdriver.domain.wires.ways import WayChange

_OURS = 79
"""In ``rtm_protocol`` of routes that we have added. Not in iproute2's rt_protos, nor any daemon's
that is listed in linux/rtnetlink.h."""
_LAST = 1 << 20
"""Metric of our default routes. Docker's are 0 and, of IPv6, 1024, so that where it has given
another network's its choice holds (``gw_priority``), and it can go on giving and taking its own."""
_MAIN = 254
_REFUSED = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EINVAL)
"""What the container has done to its link stands against a route; it is tried again."""


def settle(sandbox: str, link: Veth | Tap, change: WayChange, *, dry: bool) -> bool | None:
    """Make a link's routes as ``change`` says, or only tell; see ``Sandboxes.settle_ways``."""

    def inside(host: RouteSocket, here: RouteSocket) -> bool | None:
        found = inner_links.attached(host, here, link)
        return None if found is None else _settle(here, found.index, change, dry=dry)

    return inner_links.with_sockets(sandbox, inside)


def _settle(here: RouteSocket, index: int, change: WayChange, *, dry: bool) -> bool:
    there, surplus = _read(here, index, change)
    # one that was taken may have been in the way of one that is to be there
    missing = [each for each in change.put if each not in there]
    if dry:
        return bool(surplus or missing)
    for message in surplus:
        with passed_over(errno.ESRCH):
            take_route(here, message, index, None)
    put = [_put(here, index, each) for each in missing]
    return bool(surplus) or any(put)


def _read(here: RouteSocket, index: int, change: WayChange) -> tuple[set[Way], list[bytes]]:
    """Return the routes that stay, and the messages of those that are to be taken."""
    there: set[Way] = set()
    surplus: list[bytes] = []
    for family in FAMILIES.values():
        for message in route_messages(here, family, index):
            hops = list(read_route(message)) if is_given(message) else []
            if len(hops) != 1 or hops[0].gateway is None or hops[0].table != _MAIN:
                continue
            if hops[0].index != index:
                continue
            way = Way(to=hops[0].destination, via=hops[0].gateway)
            ours = added_by(message) == _OURS
            if way in change.take or (ours and way not in change.put):
                surplus.append(message)
            else:
                there.add(way)
    return there, surplus


def _put(here: RouteSocket, index: int, way: Way) -> bool:
    metric = 0 if way.to.prefixlen else _LAST
    try:
        return add_route(here, index, way.to, way.via, protocol=_OURS, metric=metric)
    except NetlinkError as error:
        if error.errno not in _REFUSED:
            raise
        return False
