"""Name servers of segments on this host."""

from collections.abc import Collection
from typing import Protocol

from netaddr import IPAddress

from ovsdriver.domain.wires.plumbing import NameServer


class Directory(Protocol):
    """Who is called what, for name servers; asked on the loop, for every question."""

    def serves(self, segment: str, client: IPAddress) -> bool:
        """Whether a container of this host has that address on a segment; nobody else is heard."""
        ...

    def addresses(self, segment: str, client: IPAddress, name: str) -> Collection[IPAddress] | None:
        """Return the addresses of who is called so, in lower case, where the client is.

        None: nobody is, so that the host's own servers are asked.
        """
        ...


class NameServers(Protocol):
    """A namespace for each segment, with a link of ours to it, and somebody who answers there.

    It answers for names of the directory, over UDP and TCP; what the directory does not know it
    has from the servers that the host itself asks. All of it ends with this process.
    """

    def running(self) -> Collection[str]:
        """Return the segments whose servers answer, as far as nobody took their links away."""
        ...

    async def ensure(self, server: NameServer, directory: Directory) -> None:
        """Make a server, or put right what it lacks; its port is to be plugged in by the caller.

        A link of its name without our alias: ConflictError.
        """
        ...

    async def remove(self, segment: str, link: str) -> bool:
        """End the server of a segment, and delete its link by its host end; False if not there."""
        ...
