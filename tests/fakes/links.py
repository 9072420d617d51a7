"""Links in memory; tests/contract/test_links.py holds them to the kernel."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.plan.planning import overlap
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Way
from ovsdriver.domain.wires.observed import LinkTies, Measured, ObservedLink, RouteKind, Traffic
from ovsdriver.domain.wires.plumbing import Gateway, Probe, Tap, Veth
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.domain.wires.ways import WayChange
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import Route, SeenLink

_LOOKS, _PAUSE_S = 30, 0.01
"""How often a tap that nobody holds is looked at again, and the time between two looks."""


@dataclass
class FakeInside:
    """A link in a sandbox."""

    link: SandboxLink
    port: str
    """Name of the host's end; for a tap, the name that it had in the host."""
    alias: str = ""
    carrier: bool = True
    """For a tap: vswitchd holds it."""
    routes: dict[Way, bool] = field(default_factory=dict)
    """By routers, and whether ours added each."""


@dataclass
class FakeSandbox:
    """A container's namespace: the veth ends that were moved into it, by MAC."""

    alive: bool = True
    used: bool = True
    """A process is in it."""
    started: bool = False
    """One that does not wait to become the container's."""
    tx_offload: dict[EUI, bool] = field(default_factory=dict)
    mtu: dict[EUI, int] = field(default_factory=dict)
    taps: dict[str, ObservedLink] = field(default_factory=dict)
    """By the name that they had in the host."""
    links: dict[str, FakeInside] = field(default_factory=dict)
    """By the name that they have inside."""

    def drop(self, port: str) -> None:
        """Let a link disappear with its other end, or with its port."""
        self.taps.pop(port, None)
        self.links = {name: each for name, each in self.links.items() if each.port != port}

    def next_name(self, prefix: str = "eth") -> str:
        """Return the first free name."""
        return next(f"{prefix}{n}" for n in range(100) if f"{prefix}{n}" not in self.links)


