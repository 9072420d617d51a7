"""What ``-p`` and ``-P`` ask for, as ports of this host that lead to a container. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import (
    EndpointId,
    HostPort,
    PortMapping,
    Publication,
    Transport,
    port_text,
)

MOST_HELD = 1024
"""Ports of a range up to which each is held by a socket. More would cost more memory and time than
the certainty is worth: they are looked for among those in use, once."""

EVERYWHERE = {4: IPAddress("0.0.0.0"), 6: IPAddress("::")}  # noqa: S104 - a published port's


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From an address of the host to one of the container, of the same family."""

    host: IPAddress
    container: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPort:
    """What is to be published of a mapping, before a port of the host is chosen."""

    mapping: PortMapping
    ways: tuple[Way, ...]
    """At least one; all of them get the same port of the host."""
    instead_of: EndpointId | None = None
    """As of the publication."""

    @property
    def first(self) -> int:
        """Of the ports of the host to choose from; 0: any."""
        return self.mapping.host_port

    @property
    def last(self) -> int:
        """Of the same."""
        return self.mapping.host_port_end or self.first

    @property
    def choices(self) -> Sequence[int]:
        """Ports of the host to try in this order, the first of each range; none: any."""
        return range(self.first, self.last + 1) if self.first else ()

    @property
    def host_text(self) -> str:
        """Return the wanted ports of the host, for a sentence."""
        if not self.first:
            return "every port that this host hands out"
        if self.mapping.count > 1:
            return f"one of the host ports {port_text(self.first, self.mapping.count)}"
        if self.first == self.last:
            return f"host port {self.first}"
        return f"every host port from {self.first} to {self.last}"

    def publications(self, host_port: int) -> tuple[Publication, ...]:
        """Return what is published once a port of the host is chosen."""
        return tuple(
            Publication(
                protocol=self.mapping.protocol,
                host=way.host,
                host_port=host_port,
                address=way.container,
                port=self.mapping.port,
                count=self.mapping.count,
                instead_of=self.instead_of,
            )
            for way in self.ways
        )


def gathered(ports: Sequence[PortMapping]) -> Sequence[PortMapping]:
    """Return the same with runs of exact ports as ranges; Docker names each port by itself."""
    exact = [each for each in ports if _exact(each)]
    exact.sort(key=lambda each: (each.protocol, str(each.host_address), each.host_port, each.port))
    runs: list[list[PortMapping]] = []
    for each in exact:
        if runs and each == runs[-1][-1]:
            continue
        if runs and _follows(runs[-1][-1], each):
            runs[-1].append(each)
        else:
            runs.append([each])
    ranges = (run[0] if len(run) == 1 else replace(run[0], count=len(run)) for run in runs)
    return (*ranges, *(each for each in ports if not _exact(each)))


def _exact(mapping: PortMapping) -> bool:
    return mapping.host_port > 0 and mapping.host_port_end in (0, mapping.host_port)


def _follows(before: PortMapping, after: PortMapping) -> bool:
    return (before.protocol, before.host_address) == (after.protocol, after.host_address) and (
        before.host_port + before.count,
        before.port + before.count,
    ) == (after.host_port, after.port)


def wishes(
    ports: Iterable[PortMapping],
    addresses: Iterable[IPNetwork],
    *,
    bindings: Sequence[IPAddress] = (),
    elsewhere: Collection[int] = (),
    skipped: Collection[tuple[Transport, int, int]] = (),
    instead_of: EndpointId | None = None,
) -> Sequence[WantedPort]:
    """Return what an endpoint publishes of what its container asks for.

    Args:
        ports: of the whole container.
        addresses: the endpoint's, at most one of a family.
        bindings: host addresses of mappings that name none; none: all, of both families.
        elsewhere: families that another endpoint of the container publishes.
        skipped: protocol, port and family of what another endpoint publishes already.
        instead_of: as of the publication.
    """
    own = {address.version: address.ip for address in addresses}
    found: dict[tuple[PortMapping, tuple[Way, ...]], WantedPort] = {}
    for mapping in ports:
        hosts = _hosts(mapping, bindings)
        ways = tuple(
            Way(host=host, container=own[host.version])
            for host in hosts
            if host.version in own
            and host.version not in elsewhere
            and (mapping.protocol, mapping.port, host.version) not in skipped
        )
        if ways:
            wish = WantedPort(mapping=mapping, ways=ways, instead_of=instead_of)
            same = replace(mapping, host_address=None, host_port_end=wish.last)
            found.setdefault((same, ways), wish)
    return tuple(found.values())


def left_out(
    ports: Iterable[PortMapping], families: Collection[int], *, bindings: Sequence[IPAddress] = ()
) -> Sequence[PortMapping]:
    """Return what is published in none of ``families``, those that the container's networks do.

    A family that nobody asked for by an address of the host may be missing.
    """
    return [
        mapping
        for mapping in ports
        if not any(host.version in families for host in _hosts(mapping, bindings))
    ]


