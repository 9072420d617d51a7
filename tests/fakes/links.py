"""Links in memory; tests/contract/test_links.py holds them to the kernel."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain import names
from ovsdriver.domain.model import Gateway, Port, Probe, Tap, Veth
from ovsdriver.domain.observed import ObservedLink, RouteKind
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import Route


@dataclass
class FakeSandbox:
    """A container's namespace: the veth ends that were moved into it, by MAC."""

    alive: bool = True
    used: bool = True
    """A process is in it."""
    tx_offload: dict[EUI, bool] = field(default_factory=dict)
    mtu: dict[EUI, int] = field(default_factory=dict)
    taps: dict[str, ObservedLink] = field(default_factory=dict)
    """By the name that they had in the host."""


class FakeLinks:
    """The port ``Links``. Tests play the kernel, Docker and vswitchd through its other methods.

    ``broken`` is the text of the error that every call raises while it is set. While ``gate`` is
    cleared, calls wait, as when the kernel is busy.
    """

    def __init__(self, *, owner: str = "ovsnet") -> None:
        self.broken: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.sandboxes: dict[str, FakeSandbox] = {}
        self.answering: dict[tuple[str, IPAddress], EUI] = {}
        """Who answers, by the link that is asked on and the address."""
        self.asked: list[tuple[str, tuple[IPAddress, ...], float]] = []
        """Every inquiry: link, addresses and time."""
        self.tx_offload: dict[str, bool] = {}
        """Of veth ends in the host's namespace."""
        self._owner = owner
        self._links: dict[str, ObservedLink] = {}
        self._moved: dict[int, tuple[str, EUI]] = {}
        self._tso: dict[str, bool | None] = {}
        self._routes: list[Route] = []
        self._indexes = 1

    def add_link(self, name: str, kind: str = "", alias: str = "", **details: Any) -> None:
        """Let somebody else make a link, or change one."""
        self._links[name] = ObservedLink(
            name=name, index=self._next(), kind=kind, alias=alias, **({"mtu": 1500} | details)
        )

    def add_tap(self, name: str, *, tso: bool | None = None) -> None:
        """Let vswitchd make an internal port's device; ``tso=None``: it does not hold it now."""
        self.add_link(name, kind="tun")
        self._tso[name] = tso

    def drop_link(self, name: str) -> None:
        """Let a link disappear, and a veth's other end with it."""
        link = self._links.pop(name)
        self._tso.pop(name, None)
        self.tx_offload.pop(name, None)
        for other in list(self._links.values()):
            if link.kind == "veth" and other.index == link.peer_index:
                del self._links[other.name]
                self.tx_offload.pop(other.name, None)
        if link.peer_index in self._moved:
            sandbox, mac = self._moved.pop(link.peer_index)
            self.sandboxes[sandbox].tx_offload.pop(mac, None)
            self.sandboxes[sandbox].mtu.pop(mac, None)

    def drop_tap(self, name: str) -> None:
        """Let vswitchd delete an internal port's device, wherever that is."""
        if name in self._links:
            self.drop_link(name)
        for sandbox in self.sandboxes.values():
            sandbox.taps.pop(name, None)

    def move_back(self, name: str, sandbox: str) -> None:
        """Let Docker move a tap out of a sandbox."""
        self._links[name] = self.sandboxes[sandbox].taps.pop(name)
        self._tso[name] = None

    def end_sandbox(self, sandbox: str) -> None:
        """Let a namespace end, with the links in it and the other ends of those."""
        self.sandboxes[sandbox].alive = False
        self.sandboxes[sandbox].taps.clear()
        for link in list(self._links.values()):
            if link.kind == "veth" and self._moved.get(link.peer_index or 0, ("",))[0] == sandbox:
                self.drop_link(link.name)

    def add_route(self, route: Route) -> None:
        """Let the administrator add a route."""
        self._routes.append(route)

    def move(self, container: str, sandbox: str) -> None:
        """Let Docker move a container's end into a sandbox."""
        link = self._links.pop(container)
        assert link.mac is not None
        place = self.sandboxes.setdefault(sandbox, FakeSandbox())
        if link.kind == "tun":
            self._tso.pop(container)
            place.taps[container] = link
            return
        place.tx_offload[link.mac] = self.tx_offload.pop(container)
        place.mtu[link.mac] = link.mtu
        self._moved[link.index] = (sandbox, link.mac)

    async def ensure_veth(self, veth: Veth) -> None:
        await self._answer()
        host = self._links.get(veth.host)
        if host is None:
            if veth.container in self._links:
                raise ConflictError(f"link {veth.container} exists and is not ours")
            indexes = self._next(), self._next()
            host = ObservedLink(
                name=veth.host, index=indexes[0], kind="veth", peer_index=indexes[1]
            )
            self._links[veth.container] = ObservedLink(
                name=veth.container, index=indexes[1], kind="veth", peer_index=indexes[0]
            )
        elif host.alias != veth.alias:
            raise ConflictError(f"link {veth.host} exists and is not ours")
        self._links[veth.host] = replace(host, up=True, mtu=veth.mtu, alias=veth.alias)
        container = self._links.get(veth.container)
        if container is not None:
            self._links[veth.container] = replace(container, mtu=veth.mtu, mac=veth.mac)
            self.tx_offload[veth.container] = veth.tx_offload

    async def ensure_tap(self, tap: Tap) -> None:
        await self._answer()
        link = self._internal(tap.name)
        if link.alias not in ("", tap.alias):
            raise ConflictError(f"link {link.name} exists and is not this endpoint's")
        self._links[link.name] = replace(link, mtu=tap.mtu, mac=tap.mac, alias=tap.alias)

    async def remove_link(self, name: str) -> bool:
        await self._answer()
        link = self._links.get(name)
        if link is None or link.kind not in ("veth", "tun"):
            return False
        if not names.owned_alias(self._owner, link.alias):
            return False
        self.drop_link(name)
        return True

    async def ensure_gateway(self, gateway: Gateway) -> None:
        await self._answer()
        self._settle(gateway.port, gateway.mtu, gateway.addresses)

    async def ensure_probe(self, probe: Probe) -> None:
        await self._answer()
        self._settle(probe.port, probe.mtu, ())

    async def links(self) -> Mapping[str, ObservedLink]:
        await self._answer()
        return dict(self._links)

    async def routes(self) -> Sequence[Route]:
        await self._answer()
        connected = [
            Route(destination=IPNetwork(address.cidr), link=link.name)
            for link in self._links.values()
            for address in link.addresses
        ]
        unicast = (each for each in self._routes if each.kind is RouteKind.UNICAST)
        return (*unicast, *connected)

    async def taken(self) -> Sequence[Route]:
        others = (each for each in self._routes if each.kind is not RouteKind.UNICAST)
        own = (
            Route(destination=IPNetwork(address.ip), kind=RouteKind.LOCAL, link=link.name)
            for link in self._links.values()
            for address in link.addresses
        )
        return (*await self.routes(), *others, *own)

    async def tso(self, tap: str) -> bool:
        await self._answer()
        if tap not in self._links:
            raise UnavailableError(f"link {tap}: not there")
        if self._links[tap].kind != "tun":
            return False
        found = self._tso[tap]
        if found is None:
            raise UnavailableError(f"link {tap}: no process holds it")
        return found

    async def sandbox_alive(self, path: str) -> bool:
        await self._answer()
        return path in self.sandboxes and self.sandboxes[path].alive

    async def sandbox_used(self, path: str) -> bool:
        await self._answer()
        return path in self.sandboxes and self.sandboxes[path].alive and self.sandboxes[path].used

    async def ensure_offload(self, sandbox: str, mac: EUI, *, tx: bool) -> bool:
        await self._answer()
        found = self.sandboxes.get(sandbox)
        if found is None or not found.alive or mac not in found.tx_offload:
            return False
        found.tx_offload[mac] = tx
        return True

    async def ensure_mtu(self, veth: Veth, sandbox: str) -> bool:
        await self._answer()
        host = self._links.get(veth.host)
        if host is None or host.alias != veth.alias:
            return False
        if host.mtu != veth.mtu:
            container = self._links.get(veth.container)
            if container is not None:
                self._links[veth.container] = replace(container, mtu=veth.mtu)
            place = self.sandboxes.get(sandbox)
            if place is not None and veth.mac in place.mtu:
                place.mtu[veth.mac] = veth.mtu
            self._links[veth.host] = replace(host, mtu=veth.mtu)
        return True

    async def neighbours(
        self, link: str, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, EUI]:
        await self._answer()
        self.asked.append((link, tuple(addresses), within_s))
        if link not in self._links or not self._links[link].up:
            raise UnavailableError(f"link {link} is not there, or down")
        answers = {each: self.answering.get((link, each)) for each in addresses}
        return {each: mac for each, mac in answers.items() if mac is not None}

    def _settle(self, port: Port, mtu: int, addresses: tuple[IPNetwork, ...]) -> None:
        link = self._internal(port.name)
        self._links[link.name] = replace(
            link, up=True, mtu=mtu, mac=port.mac or link.mac, addresses=addresses
        )

    def _internal(self, name: str) -> ObservedLink:
        link = self._links.get(name)
        if link is None:
            raise UnavailableError(f"port {name}: vswitchd made no such device")
        if link.kind not in ("tun", "openvswitch"):
            raise ConflictError(f"link {name} exists and is no internal port")
        return link

    def set_link(self, name: str, **changes: Any) -> None:
        """Let somebody else change a link."""
        self._links[name] = replace(self._links[name], **changes)

    def add_address(self, name: str, address: str) -> None:
        """Let somebody else give a link an address."""
        link = self._links[name]
        self._links[name] = replace(link, addresses=(*link.addresses, IPNetwork(address)))

    def present(self) -> Mapping[str, ObservedLink]:
        """Return the host's links, for other fakes of the same kernel."""
        return self._links

    def index_of(self, name: str) -> int | None:
        """Return the index of a link of the host; None if it is not there."""
        link = self._links.get(name)
        return link.index if link is not None else None

    async def _answer(self) -> None:
        await self.gate.wait()
        if self.broken:
            raise UnavailableError(self.broken)

    def _next(self) -> int:
        self._indexes += 1
        return self._indexes
