"""What the host has on a link, addresses and routes, taken from there and put on another one.

Each is kept as the message in which the kernel describes it, and said to it again with another
link in it: so everything about it goes along, known here or not (lifetimes, metrics, tables,
preferred sources), but for what is a statement about the old link.
"""

import errno
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from ovsdriver.adapters.kernel.codec.address_messages import (
    Address,
    add_address,
    address_messages,
    address_on,
    put_address,
    take_address,
)
from ovsdriver.adapters.kernel.codec.link_messages import IFF_UP, Link, LinkChange, change_link
from ovsdriver.adapters.kernel.codec.route_messages import (
    is_given,
    put_route,
    read_route,
    route_messages,
    route_on,
    take_route,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NetlinkError,
    RouteSocket,
    passed_over,
)
from ovsdriver.domain.records.on_link import Held, HeldAddress, HeldRoute

_COUNTED = 100_000
"""Of what is not kept, so many are counted at most."""
_NOT_THERE = (errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENOENT)


def held(routes: RouteSocket, link: Link, *, most: int | None = None) -> Held:
    """Return what the host has on a link; without link-local addresses of IPv6, which all have.

    With ``most``, as many addresses, and routes of each family, at most, and how many more there
    are, up to some; they may be any number. The kernel gives default routes first.
    """
    addresses, more_addresses = _first(address_messages(routes, link.index), most)
    found = [
        _first(filter(is_given, route_messages(routes, family, link.index)), most)
        for family in FAMILIES.values()
    ]
    return Held(
        addresses=tuple(map(_address, addresses)),
        routes=tuple(
            route
            for messages, _ in found
            for message in messages
            if (route := _route(message, link.index)) is not None
        ),
        more_addresses=more_addresses,
        more_routes=sum(more for _, more in found),
    )


def _first(messages: Iterator[bytes], most: int | None) -> tuple[list[bytes], int]:
    """Return the first ones, and how many more there are, as far as that is counted."""
    if most is None:
        return list(messages), 0
    return list(islice(messages, most)), sum(1 for _ in islice(messages, _COUNTED))


def move(routes: RouteSocket, what: Held, *, source: Link | None, target: Link) -> tuple[str, ...]:
    """Take what is there from ``source`` and put it on ``target``, which is set up.

    Repeatable, also where an earlier call was cut short: what is gone or there already is passed
    over. Returns the routes that the kernel did not take, each with its reason.
    """
    if not target.flags & IFF_UP:
        change_link(routes, target.index, LinkChange(set_flags=IFF_UP))
    # first: with the host's last trace of an address the kernel drops the routes of other links
    # that have it as their source (net/ipv4/fib_frontend.c, fib_del_ifaddr)
    put_addresses(routes, what, target)
    if source is not None:
        for route in what.routes:
            message = bytes.fromhex(route.message)
            with passed_over(*_NOT_THERE):
                take_route(routes, message, source.index, target.index)
        for address in what.addresses:
            with passed_over(*_NOT_THERE):
                take_address(routes, bytes.fromhex(address.message), source.index)
    return put_routes(routes, what, target, elsewhere=source.index if source else None)


def put_addresses(routes: RouteSocket, what: Held, target: Link) -> None:
    """Put addresses on a link; what is there already is no matter."""
    for address in oldest_first(what):
        if address.message:
            put_address(routes, bytes.fromhex(address.message), target.index, target.name)
        else:
            add_address(routes, target.index, address.address)


def oldest_first(what: Held) -> tuple[HeldAddress, ...]:
    """Return addresses in an order that gives the kernel's own again.

    It puts a new IPv6 address before the others (net/ipv6/addrconf.c, ipv6_link_dev_addr), and
    where no rule prefers one as a source it takes the first.
    """
    ipv4 = (each for each in what.addresses if each.address.version == 4)
    ipv6 = (each for each in reversed(what.addresses) if each.address.version == 6)
    return (*ipv4, *ipv6)


def put_routes(
    routes: RouteSocket, what: Held, target: Link, *, elsewhere: int | None
) -> tuple[str, ...]:
    """Put routes on a link that is up, and return those that the kernel did not take.

    ``elsewhere`` is the index of the link that they were on.
    """
    refused = []
    # a gateway must be on a link by the time that somebody names it
    for route in sorted(what.routes, key=lambda each: each.gateway is not None):
        try:
            put_route(routes, bytes.fromhex(route.message), target.index, elsewhere)
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                refused.append(f"{route.text}: {error.strerror}")
    return tuple(refused)


def steady(what: Held, link: Link) -> Held:
    """Return what is on ``link`` without what changes by itself, such as times of last use."""
    return Held(
        addresses=tuple(
            replace(each, message=_steady_address(each, link).hex()) for each in what.addresses
        ),
        routes=tuple(
            replace(each, message=route_on(bytes.fromhex(each.message), link.index, None).hex())
            for each in what.routes
        ),
        more_addresses=what.more_addresses,
        more_routes=what.more_routes,
    )


def _steady_address(address: HeldAddress, link: Link) -> bytes:
    message = bytes.fromhex(address.message)
    return address_on(message, link.index, link.name, timeless=address.permanent)


def _address(message: bytes) -> HeldAddress:
    found = Address.read(message)
    return HeldAddress(address=found.address, permanent=found.permanent, message=message.hex())


def _route(message: bytes, index: int) -> HeldRoute | None:
    """Read a route; None if it does not lead through the link, or to link-local addresses."""
    ways = [hop for hop in read_route(message) if hop.index == index]
    if not ways:
        return None
    way = ways[-1]
    to = way.destination
    if to.version == 6 and to.ip.is_link_local():
        return None
    return HeldRoute(
        text=f"{to if to.prefixlen else 'default'} via {way.gateway or 'the link'} "
        f"(IPv{to.version}, table {way.table}, metric {way.metric})",
        gateway=way.gateway,
        message=message.hex(),
    )
