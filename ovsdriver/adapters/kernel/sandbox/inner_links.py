"""A container's end of a link inside its sandbox: read, and made again as it was.

Each function here is called on a thread of its own, in the host's namespace, and leaves it in the
sandbox's, so the thread must end with it. A socket of the host's namespace stays one.

A lost end is made again by a new device: one in the host's namespace that the bridge has already.
What is left of the old one is deleted first, so that the new one can have its index as well: a
socket that is bound to the interface, or to its link-local addresses, is bound to that number.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec import neighbour_messages
from ovsdriver.adapters.kernel.codec.address_messages import addresses
from ovsdriver.adapters.kernel.codec.link_messages import (
    IFF_UP,
    Link,
    LinkChange,
    all_links,
    change_link,
    delete_link,
    differing,
    find_link,
    find_link_by_index,
    move_link,
    new_upper,
)
from ovsdriver.adapters.kernel.codec.route_messages import add_route
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    NetlinkError,
    RouteSocket,
    attribute,
    each_attribute,
)
from ovsdriver.adapters.kernel.host import host_places
from ovsdriver.adapters.kernel.sandbox import neighbours
from ovsdriver.adapters.kernel.sandbox.entering import call_inside
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.wires.plumbing import Tap, Veth
from ovsdriver.domain.wires.sandbox_link import LinkState, SandboxLink, UpperLink
from ovsdriver.errors import ConflictError, UnavailableError

_SETTINGS = "/proc/sys/net"
_LIKE = {"conf": "default", "neigh": "lo"}
"""Whose values a new link gets. Only the first namespace shows the default for neighbours; the
loopback, which was there first, has got it."""
_FAMILIES = ("ipv4", "ipv6")
_UPPERS: Mapping[str, frozenset[int]] = {
    "vlan": frozenset(),
    "macvlan": frozenset({1, 2}),
    "ipvlan": frozenset({1, 2}),
}
"""Kinds of links that the kernel deletes with the one below them, each with those attributes of
linux/if_link.h that it takes at creation (mode and flags); none listed: all."""
_FOLLOWS = frozenset({"ipv6/conf/mtu"})
"""What the kernel sets by itself with another property."""

_LONGEST = 256
"""Bytes of a setting."""

MOST = 1000
"""Links, and neighbours, addresses and routes of one, that are kept: a container may make any
number of them, and all is held in our memory and written to disk."""

T = TypeVar("T")


def look(
    sandbox: str, link: Veth | Tap, noted: SandboxLink | None
) -> tuple[SandboxLink, bool] | None:
    """Return an endpoint's link in a sandbox, and whether it leads anywhere; None if not there.

    OSError if the namespace is gone.
    """

    def inside(host: RouteSocket, here: RouteSocket) -> tuple[SandboxLink, bool] | None:
        new = attached(host, here, link)
        old = new or _left_over(here, link, noted)
        return None if old is None else (_described(here, sandbox, old), new is not None)

    return with_sockets(sandbox, inside)


def restore(sandbox: str, link: Veth | Tap, wanted: SandboxLink) -> tuple[str, ...]:
    """Put the device that is in the host's namespace into a sandbox, as ``wanted``; announce it.

    Repeatable, also where an earlier call was cut short at any line. Returns what the kernel did
    not take of it, in words.

    Raises:
        ConflictError: another interface of the container has the name.
        UnavailableError: there is no device to put there.
    """

    def inside(host: RouteSocket, here: RouteSocket) -> tuple[str, ...]:
        new = attached(host, here, link)
        if new is None:
            new = _moved(host, here, link, wanted, handle)
        refused = _settle(here, new, wanted)
        settled = find_link_by_index(here, new.index) or new
        refused += _put_expected(here, settled, wanted)
        refused += _put_uppers(here, wanted.uppers)
        for each in (settled.name, *(upper.name for upper in wanted.uppers)):
            _announce(here, each)
        return tuple(refused)

    handle = os.open(sandbox, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return with_sockets(sandbox, inside)
    finally:
        os.close(handle)


def with_sockets(sandbox: str, work: Callable[[RouteSocket, RouteSocket], T]) -> T:
    """Do ``work`` in a sandbox, with a socket of the host's namespace and one of the sandbox's."""

    def inside() -> T:
        with closing(RouteSocket()) as here:
            return work(host, here)

    with closing(RouteSocket()) as host:
        return call_inside(sandbox, inside)


def attached(host: RouteSocket, here: RouteSocket, link: Veth | Tap) -> Link | None:
    """Return the link in the sandbox that leads to the switch.

    A pair's by its other end, which has our mark; a tap by the mark itself, if vswitchd holds it.
    """
    if isinstance(link, Tap):
        return next((each for each in _marked(here, link) if each.carrier), None)
    plug = find_link(host, link.host)
    if plug is None or plug.alias != link.alias or not plug.lower_elsewhere:
        return None
    found = find_link_by_index(here, plug.lower_index or 0)
    if found is None or found.kind != "veth" or found.lower_index != plug.index:
        return None
    return found


def _left_over(here: RouteSocket, link: Veth | Tap, noted: SandboxLink | None) -> Link | None:
    """Return what is in the sandbox of a link that leads nowhere any more."""
    if isinstance(link, Tap):
        return next(iter(_marked(here, link)), None)
    if noted is None or not noted.index:
        return None
    found = find_link_by_index(here, noted.index)
    known = (noted.mac.packed, link.mac.packed)
    return found if found is not None and found.kind == "veth" and found.mac in known else None


def _marked(here: RouteSocket, tap: Tap) -> list[Link]:
    return [each for each in all_links(here, most=MOST) if each.alias == tap.alias]


def _moved(
    host: RouteSocket, here: RouteSocket, link: Veth | Tap, wanted: SandboxLink, handle: int
) -> Link:
    source = _source(host, link)
    old = _left_over(here, link, wanted)
    taken = find_link(here, wanted.name) if not wanted.name.endswith("%d") else None
    if taken is not None and (old is None or taken.index != old.index):
        raise ConflictError(
            f"the container has another interface named {wanted.name} by now "
            f"({taken.kind or 'a plain device'}); rename or delete that one, or restart the "
            "container"
        )
    if old is not None:
        delete_link(here, old.index)
    move_link(host, source.index, handle, wanted_index=wanted.index)
    moved = find_link(here, source.name)
    if moved is None:
        raise UnavailableError(f"link {source.name} has vanished while it was moved; try again")
    return moved


def _source(host: RouteSocket, link: Veth | Tap) -> Link:
    name = link.name if isinstance(link, Tap) else link.container
    found = find_link(host, name)
    if found is None:
        raise UnavailableError(f"link {name} is not there, so there is nothing to put back")
    if isinstance(link, Tap) and not found.carrier:
        raise UnavailableError(f"no process holds link {name}; is ovs-vswitchd running?")
    return found


def _settle(here: RouteSocket, link: Link, wanted: LinkState) -> list[str]:
    """Give a link what it lacks. It takes nothing away, so it can be done again.

    Returns what the kernel did not take, in words: the rest is worth having all the same.
    """
    refused: list[str] = []
    if not _called(link.name, wanted.name):
        change_link(here, link.index, LinkChange(name=wanted.name))
        link = find_link_by_index(here, link.index) or link
    master = find_link(here, wanted.master) if wanted.master else None
    master_index = None if master is None else master.index
    for what, change in (
        ("MAC", LinkChange(mac=differing(wanted.mac.packed, link.mac))),
        ("MTU", LinkChange(mtu=differing(wanted.mtu, link.mtu))),
        ("master", LinkChange(master_index=differing(master_index, link.master_index))),
    ):
        if change:
            with _noted(refused, f"{what} of {link.name}"):
                change_link(here, link.index, change)
    # before it is up: an address that nobody wants must not appear for a moment
    refused += _put_settings(link.name, wanted.settings)
    for address in host_places.oldest_first(wanted.held):
        with _noted(refused, f"{address.address} on {link.name}"):
            host_places.put_addresses(here, Held(addresses=(address,)), link)
    if not wanted.up:
        return refused
    if not link.up:
        change_link(here, link.index, LinkChange(set_flags=IFF_UP))
    refused += host_places.put_routes(here, wanted.held, link, elsewhere=wanted.index)
    for message in wanted.neighbours:
        with _noted(refused, f"a neighbour on {link.name}"):
            neighbour_messages.put(here, link.index, bytes.fromhex(message))
    return refused


@contextmanager
def _noted(refused: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        refused.append(f"{what}: {error.strerror}")


def _put_uppers(here: RouteSocket, wanted: Iterable[UpperLink]) -> list[str]:
    """Make what was on top of a link; return what cannot be made, in words."""
    refused: list[str] = []
    for upper in wanted:
        lower = find_link(here, upper.lower)
        if lower is None:
            continue  # which was said of that one
        with _noted(refused, f"{upper.kind} {upper.name} on {upper.lower}"):
            if find_link(here, upper.name) is None:
                new_upper(
                    *(here, upper.name, lower.index),
                    kind=upper.kind,
                    data=bytes.fromhex(upper.data),
                    mac=upper.mac.packed,
                    index=upper.index,
                )
            made = find_link(here, upper.name)
            if made is not None and made.kind == upper.kind and made.lower_index == lower.index:
                refused += _settle(here, made, upper)
    return refused


def _called(name: str, wanted: str) -> bool:
    prefix, any_number, _ = wanted.partition("%d")
    if any_number:
        return name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    return name == wanted


def _put_expected(here: RouteSocket, link: Link, wanted: SandboxLink) -> list[str]:
    """Add the routes of a link that was never seen, where the container has no others."""
    refused: list[str] = []
    everything = {4: IPNetwork("0.0.0.0/0"), 6: IPNetwork("::/0")}
    routes: list[tuple[IPNetwork, IPAddress | None]] = [(each, None) for each in wanted.on_link]
    routes += [(each.to, each.via) for each in wanted.ways]
    routes += [(everything[each.version], each) for each in wanted.gateways]
    for destination, gateway in routes:
        with _noted(refused, f"{destination} via {gateway or 'the link'}"):
            add_route(here, link.index, destination, gateway)
    return refused


def _described(here: RouteSocket, sandbox: str, link: Link) -> SandboxLink:
    links = all_links(here, most=MOST)
    return SandboxLink(
        sandbox=sandbox,
        uppers=tuple(_uppers(here, links, link)),
        **_state(here, links, link),
    )


def _uppers(here: RouteSocket, links: Sequence[Link], lower: Link) -> Iterator[UpperLink]:
    for each in links:
        if each.kind in _UPPERS and each.lower_index == lower.index and not each.lower_elsewhere:
            yield UpperLink(
                lower=lower.name,
                kind=each.kind,
                data=_essence(each).hex(),
                **_state(here, links, each),
            )
            yield from _uppers(here, links, each)


def _essence(upper: Link) -> bytes:
    """Return what makes an upper link what it is, without what the kernel only reports."""
    kinds = _UPPERS[upper.kind]
    return b"".join(
        attribute(kind, value)
        for kind, value in each_attribute(upper.data)
        if not kinds or kind in kinds
    )


def _state(here: RouteSocket, links: Sequence[Link], link: Link) -> dict[str, Any]:
    """Return the members of a LinkState."""
    masters = (each.name for each in links if each.index == link.master_index)
    return {
        "name": link.name,
        "index": link.index,
        "mac": link.eui,
        "mtu": link.mtu,
        "up": link.up,
        "master": next(masters, ""),
        "held": host_places.steady(host_places.held(here, link, most=MOST), link),
        "neighbours": tuple(
            each.hex() for each in neighbour_messages.lasting(here, link.index, most=MOST)
        ),
        "settings": dict(_settings(link.name)),
    }


def _announce(here: RouteSocket, name: str) -> None:
    link = find_link(here, name)
    if link is not None and link.up:
        held = addresses(here, link.index)
        neighbours.announce(name, [each.address for each in held if each.scope_universe])


def _settings(link: str) -> Iterator[tuple[str, str]]:
    """Give the settings of a link that differ from those of a new one."""
    for family in _FAMILIES:
        for kind, like in _LIKE.items():
            usual = _values(f"{_SETTINGS}/{family}/{kind}/{like}")
            for name, value in _values(f"{_SETTINGS}/{family}/{kind}/{link}").items():
                key = f"{family}/{kind}/{name}"
                if key not in _FOLLOWS and value != usual.get(name):
                    yield key, value


def _put_settings(link: str, wanted: Mapping[str, str]) -> Iterator[str]:
    """Write what differs; give those that cannot be written, in words."""
    sysctls = Sysctls()
    for key, value in wanted.items():
        folder, _, name = key.rpartition("/")
        path = f"net/{folder}/{link}/{name}"
        if sysctls.read(path) == value:
            continue
        try:
            sysctls.write(path, value)
        except OSError as error:
            yield f"/proc/sys/{path} = {value}: {error.strerror}"


def _values(folder: str) -> Mapping[str, str]:
    """Read every file of a folder, by its handle: there are 130 of them in a look."""
    values: dict[str, str] = {}
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # no IPv6 in this kernel, or below its smallest MTU
        return values
    try:
        for name in sorted(each.name for each in os.scandir(handle)):
            with suppress(OSError):  # some cannot be read until they are set
                file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=handle)
                try:
                    values[name] = os.read(file, _LONGEST).decode().strip()
                finally:
                    os.close(file)
    finally:
        os.close(handle)
    return values
