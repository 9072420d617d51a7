"""The port :class:`~ovsdriver.ports.Links` on the kernel's netlink."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, repeat
from typing import TypeVar

from netaddr import EUI, IPAddress, IPNetwork, mac_unix_expanded

from ovsdriver.adapters.kernel.codec import ethtool
from ovsdriver.adapters.kernel.codec.address_messages import addresses
from ovsdriver.adapters.kernel.codec.link_messages import (
    Link,
    LinkChange,
    change_link,
    find_link,
    link_counts,
    link_messages,
    link_name,
)
from ovsdriver.adapters.kernel.codec.route_messages import (
    NextHop,
    known_routes,
    routes_by,
    unicast_routes,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import Remembered, RouteSocket
from ovsdriver.adapters.kernel.host.ties import ties
from ovsdriver.adapters.kernel.internal_ports import InternalPorts
from ovsdriver.adapters.kernel.netlink import Netlink, on_own_thread, translated
from ovsdriver.adapters.kernel.reaper import DYING, Reaper
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.adapters.kernel.sandbox.neighbours import Inquiry
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.adapters.kernel.veths import VethPairs, mark_dying
from ovsdriver.domain.records.names import bridge_alias
from ovsdriver.domain.wires.observed import LinkTies, Measured, ObservedLink
from ovsdriver.domain.wires.plumbing import Gateway, Probe, Tap, Veth
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Route

_LOOK_AGAIN_S = (0.002, 0.005, 0.01, 0.02, 0.05)
"""Pauses while a device is waited for; the last one repeats."""
_TSO_FOR_S = 0.5
"""How long the answer of a tap counts for new pairs, so that fifty at once ask once. A vswitchd
that is started the other way meanwhile is noticed by who compares at each look at everything."""
_MOST_ROUTES = 1000
"""Of one look; who asks wants to know what stands in the way, and names a few."""
_ASKING_AT_ONCE = 64
"""Each inquiry for neighbours holds a thread and a packet socket or two for up to its time."""

T = TypeVar("T")


class _UnheldError(UnavailableError):
    """A tap is not there, or no process holds it: vswitchd is away, or on its way."""


class KernelLinks:
    """The links of the network namespace that the daemon runs in; deletions are in batches."""

    def __init__(self, netlink: Netlink, *, owner: str, held_s: float = 4.0) -> None:
        """Prepare.

        Args:
            netlink: who asks the kernel.
            owner: the instance's name, which is in our marks.
            held_s: how much of a call's time a vswitchd may take to come back and hold its taps.
        """
        self._netlink = netlink
        self._owner = owner
        self._held_s = held_s
        self._sysctls = Sysctls()
        self._reaper = Reaper()
        self._veths = VethPairs(self._sysctls)
        self._internal = InternalPorts(self._sysctls, owner=owner)
        self._read_links = Remembered(_observed)
        self._tso: dict[str, tuple[bool, float]] = {}
        self._asking = asyncio.Semaphore(_ASKING_AT_ONCE)

    @property
    def changes(self) -> int:
        """How many changes were made but deletions: netlink requests, sysctls, offloads."""
        return self._netlink.changes + self._sysctls.changes + self._veths.offload_changes

    @property
    def flushes(self) -> int:
        """How many batches of links were deleted."""
        return self._reaper.flushes

    async def close(self) -> None:
        """Delete what is marked for deletion."""
        await on_own_thread(lambda: self._reaper.close(self._netlink.timeout_s), name="links-end")

    async def ensure_veth(self, veth: Veth, born: Callable[[], None] | None = None) -> None:
        """Make the pair or put it right, after an earlier one of that name is gone.

        A vswitchd that is just starting, and holds no tap yet, is waited for.
        """

        def tell() -> None:
            if born is not None:
                self._netlink.tell(born)

        loop = asyncio.get_running_loop()
        until = loop.time() + self._held_s
        pauses = chain(_LOOK_AGAIN_S, repeat(_LOOK_AGAIN_S[-1]))
        async with self._netlink.bounded(_pair(veth)):
            while True:
                try:
                    if await self._netlink.call(
                        lambda routes: self._ensure_veth(routes, veth, tell)
                    ):
                        return
                    await asyncio.wrap_future(self._reaper.gone(veth.host))
                except _UnheldError:
                    if loop.time() > until:
                        raise
                    await asyncio.sleep(next(pauses))

    async def ensure_tap(self, tap: Tap) -> None:
        await self._settle(
            "internal port", tap.name, lambda routes: self._internal.ensure_tap(routes, tap)
        )

    async def mark_bridge(self, name: str) -> None:
        """Set the alias of a tap; the kernel's datapath deletes its devices always."""
        alias = bridge_alias(self._owner, name)

        def mark(routes: RouteSocket) -> None:
            link = find_link(routes, name)
            if link is not None and link.kind == "tun" and not link.alias:
                change_link(routes, link.index, LinkChange(alias=alias))

        await self._netlink.ask(f"marking bridge {name}", mark)

    async def remove_link(self, name: str) -> bool:
        def mark(routes: RouteSocket) -> bool:
            marked = mark_dying(routes, name, owner=self._owner)
            if marked is not False:
                self._reaper.add(name)
            return marked is True

        return await self._netlink.ask(f"deleting the link {name}", mark)

    async def ensure_gateway(self, gateway: Gateway) -> None:
        await self._settle(
            "gateway",
            gateway.port.name,
            lambda routes: self._internal.ensure_gateway(routes, gateway),
        )

    async def ensure_probe(self, probe: Probe) -> None:
        await self._settle(
            "probing port",
            probe.port.name,
            lambda routes: self._internal.ensure_probe(routes, probe),
        )

    async def links(self) -> Mapping[str, ObservedLink]:
        """Return every link but those that are to be deleted.

        A pair that an earlier daemon marked and did not delete any more is deleted now.
        """

        def read(routes: RouteSocket) -> Mapping[str, ObservedLink]:
            found = self._read_links.all(link_messages(routes))
            held: dict[int, list[IPNetwork]] = {}
            for each in addresses(routes):
                held.setdefault(each.index, []).append(each.address)
            for link, dying in found:
                if dying:
                    self._reaper.add(link.name)
            return {
                link.name: replace(link, addresses=tuple(held[link.index]))
                if link.index in held
                else link
                for link, dying in found
                if not dying
            }

        return await self._netlink.ask("reading links", read)

    async def measured(self) -> Mapping[str, Measured]:
        # Apart from who makes links: of a thousand it takes as long as several of their calls.
        return await self._netlink.ask_long("reading links' counters", link_counts)

    async def routes(self, near: Sequence[IPNetwork]) -> Sequence[Route]:
        def read(routes: RouteSocket) -> Iterable[NextHop]:
            return islice(_no_default(unicast_routes(routes, near)), _MOST_ROUTES)

        return await self._look(read)

    async def routes_by(self, link: str) -> Sequence[Route]:
        def read(routes: RouteSocket) -> Iterable[NextHop]:
            found = find_link(routes, link)
            return routes_by(routes, found.index, most=_MOST_ROUTES) if found else ()

        return await self._look(read)

    async def ties(self, link: str) -> LinkTies:
        def read(routes: RouteSocket) -> LinkTies:
            found = find_link(routes, link)
            return ties(routes, found) if found is not None else LinkTies()

        return await self._netlink.ask(f"reading what refers to {link}", read)

    async def taken(self, near: Sequence[IPNetwork]) -> Sequence[Route]:
        return await self._look(lambda routes: _no_default(known_routes(routes, near)))

    async def tso(self, tap: str) -> bool:
        """Tell from the segmentation offload of a tap: vswitchd sets it when it opens the tap.

        With ``userspace-tso-enable`` it allows the kernel to hand it unsegmented TCP
        (TUNSETOFFLOAD, lib/netdev-linux.c), without it does not, on every tap and at every start;
        what somebody changes in the column afterwards does not show, as it should not. The tap's
        ``vnet_hdr`` flag tells nothing: Open vSwitch 3.5 always sets it. A tap keeps its features
        when its process dies, so one without a carrier, which no process holds, is no answer.

        Raises UnavailableError if there is no such link or no process holds it. False for what is
        no tap: in the kernel datapath the kernel does this work.
        """

        return await self._netlink.ask(
            f"reading offloads of {tap}", lambda routes: _tso(routes, tap)
        )

    async def sandbox_alive(self, path: str) -> bool:
        return await self._netlink.ask(f"sandbox {path}", lambda _: entering.is_alive(path))

    async def sandbox_used(self, path: str, *, glance: bool = False, started: bool = False) -> bool:
        """Look at every process; not on the thread that others wait for."""
        return await self._netlink.ask_apart(
            f"processes in sandbox {path}",
            lambda: entering.is_used(path, glance=glance, started=started),
        )

    async def ensure_offload(self, sandbox: str, mac: EUI, *, tx: bool) -> bool:
        def work(routes: RouteSocket) -> bool:
            return entering.set_offload(routes, mac.packed, tx=tx)

        what = f"TX offload in sandbox {sandbox}"
        found = await self._netlink.ask_apart(what, lambda: entering.inside(sandbox, work))
        return bool(found)

    async def ensure_mtu(self, veth: Veth, sandbox: str) -> bool:
        def work(routes: RouteSocket, plug: int) -> None:
            entering.set_mtu(routes, veth.mac.packed, plug, veth.mtu)

        async with self._netlink.bounded(_pair(veth)):
            host = await self._netlink.call(lambda routes: self._veths.begin_mtu(routes, veth))
            if host is None:
                return False
            if host.mtu == veth.mtu:
                return True
            await on_own_thread(
                lambda: entering.inside(sandbox, lambda routes: work(routes, host.index)),
                name="sandbox",
            )
            await self._netlink.call(lambda routes: self._veths.end_mtu(routes, veth))
        return True

    async def neighbours(
        self, link: str, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, EUI]:
        """Ask three times within that time. The link must be up, and needs no address.

        UnavailableError if the link is down or not there, or if it is not our turn in time.
        """
        inquiry = Inquiry(link, addresses)
        until = time.monotonic() + within_s
        what = f"asking on link {link} for {', '.join(map(str, addresses))}"
        with translated(what, within_s):
            try:
                async with asyncio.timeout(within_s), self._asking:
                    await on_own_thread(lambda: inquiry.run(until), name="inquiry")
            except TimeoutError as error:
                # The thread goes on a little, to close its sockets: that waits for the kernel.
                if not inquiry.asked:
                    raise UnavailableError(
                        f"{what}: the kernel could not be asked within {within_s:g} s, ovsnet is "
                        "too busy; try again"
                    ) from error
        return {address: _eui(mac) for address, mac in inquiry.found.copy().items()}

    def _ensure_veth(self, routes: RouteSocket, veth: Veth, born: Callable[[], None]) -> bool:
        tx_offload = not veth.tso_of or self._recent_tso(routes, veth.tso_of)
        return self._veths.ensure(routes, veth, tx_offload=tx_offload, born=born)

    def _recent_tso(self, routes: RouteSocket, tap: str) -> bool:
        answer, until = self._tso.get(tap, (False, 0.0))
        if time.monotonic() >= until:
            answer = _tso(routes, tap)
            self._tso[tap] = answer, time.monotonic() + _TSO_FOR_S
        return answer

    async def _settle(self, what: str, name: str, work: Callable[[RouteSocket], bool]) -> None:
        loop = asyncio.get_running_loop()
        timeout_s = self._netlink.timeout_s
        until = loop.time() + timeout_s
        for pause in chain(_LOOK_AGAIN_S, repeat(_LOOK_AGAIN_S[-1])):
            if await self._netlink.ask(f"{what} {name}", work):
                return
            if loop.time() > until:
                raise UnavailableError(
                    f"{what} {name}: vswitchd made no such device within {timeout_s:g} s; "
                    f"`ovs-vsctl list Interface {name}` shows why, if ovs-vswitchd runs"
                )
            await asyncio.sleep(pause)

    async def _look(self, read: Callable[[RouteSocket], Iterable[NextHop]]) -> Sequence[Route]:
        return await self._netlink.ask_long("reading routes", lambda routes: _routes(read(routes)))