def _hosts(mapping: PortMapping, bindings: Sequence[IPAddress]) -> Sequence[IPAddress]:
    if mapping.host_address is not None:
        return (_plain(mapping.host_address),)
    return tuple(bindings) or tuple(EVERYWHERE.values())


def _plain(address: IPAddress) -> IPAddress:
    """Return ``::ffff:192.0.2.1`` as the IPv4 address that it means."""
    return address.ipv4() if address.version == 6 and address.is_ipv4_mapped() else address


def left_to_sibling(
    published: frozenset[int], *, told: frozenset[int], other_gateway6: bool, current: bool
) -> frozenset[int]:
    """Return the families that another endpoint of the same container goes on publishing.

    Docker names one endpoint for each family (engine 28 and newer; before, one for both) and
    revokes the one that lost its role, but for one of before its own restart (moby,
    drivers/remote/driver.go). It repeats itself only to who has another role than before.

    Args:
        published: families that the sibling publishes.
        told: families in which the endpoint that is asked for now has told Docker a gateway.
        other_gateway6: it was told that another one has IPv6, so IPv4 is its own.
        current: the sibling was asked by the daemon that asks now.
    """
    if other_gateway6:
        return published - {4}
    if 6 in told and published == {4} and current:
        # The new one is asked for IPv6 alone; had the role been taken from the sibling, it would
        # have been told.
        return published
    return frozenset()


class Earlier:
    """What an earlier call has published: its ports of the host are kept where they still fit."""

    def __init__(self, published: Iterable[Publication]) -> None:
        self._ports: dict[_Target, list[int]] = {}
        for each in published:
            self._ports.setdefault(_target(each), []).append(each.host_port)

    def take(self, wish: WantedPort) -> int:
        """Return the port of the host that was found for ``wish``, once; 0: none."""
        for target in map(_target, wish.publications(0)):
            for port in self._ports.get(target, ()):
                if not wish.first or wish.first <= port <= wish.last:
                    self._forget(wish, port)
                    return port
        return 0

    def _forget(self, wish: WantedPort, port: int) -> None:
        for target in map(_target, wish.publications(0)):
            if port in self._ports.get(target, ()):
                self._ports[target].remove(port)


_Target = tuple[Transport, IPAddress, IPAddress, int, int]


def _target(each: Publication) -> _Target:
    return each.protocol, each.host, each.address, each.port, each.count


class Places:
    """Ports of the host by what makes two of them the same, for looking among thousands."""

    def __init__(self, ports: Iterable[HostPort] = ()) -> None:
        self._addresses: dict[tuple[Transport, int, int], set[IPAddress]] = {}
        self._ranges: set[HostPort] = set()
        for each in ports:
            self.add(each)

    def add(self, port: HostPort) -> None:
        """Add one."""
        if port.count > 1:
            self._ranges.add(port)
        else:
            self._addresses.setdefault(_place(port), set()).add(port.address)

    def remove(self, port: HostPort) -> None:
        """Remove one that was added."""
        if port.count > 1:
            self._ranges.discard(port)
            return
        left = self._addresses.get(_place(port), set())
        left.discard(port.address)
        if not left:
            self._addresses.pop(_place(port), None)

    def overlap(self, port: HostPort) -> bool:
        """Whether one of them and ``port`` cannot be had by two at once."""
        if any(map(port.overlaps, self._ranges)):
            return True
        if port.count == 1:
            return self._has(port)
        if port.count < len(self._addresses):
            return any(
                self._has(replace(port, port=each, count=1))
                for each in range(port.port, port.last + 1)
            )
        return any(
            port.overlaps(HostPort(protocol=protocol, address=address, port=number))
            for (protocol, _, number), addresses in self._addresses.items()
            for address in addresses
        )

    def _has(self, port: HostPort) -> bool:
        found = self._addresses.get(_place(port))
        if not found:
            return False
        return port.everywhere or port.address in found or EVERYWHERE[port.address.version] in found


def _place(port: HostPort) -> tuple[Transport, int, int]:
    return port.protocol, port.address.version, port.port


def overlapping(wish: WantedPort, held: Iterable[HostPort]) -> Iterator[HostPort]:
    """Return those of ``held`` that stand in the way of ``wish``."""
    hosts = [way.host for way in wish.ways]
    for port in held:
        # What any of its choices would have of it; without a choice all of it.
        protocol, count = wish.mapping.protocol, wish.mapping.count
        first, last = (wish.first, wish.last + count - 1) if wish.first else (1, 65535)
        if any(
            port.overlaps(
                HostPort(protocol=protocol, address=host, port=first, count=last - first + 1)
            )
            for host in hosts
        ):
            yield port
