"""NICs in memory, on the same links as ``FakeLinks``; tests/contract/test_nics.py holds them."""

from collections.abc import Sequence
from dataclasses import replace

from netaddr import IPAddress

from ovsdriver.domain.records.on_link import Held, HeldAddress, HeldRoute
from ovsdriver.domain.records.uplink_notes import NicState
from ovsdriver.errors import UnavailableError
from tests.fakes.links import FakeLinks


class FakeNics:
    """The port ``Nics``."""

    def __init__(self, links: FakeLinks) -> None:
        self._links = links
        self._states: dict[str, NicState] = {}
        self._routes: dict[str, tuple[HeldRoute, ...]] = {}
        self.boot_id = "first"
        self.refused: tuple[str, ...] = ()
        """Routes that the kernel does not take."""

    def add_route(self, link: str, destination: str, gateway: str | None) -> None:
        """Let the administrator add a route."""
        route = HeldRoute(
            text=f"{destination} via {gateway or 'the link'}",
            gateway=IPAddress(gateway) if gateway else None,
            message="",
        )
        self._routes[link] = (*self._routes.get(link, ()), route)

    async def state(self, nic: str) -> NicState | None:
        link = (await self._links.links()).get(nic)
        if link is None:
            return None
        return replace(self._states.get(nic, NicState()), up=link.up)

    async def take(self, nic: str, *, up: bool = True) -> None:
        before = await self.state(nic)
        if before is None:
            raise UnavailableError(f"NIC {nic} is not there")
        self._states[nic] = replace(
            before,
            arp=False,
            rp_filter=before.rp_filter or 1,
            disable_ipv6=None if before.disable_ipv6 is None else 1,
        )
        self._links.set_link(nic, up=up)

    async def let_go(self, nic: str) -> None:
        pass

    async def give_back(self, nic: str, before: NicState) -> bool:
        if nic not in await self._links.links():
            return False
        self._states[nic] = before
        self._links.set_link(nic, up=before.up)
        return True

    async def held(self, link: str) -> Held:
        found = (await self._links.links()).get(link)
        if found is None:
            return Held()
        return Held(
            addresses=tuple(
                HeldAddress(address=each, permanent=True, message="")
                for each in found.addresses
                if not each.ip.is_link_local()
            ),
            routes=self._routes.get(link, ()),
        )

    async def move(self, what: Held, *, source: str, target: str) -> Sequence[str]:
        links = await self._links.links()
        if target not in links:
            raise UnavailableError(f"link {target} is not there")
        moved = [each.address for each in what.addresses]
        texts = {str(each) for each in moved}
        if source in links:
            kept = tuple(each for each in links[source].addresses if str(each) not in texts)
            self._links.set_link(source, addresses=kept)
            gone = set(what.routes)
            self._routes[source] = tuple(
                each for each in self._routes.get(source, ()) if each not in gone
            )
        there = links[target].addresses
        new = [each for each in moved if str(each) not in {str(old) for old in there}]
        self._links.set_link(target, up=True, addresses=(*there, *new))
        routes = dict.fromkeys((*self._routes.get(target, ()), *what.routes))
        self._routes[target] = tuple(routes)
        return self.refused

    async def put_neighbours(self, link: str, before: NicState) -> None:
        if link in self._states or before.neighbours:
            now = self._states.get(link, NicState())
            self._states[link] = replace(now, neighbours=before.neighbours)

    async def boot(self) -> str:
        return self.boot_id