class FakeLinks:
    """The ports ``Links`` and ``Sandboxes``.

    Tests play the kernel, Docker and vswitchd through its other methods.

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
        self.announced: list[tuple[str, str]] = []
        """Links that were announced in their sandbox: its path and the link's name."""
        self._owner = owner
        self._links: dict[str, ObservedLink] = {}
        self._moved: dict[int, tuple[str, EUI]] = {}
        self._tso: dict[str, bool | None] = {}
        self._routes: list[Route] = []
        self.passed: dict[str, Traffic] = {}
        """What links have counted, by their name in the host's namespace."""
        self.tied: dict[str, LinkTies] = {}
        """What refers to links by other means."""
        self._indexes = 1

    def add_link(self, name: str, kind: str = "", alias: str = "", **details: Any) -> None:
        """Let somebody else make a link, or change one."""
        self._links[name] = ObservedLink(
            name=name, index=self._next(), kind=kind, alias=alias, **({"mtu": 1500} | details)
        )

    def add_tap(self, name: str, *, tso: bool | None = None) -> None:
        """Let vswitchd make an internal port's device; ``tso=None``: it does not hold it now."""
        self.add_link(name, kind="tun", carrier=True)
        self._tso[name] = tso
        for sandbox in self.sandboxes.values():
            for each in sandbox.links.values():
                each.carrier = each.carrier and each.port != name

    def index(self, name: str) -> int | None:
        """Return the number of a link of the host's; None: it is not there."""
        link = self._links.get(name)
        return None if link is None else link.index

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
            self.sandboxes[sandbox].drop(name)

    def drop_tap(self, name: str) -> None:
        """Let vswitchd delete an internal port's device, wherever that is."""
        if name in self._links:
            self.drop_link(name)
        for sandbox in self.sandboxes.values():
            sandbox.drop(name)

    def move_back(self, name: str, sandbox: str) -> None:
        """Let Docker move a tap out of a sandbox."""
        self._links[name] = self.sandboxes[sandbox].taps[name]
        self.sandboxes[sandbox].drop(name)
        self._tso[name] = None

    def end_sandbox(self, sandbox: str) -> None:
        """Let a namespace end, with the links in it and the other ends of those."""
        self.sandboxes[sandbox].alive = False
        self.sandboxes[sandbox].taps.clear()
        for link in list(self._links.values()):
            if link.kind == "veth" and self._moved.get(link.peer_index or 0, ("",))[0] == sandbox:
                self.drop_link(link.name)

    def let_go(self, name: str) -> None:
        """Let vswitchd be killed: the device stays, and leads nowhere."""
        if name in self._links:
            self.set_link(name, carrier=False)
            self._tso[name] = None
        for sandbox in self.sandboxes.values():
            for each in sandbox.links.values():
                each.carrier = each.carrier and each.port != name

    def add_inside(self, sandbox: str, name: str) -> None:
        """Let somebody in a container make a link."""
        link = SandboxLink(sandbox=sandbox, name=name, index=self._next(), mac=EUI(1), mtu=1500)
        self.sandboxes[sandbox].links[name] = FakeInside(link=link, port="")

    def add_route(self, route: Route) -> None:
        """Let the administrator add a route."""
        self._routes.append(route)

    def move(self, container: str, sandbox: str) -> None:
        """Let Docker move a container's end into a sandbox."""
        link = self._links.pop(container)
        assert link.mac is not None
        place = self.sandboxes.setdefault(sandbox, FakeSandbox())
        name = place.next_name()
        inside = SandboxLink(
            sandbox=sandbox, name=name, index=link.index, mac=link.mac, mtu=link.mtu
        )
        self._put_inside(container, link, inside)

    def _put_inside(self, source: str, link: ObservedLink, inside: SandboxLink) -> None:
        place = self.sandboxes[inside.sandbox]
        port = source
        if link.kind == "tun":
            self._tso.pop(source)
            place.taps[source] = link
        else:
            assert link.mac is not None
            place.tx_offload[link.mac] = self.tx_offload.pop(source)
            place.mtu[link.mac] = inside.mtu
            port = next(e.name for e in self._links.values() if e.peer_index == link.index)
            if inside.index != link.index:
                self._links[port] = replace(self._links[port], peer_index=inside.index)
            self._moved[inside.index] = (inside.sandbox, link.mac)
        place.links[inside.name] = FakeInside(link=inside, port=port, alias=link.alias)

    def set_inside(self, sandbox: str, name: str, **changes: Any) -> None:
        """Let Docker, or somebody in the container, change a link there."""
        inside = self.sandboxes[sandbox].links[name]
        inside.link = replace(inside.link, **changes)

    async def look(
        self, sandbox: str, link: Veth | Tap, noted: SandboxLink | None = None
    ) -> SeenLink | None:
        await self._answer()
        found = self._inside(sandbox, link, noted)
        return None if found is None else SeenLink(link=found[0].link, attached=found[1])

    async def settle_ways(
        self, sandbox: str, link: Veth | Tap, change: WayChange, *, dry: bool = False
    ) -> bool | None:
        await self._answer()
        found = self._inside(sandbox, link, None)
        if found is None or not found[1]:
            return None
        there = found[0].routes
        kept = {
            way: ours
            for way, ours in there.items()
            if way not in change.take and (not ours or way in change.put)
        }
        kept |= {way: True for way in change.put if way not in kept and not _barred(way, kept)}
        if not dry:
            found[0].routes = kept
        return kept != there

    async def restore(self, sandbox: str, link: Veth | Tap, wanted: SandboxLink) -> Sequence[str]:
        await self._answer()
        place = self.sandboxes.get(sandbox)
        if place is None or not place.alive:
            raise UnavailableError(f"sandbox {sandbox} is gone")
        found = self._inside(sandbox, link, wanted)
        if found is None or not found[1]:
            self._move_in(place, link, wanted, old=found[0] if found else None)
        else:
            kept = found[0].link
            del place.links[kept.name]
            found[0].link = self._settled(place, wanted, kept.index)
            place.links[found[0].link.name] = found[0]
        self.announced.append((sandbox, self._inside(sandbox, link, wanted)[0].link.name))  # type: ignore[index]
        return ()

    def _move_in(
        self, place: FakeSandbox, link: Veth | Tap, wanted: SandboxLink, *, old: FakeInside | None
    ) -> None:
        source = link.name if isinstance(link, Tap) else link.container
        device = self._links.get(source)
        if device is None:
            raise UnavailableError(f"link {source} is not there, so there is nothing to put back")
        if isinstance(link, Tap) and not device.carrier:
            raise UnavailableError(f"no process holds link {source}")
        taken = place.links.get(wanted.name)
        if taken is not None and taken is not old:
            raise ConflictError(f"{wanted.name} is another interface by now")
        if old is not None:
            del place.links[old.link.name]
        del self._links[source]
        inside = self._settled(place, wanted, wanted.index or device.index)
        self._put_inside(source, device, inside)

    def _settled(self, place: FakeSandbox, wanted: SandboxLink, index: int) -> SandboxLink:
        prefix, any_number, _ = wanted.name.partition("%d")
        name = place.next_name(prefix) if any_number else wanted.name
        return replace(
            wanted, name=name, index=index, gateways=(), on_link=(), ways=(), restoring=False
        )

    def _inside(
        self, sandbox: str, link: Veth | Tap, noted: SandboxLink | None
    ) -> tuple[FakeInside, bool] | None:
        place = self.sandboxes.get(sandbox)
        if place is None or not place.alive:
            return None
        if isinstance(link, Tap):
            marked = [each for each in place.links.values() if each.alias == link.alias]
            marked.sort(key=lambda each: not each.carrier)
            return next(((each, each.carrier) for each in marked), None)
        host = self._links.get(link.host)
        for each in place.links.values():
            if host is not None and each.link.index == host.peer_index:
                return each, True
        for each in place.links.values():
            if noted is not None and noted.index and each.link.index == noted.index:
                return each, False
        return None

    async def ensure_veth(self, veth: Veth, born: Callable[[], None] | None = None) -> None:
        await self._answer()
        tx_offload = not veth.tso_of or await self._awaited_tso(veth.tso_of)
        host = self._links.get(veth.host)
        if host is None:
            if veth.container in self._links:
                raise ConflictError(f"link {veth.container} exists; ovsnet did not make it")
            indexes = self._next(), self._next()
            host = ObservedLink(
                name=veth.host, index=indexes[0], kind="veth", peer_index=indexes[1]
            )
            self._links[veth.container] = ObservedLink(
                name=veth.container, index=indexes[1], kind="veth", peer_index=indexes[0]
            )
            if born is not None:
                asyncio.get_running_loop().call_soon(born)
        elif host.alias != veth.alias:
            raise ConflictError(f"link {veth.host} exists; ovsnet did not make it")
        self._links[veth.host] = replace(host, up=veth.up, mtu=veth.mtu, alias=veth.alias)
        container = self._links.get(veth.container)
        if container is not None:
            self._links[veth.container] = replace(container, mtu=veth.mtu, mac=veth.mac)
            self.tx_offload[veth.container] = tx_offload

    async def ensure_tap(self, tap: Tap) -> None:
        await self._answer()
        link = self._internal(tap.name)
        if link.alias not in ("", tap.alias):
            raise ConflictError(f"link {link.name} exists and is not this endpoint's")
        self._links[link.name] = replace(link, mtu=tap.mtu, mac=tap.mac, alias=tap.alias)

    async def mark_bridge(self, name: str) -> None:
        await self._answer()
        link = self._links.get(name)
        if link is not None and link.kind == "tun" and not link.alias:
            self._links[name] = replace(link, alias=names.bridge_alias(self._owner, name))

    async def remove_link(self, name: str) -> bool:
        await self._answer()
        link = self._links.get(name)
        if link is None or link.kind not in ("veth", "tun"):
            return False
        bridges = names.bridge_alias(self._owner, name)
        if link.alias != bridges and not names.owned_alias(self._owner, link.alias):
            return False
        self.drop_link(name)
        return True

    async def ensure_gateway(self, gateway: Gateway) -> None:
        await self._answer()
        self._settle(gateway, gateway.addresses)

    async def ensure_probe(self, probe: Probe) -> None:
        await self._answer()
        self._settle(probe, ())

    async def links(self) -> Mapping[str, ObservedLink]:
        await self._answer()
        return dict(self._links)

    async def measured(self, marked: Mapping[str, str] | None = None) -> Mapping[str, Measured]:
        """Answer for both ports: of the host, or of sandboxes."""
        await self._answer()
        if marked is None:
            return {
                name: Measured(traffic=self.passed.get(name, Traffic()), up=self._passes(each))
                for name, each in self._links.items()
            }
        return {
            each.alias: Measured(traffic=self.passed.get(each.port, Traffic()), up=each.carrier)
            for alias, sandbox in marked.items()
            for each in self._living(sandbox)
            if each.alias == alias
        }

    def _living(self, sandbox: str) -> Sequence[FakeInside]:
        place = self.sandboxes.get(sandbox)
        return tuple(place.links.values()) if place is not None and place.alive else ()

    def _passes(self, link: ObservedLink) -> bool:
        if link.kind == "tun":
            return link.up and link.carrier
        peer = next((e for e in self._links.values() if e.index == link.peer_index), None)
        return link.up and (peer.up if peer is not None else link.peer_index in self._moved)

    async def routes(self, near: Sequence[IPNetwork]) -> Sequence[Route]:
        await self._answer()
        return [each for each in self._unicast() if _is_near(each, near)]

    async def routes_by(self, link: str) -> Sequence[Route]:
        await self._answer()
        return [each for each in self._unicast() if each.link == link]

    async def ties(self, link: str) -> LinkTies:
        await self._answer()
        return self.tied.get(link, LinkTies())

    async def taken(self, near: Sequence[IPNetwork]) -> Sequence[Route]:
        await self._answer()
        others = (each for each in self._routes if each.kind is not RouteKind.UNICAST)
        own = (
            Route(destination=IPNetwork(address.ip), kind=RouteKind.LOCAL, link=link.name)
            for link in self._links.values()
            for address in link.addresses
        )
        return [each for each in (*self._unicast(), *others, *own) if _is_near(each, near)]

    def _unicast(self) -> Sequence[Route]:
        connected = [
            Route(destination=IPNetwork(address.cidr), link=link.name)
            for link in self._links.values()
            for address in link.addresses
        ]
        return (*(e for e in self._routes if e.kind is RouteKind.UNICAST), *connected)

    async def tso(self, tap: str) -> bool:
        await self._answer()
        return self._tso_of(tap)

    async def sandbox_alive(self, path: str) -> bool:
        await self._answer()
        return path in self.sandboxes and self.sandboxes[path].alive

    async def sandbox_used(self, path: str, *, glance: bool = False, started: bool = False) -> bool:
        await self._answer()
        found = self.sandboxes.get(path)
        return found is not None and found.alive and (found.started if started else found.used)

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
                for each in place.links.values():
                    if each.port == veth.host:
                        each.link = replace(each.link, mtu=veth.mtu)
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

    def _settle(self, device: Gateway | Probe, addresses: tuple[IPNetwork, ...]) -> None:
        port = device.port
        link = self._internal(port.name)
        self._links[link.name] = replace(
            link,
            up=True,
            mtu=device.mtu,
            mac=port.mac or link.mac,
            addresses=addresses,
            alias=names.network_alias(self._owner, device.network),
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

    async def _awaited_tso(self, tap: str) -> bool:
        for _ in range(_LOOKS):
            with suppress(UnavailableError):
                return self._tso_of(tap)
            await asyncio.sleep(_PAUSE_S)
        return self._tso_of(tap)

    def _tso_of(self, tap: str) -> bool:
        if tap not in self._links:
            raise UnavailableError(f"link {tap}: not there")
        if self._links[tap].kind != "tun":
            return False
        found = self._tso[tap]
        if found is None:
            raise UnavailableError(f"link {tap}: no process holds it")
        return found

    async def _answer(self) -> None:
        await self.gate.wait()
        if self.broken:
            raise UnavailableError(self.broken)

    def _next(self) -> int:
        self._indexes += 1
        return self._indexes


def _barred(way: Way, there: Mapping[Way, bool]) -> bool:
    """Whether somebody has a route to the same place; of default routes ours is the last."""
    return bool(way.to.prefixlen) and any(each.to == way.to for each in there)


def _is_near(route: Route, near: Sequence[IPNetwork]) -> bool:
    return bool(route.destination.prefixlen) and any(
        overlap(route.destination, each) for each in near
    )