def _pair(veth: Veth) -> str:
    return f"veth pair {veth.host} (MTU {veth.mtu})"


def _no_default(hops: Iterable[NextHop]) -> Iterable[NextHop]:
    return (hop for hop in hops if hop.destination.prefixlen)


def _routes(hops: Iterable[NextHop]) -> Sequence[Route]:
    names: dict[int, str] = {}
    return tuple(
        Route(
            destination=hop.destination,
            kind=hop.kind,
            link=names.get(hop.index) or names.setdefault(hop.index, link_name(hop.index)),
            table=hop.table,
            gateway=hop.gateway,
        )
        for hop in hops
    )


def _tso(routes: RouteSocket, tap: str) -> bool:
    link = find_link(routes, tap)
    if link is None:
        raise _UnheldError(f"link {tap}: not there; is ovs-vswitchd running?")
    if link.kind != "tun":
        return False
    if not link.carrier:
        raise _UnheldError(f"link {tap}: no process holds it; start ovs-vswitchd")
    return ethtool.tcp_segmentation(tap)


def _observed(message: bytes) -> tuple[ObservedLink, bool]:
    """Return a link without its addresses, and whether it is to be deleted."""
    link = Link.read(message)
    observed = ObservedLink(
        name=link.name,
        index=link.index,
        kind=link.kind,
        mtu=link.mtu,
        mac=link.eui,
        up=link.up,
        alias=link.alias,
        peer_index=link.lower_index if link.kind == "veth" else None,
        master_index=link.master_index,
        carrier=link.carrier,
    )
    return observed, link.group == DYING


def _eui(mac: bytes) -> EUI:
    return EUI(int.from_bytes(mac, "big"), version=48, dialect=mac_unix_expanded)
