"""How each case is tried. A case that returns is well, and says what was seen."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from netaddr import EUI, IPAddress

from ovsdriver.adapters.kernel.codec.link_messages import find_link
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.admin import asks
from ovsdriver.admin.views import NetworkReport
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.doctor.trial import frames, left, talk, this_host
from ovsdriver.cli.doctor.trial.cases import (
    IPV4_HEADERS,
    IPV6_HEADERS,
    RATE,
    FailedError,
    NotTriedError,
    mixed,
    rate,
)
from ovsdriver.cli.doctor.trial.rooms import HOST, Room
from ovsdriver.cli.doctor.trial.stage import (
    Container,
    Network,
    RefusedError,
    Stage,
    Subnet,
)
from ovsdriver.config import Settings

_FAMILIES = (4, 6)
_HEADERS = {4: IPV4_HEADERS, 6: IPV6_HEADERS}
_LONG = 1 << 18
"""Bytes there and back: segments that are cut into frames and joined again on the way."""
_FLOOD = 1.6
"""Times the rate that is sent against it."""
_GRACE_S = 0.3
_SETTLED_S = 10.0
"""After which what ends in the background has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Two networks, two containers on the first, one on the second."""

    near: Network
    far: Network
    web: Container
    """It publishes :data:`talk.PORT`."""
    db: Container
    cart: Container
    port: int
    """Of this host, where ``web`` is published."""


class Attempts:
    """Every case of ``CASES`` by its name."""

    def __init__(
        self, settings: Settings, stage: Stage, echo: talk.Echo, targets: Sequence[IPAddress]
    ) -> None:
        """``targets``: what is tried of the outside, in place of the next hops."""
        self._settings = settings
        self._stage = stage
        self._echo = echo
        self._targets = targets
        self._scene: Scene | None = None

    @property
    def by_name(self) -> Mapping[str, Callable[[], str]]:
        """What to call for each case.

        Raises (each of them):
            FailedError: it does not work.
            NotTriedError: it cannot be tried.
            RefusedError: something that it needs could not be made.
        """
        return {
            "attach": self._attach,
            "same-v4": partial(self._same, 4),
            "same-v6": partial(self._same, 6),
            "full-frames": self._full_frames,
            "closed": self._closed,
            "gateway": self._gateway,
            "outside-v4": partial(self._outside, 4),
            "outside-v6": partial(self._outside, 6),
            "published-host": self._published_host,
            "published-loopback": self._published_loopback,
            "published-other": self._published_other,
            "guard": self._guard,
            "rate": self._rate,
            "uplinks": self._uplinks,
            "names": self._names,
            "clean": self._clean,
        }

    # --- cases, in their order ---

    def _attach(self) -> str:
        families = _FAMILIES if this_host.ipv6_is_on() else (4,)
        port = this_host.free_port()
        near = self._stage.network("near", families=families)
        web = self._stage.container("web", near, ports={port: talk.PORT})
        db = self._stage.container("db", near)
        far = self._stage.network("far", families=families)
        cart = self._stage.container("cart", far)
        for each in (web, db, cart):
            for address in each.addresses:
                self._echo.serve(each.room, address.version)
        self._scene = Scene(near=near, far=far, web=web, db=db, cart=cart, port=port)
        return ", ".join(str(each.cidr) for each in (*near.subnets, *far.subnets))

    def _same(self, family: int) -> str:
        web, db = self.scene.web, self.scene.db
        for one, other in ((web, db), (db, web)):
            to = _address(other, family)
            if not talk.ping(one.room, to):
                raise FailedError(f"{to} does not answer pings of {_address(one, family)}")
            if why := talk.connects(one.room, to, talk.PORT):
                raise FailedError(f"TCP from {_address(one, family)} to {to}: {why}")
        return "ping and TCP, both ways"

    def _full_frames(self) -> str:
        web, db = self.scene.web, self.scene.db
        mtu = _mtu(web)
        for address in db.addresses:
            family = address.version
            if not talk.ping(web.room, address.ip, size=mtu - _HEADERS[family]):
                small = talk.ping(web.room, address.ip)
                raise FailedError(
                    f"packets of {mtu} bytes do not reach {address.ip}, "
                    f"{'while small ones do' if small else 'nor do small ones'}"
                )
            if why := talk.carries(web.room, address.ip, talk.PORT, secrets.token_bytes(_LONG)):
                raise FailedError(f"{_LONG >> 10} KiB over TCP to {address.ip}: {why}")
        return f"packets of {mtu} bytes, and {_LONG >> 10} KiB over TCP"

    def _closed(self) -> str:
        web, cart = self.scene.web, self.scene.cart
        for address in cart.addresses:
            if why := talk.connects(HOST, address.ip, talk.PORT):
                raise NotTriedError(f"{address.ip} does not answer this host either: {why}")
        for address in cart.addresses:
            pinged, refused = talk.together(
                partial(talk.ping, web.room, address.ip, tries=2, wait_s=0.5),
                partial(talk.connects, web.room, address.ip, talk.PORT, wait_s=1.0),
            )
            if pinged or not refused:
                way = "ping" if pinged else "TCP"
                raise FailedError(f"{address.ip} of another network is reached by {way}")
        return "neither ping nor TCP"

    def _gateway(self) -> str:
        seen = []
        for subnet in self.scene.near.subnets:
            if subnet.gateway is None:
                raise FailedError(f"{subnet.cidr} has no gateway")
            if not talk.ping(self.scene.web.room, subnet.gateway):
                raise FailedError(f"{subnet.gateway} does not answer pings")
            seen.append(str(subnet.gateway))
        return ", ".join(seen)

    def _outside(self, family: int) -> str:
        web = self.scene.web
        _address(web, family)
        named = [each for each in self._targets if each.version == family]
        targets = named or [_next_hop(family)]
        for target in targets:
            if not talk.ping(HOST, target):
                raise NotTriedError(
                    f"{target} does not answer pings of this host either; name an address that "
                    "does with --target"
                )
            if not talk.ping(web.room, target):
                raise FailedError(f"{target} answers this host and no container")
        return ", ".join(map(str, targets))

    def _published_host(self) -> str:
        seen, untried = [], []
        for address in self.scene.web.addresses:
            to = this_host.address(address.version) or self.scene.far.gateway(address.version)
            if to is None:
                untried.append(f"this host has no address of IPv{address.version}")
                continue
            self._answers(HOST, to)
            seen.append(str(to))
        return mixed(seen, untried)

    def _published_loopback(self) -> str:
        seen = []
        for address in self.scene.web.addresses:
            to = IPAddress({4: "127.0.0.1", 6: "::1"}[address.version])
            self._answers(HOST, to)
            seen.append(str(to))
        return ", ".join(seen)

    def _published_other(self) -> str:
        """From the second namespace: that of a container of another network."""
        seen, untried = [], []
        for address in self.scene.cart.addresses:
            to = this_host.address(address.version)
            if to is None:
                untried.append(f"this host has no default route of IPv{address.version}")
                continue
            self._answers(self.scene.cart.room, to)
            seen.append(str(to))
        return mixed(seen, untried)

    def _guard(self) -> str:
        db = self.scene.db
        guarded = self._stage.container("guarded", self.scene.near, options={"ovs.guard": "true"})
        try:
            return _forge(guarded, db, other=_address(self.scene.web, 4))
        finally:
            self._stage.remove(guarded)

    def _rate(self) -> str:
        db = self.scene.db
        limited = self._stage.container(
            "limited", self.scene.near, options={"ovs.rate": f"{RATE // 1_000_000}mbit"}
        )
        try:
            flood = partial(talk.flood, bits=RATE * _FLOOD, settle_s=1.0, count_s=2.0)
            seen = []
            for way, sender, receiver in (
                ("out of it", limited, db),
                ("into it", db, limited),
            ):
                sent, got = flood(sender.room, receiver.room, _address(receiver, 4))
                seen.append(rate(way, sent_bits=sent, got_bits=got))
            return ", ".join(seen)
        finally:
            self._stage.remove(limited)

    def _uplinks(self) -> str:
        found = [
            each
            for each in ask(self._settings, asks.ShowState()).networks
            if each.network.segment.uplink is not None and each.network.segment.tag is not None
        ]
        if not found:
            raise NotTriedError("no network has an uplink")
        seen: list[str] = []
        untried: list[str] = []
        for each in found:
            called = each.name or show.short(each.network.id)
            try:
                seen.append(f"{called}: {self._router_of(each)}")
            except NotTriedError as error:
                untried.append(f"{called}: {error}")
        return mixed(seen, untried)

    def _router_of(self, report: NetworkReport) -> str:
        network = Network(
            id=report.network.id,
            name=report.name,
            subnets=[
                Subnet(cidr=each.cidr.cidr, gateway=each.gateway, pool=str(each.pool or ""))
                for each in report.network.subnets
            ],
        )
        router = network.gateway(4)
        if router is None:
            raise NotTriedError("it has no gateway of IPv4")
        try:
            asking = self._stage.container("asking", network)
        except RefusedError as error:
            raise NotTriedError(f"nothing can be plugged in: {error}") from error
        try:
            found = frames.arping(
                asking.room,
                asking.link,
                mac=asking.mac,
                sender=_address(asking, 4),
                asked=router,
            )
        finally:
            self._stage.remove(asking)
        if found is None:
            segment = report.network.segment
            nics = "+".join(segment.uplink.nics) if segment.uplink else ""
            raise FailedError(
                f"{report.name}: nobody on VLAN {show.vlan(segment.tag or 0)} behind {nics} says "
                f"to have {router}"
            )
        return f"{router} at {found}"

    def _names(self) -> str:
        web = self.scene.web
        if docker := self._stage.name_server:
            if not talk.asks(web.room, IPAddress(docker), name=self.scene.db.name):
                raise FailedError(f"{docker}, Docker's own, does not answer")
            return f"{docker}, Docker's own"
        host = this_host.name_servers()
        if not host:
            raise NotTriedError(f"{this_host.RESOLVERS} names no server")
        servers = [
            each
            for each in host
            if not each.is_loopback() and web.address(each.version) is not None
        ]
        if not servers:
            raise NotTriedError(f"{host[0]}: Docker asks it from this host itself")
        for server in servers:
            if talk.asks(web.room, server):
                return str(server)
        if not any(talk.asks(HOST, each) for each in servers):
            raise NotTriedError(f"{servers[0]} does not answer this host either")
        raise FailedError(f"{servers[0]} answers this host and no container")

    def _clean(self) -> str:
        self._stage.clear()
        end = time.monotonic() + _SETTLED_S
        while found := list(left.found(self._settings)):
            if time.monotonic() > end:
                raise FailedError(f"there is still: {', '.join(found)}")
            time.sleep(0.1)
        return ""

    # --- what they have in common ---

    @property
    def scene(self) -> Scene:
        """What was attached; NotTriedError if nothing was."""
        if self._scene is None:
            raise NotTriedError("the networks and containers for it were not made")
        return self._scene

    def _answers(self, room: Room, to: IPAddress) -> None:
        if why := talk.connects(room, to, self.scene.port):
            raise FailedError(f"port {self.scene.port} at {to}: {why}")


def _forge(guarded: Container, hears: Container, *, other: IPAddress) -> str:
    """Send forged packets, then a right one, which tells that all before it were dropped."""
    marks = {each: secrets.token_bytes(16) for each in ("address", "MAC", "right")}
    mine, to = _address(guarded, 4), _address(hears, 4)

    def packet(mark: str, *, mac: EUI, sender: IPAddress) -> bytes:
        return frames.datagram(
            source=mac, to=hears.mac, sender=sender, receiver=to, payload=marks[mark]
        )

    listening = frames.Wire(hears.room, hears.link)
    speaking = frames.Wire(guarded.room, guarded.link)
    heard: set[str] = set()
    try:
        end = time.monotonic() + 5.0
        while "right" not in heard and time.monotonic() < end:
            speaking.send(packet("address", mac=guarded.mac, sender=other))
            speaking.send(packet("MAC", mac=frames.STRANGER, sender=mine))
            speaking.send(packet("right", mac=guarded.mac, sender=mine))
            until = time.monotonic() + _GRACE_S
            while frame := listening.heard(until=until):
                heard.update(name for name, mark in marks.items() if mark in frame)
    finally:
        listening.close()
        speaking.close()
    if forged := [each for each in marks if each in heard and each != "right"]:
        raise FailedError(f"packets with a forged {' and with a forged '.join(forged)} pass")
    if "right" not in heard:
        raise FailedError("its own packets do not pass either")
    return "a forged address, a forged MAC"


def _address(container: Container, family: int) -> IPAddress:
    found = container.address(family)
    if found is None:
        raise NotTriedError(f"IPv{family} is off on this host")
    return found


def _next_hop(family: int) -> IPAddress:
    found = this_host.next_hop(family)
    if found is None:
        raise NotTriedError(f"no default route of IPv{family} with a next hop")
    if found.is_link_local():
        raise NotTriedError(
            f"the next hop is {found}, which this host alone can speak to; name an address with "
            "--target"
        )
    return found


def _mtu(container: Container) -> int:
    def look() -> int:
        routes = RouteSocket()
        try:
            link = find_link(routes, container.link)
            return 0 if link is None else link.mtu
        finally:
            routes.close()

    return container.room.inside(look)
