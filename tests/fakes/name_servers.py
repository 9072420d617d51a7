"""Name servers of segments in memory. tests/contract/test_name_servers.py holds it to the real."""

from collections.abc import Collection

from netaddr import IPAddress

from ovsdriver.domain.wires.plumbing import NameServer
from ovsdriver.ports import Directory
from tests.fakes.links import FakeLinks


class FakeNameServers:
    """Fulfils ``ovsdriver.ports.NameServers`` over links in memory."""

    def __init__(self, links: FakeLinks) -> None:
        self._links = links
        self._running: dict[str, tuple[NameServer, Directory]] = {}

    def running(self) -> Collection[str]:
        return self._running.keys()

    async def ensure(self, server: NameServer, directory: Directory) -> None:
        known, there = server.segment in self._running, await self._links.links()
        self._running[server.segment] = (server, directory)
        if known and server.link.host in there:
            await self._links.ensure_veth(server.link)
            return
        await self._links.remove_link(server.link.host)
        await self._links.ensure_veth(server.link)
        self._links.move(server.link.container, f"/names/{server.segment}")

    async def remove(self, segment: str, link: str) -> bool:
        removed = await self._links.remove_link(link)
        return self._running.pop(segment, None) is not None or removed

    def end(self) -> None:
        """Let the process end: its namespaces and their links end with it."""
        for segment in self._running:
            self._links.end_sandbox(f"/names/{segment}")
        self._running.clear()

    def ask(self, segment: str, client: str, name: str) -> list[str] | None:
        """Return what a client is answered; "outside" if others are asked, None if it is not."""
        _, directory = self._running[segment]
        address = IPAddress(client)
        if not directory.serves(segment, address):
            return None
        found = directory.addresses(segment, address, name.lower())
        return ["outside"] if found is None else [str(each) for each in found]
