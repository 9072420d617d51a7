"""The port ``HostView`` of traces, of the namespace that the caller is in. Blocks."""

import errno
from collections.abc import Sequence
from functools import cached_property

from netaddr import IPAddress

from ovsdriver.adapters.kernel.codec import route_lookup
from ovsdriver.adapters.kernel.codec.address_messages import addresses
from ovsdriver.adapters.kernel.codec.link_messages import Link, all_links
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.tracing.host_view import Route, RouteFault
from ovsdriver.domain.traffic import forwarding
from ovsdriver.domain.traffic.chains import BaseChain

_STRICT = 1
"""Of ``rp_filter`` (ip-sysctl.rst)."""

_FAULTS = {
    errno.EXDEV: RouteFault.FILTERED,
    errno.EACCES: RouteFault.REFUSED,
    errno.EINVAL: RouteFault.REFUSED,
    errno.EHOSTUNREACH: RouteFault.REFUSED,
}


class LiveHost:
    """The host as the kernel has it; links and addresses are read once."""

    def __init__(self, routes: RouteSocket, chains: Sequence[BaseChain]) -> None:
        """Look by ``routes``; ``chains`` are read elsewhere."""
        self._routes = routes
        self.chains = chains
        self._sysctls = Sysctls()

    @cached_property
    def _links(self) -> dict[str, Link]:
        return {each.name: each for each in all_links(self._routes)}

    @cached_property
    def _addresses(self) -> dict[IPAddress, set[str]]:
        names = {each.index: each.name for each in self._links.values()}
        found: dict[IPAddress, set[str]] = {}
        for each in addresses(self._routes):
            found.setdefault(each.address.ip, set()).add(names.get(each.index, ""))
        return found

    def is_local(self, address: IPAddress) -> bool:
        return address in self._addresses or (address.version == 4 and address.is_loopback())

    def has(self, link: str, address: IPAddress) -> bool:
        return link in self._addresses.get(address, ())

    def holder(self, address: IPAddress) -> str:
        return next(iter(sorted(self._addresses.get(address, ()))), "")

    def first(self, link: str, family: int) -> IPAddress | None:
        """Return a link's first address of a family, no link-local one; None: it has none."""
        return next(
            (
                each
                for each, links in self._addresses.items()
                if link in links and each.version == family and not each.is_link_local()
            ),
            None,
        )

    def kind(self, link: str) -> str:
        found = self._links.get(link)
        return found.kind if found is not None else ""

    def mtu(self, link: str) -> int:
        found = self._links.get(link)
        return found.mtu if found is not None else 0

    def up(self, link: str) -> bool:
        found = self._links.get(link)
        return found is not None and found.up and found.carrier

    def mac(self, link: str) -> str:
        """Return a link's MAC as Open vSwitch writes it; empty if there is none."""
        found = self._links.get(link)
        return found.mac.hex(":") if found is not None else ""

    def route(
        self, target: IPAddress, *, source: IPAddress | None = None, incoming: str = ""
    ) -> Route:
        index = self._index(incoming)
        found = route_lookup.lookup(
            self._routes, target, source=source if index else None, incoming=index
        )
        if found.number:
            fault = _FAULTS.get(found.number, RouteFault.NO_ROUTE)
            # Since Linux 6.13 it says EINVAL of what the reverse path filter drops, too.
            if index and source is not None and self._filtered(source, incoming):
                fault = RouteFault.FILTERED
            return Route(fault=fault)
        name = next((each.name for each in self._links.values() if each.index == found.index), "")
        return Route(link=name, gateway=found.gateway, source=found.source)

    def _filtered(self, source: IPAddress, link: str) -> bool:
        """Whether the reverse path filter of a link drops a source."""
        if source.version == 6:
            return False
        paths = [f"net/ipv4/conf/{each}/rp_filter" for each in ("all", link)]
        kind = max(map(int, self._sysctls.present(paths).values()), default=0)
        found = route_lookup.lookup(self._routes, source)
        if found.number or found.local:
            return kind > 0
        return kind == _STRICT and found.index != self._index(link)

    def returns(self, source: IPAddress, link: str) -> bool:
        # As nftables' `fib saddr . iif oif` has it: the way to it, compared with the link.
        found = route_lookup.lookup(self._routes, source)
        return not found.number and not found.local and found.index == self._index(link)

    def not_forwarding(self, link: str, family: int) -> str:
        if family == 4:
            paths = [forwarding.forwarding4(link)]
        else:
            paths = [forwarding.ALL6, forwarding.force6(link)]
        values = self._sysctls.present(paths)
        if not values or "1" in values.values():
            return ""
        return paths[0].replace("/", ".")

    def _index(self, link: str) -> int:
        found = self._links.get(link)
        return found.index if found is not None else 0
