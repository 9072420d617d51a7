"""Name servers of segments on this host, and at gateways whose containers have access rules."""

from collections.abc import Collection, Sequence
from typing import Protocol

from netaddr import IPAddress

from ovsdriver.domain.access.naming import NameRecord
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


class NameRules(Protocol):
    """What name servers at gateways may say to whom; asked on the loop, for every question."""

    def serves(self, gateway: str, client: IPAddress) -> bool:
        """Whether a container with names in its rules has that address at a gateway."""
        ...

    def answered(self, gateway: str, client: IPAddress, name: str) -> bool:
        """Whether a client may have a name looked up; in lower case, without the last dot."""
        ...

    async def learn(
        self, gateway: str, client: IPAddress, name: str, records: Sequence[NameRecord]
    ) -> Collection[IPAddress] | None:
        """Let a client reach what an answer says, as far as its rules are about the name.

        Returns:
            The addresses that it may be told of, which it reaches from now on; None: of all.

        Raises:
            UnavailableError: it would not reach them.
        """
        ...


class GatewayNameServers(Protocol):
    """Name servers on gateways' own devices, over UDP and TCP, for containers behind them.

    They listen at one port of the host (``naming.PORT``), where only what comes in by the device of
    a gateway is heard. Who is not served is not answered; who is, is refused what it may not ask.
    All else comes from the servers that the host itself asks, once the rules have learnt it.
    """

    def running(self) -> Collection[str]:
        """Return the gateways where somebody answers; not those whose device is another one now."""
        ...

    async def ensure(self, gateway: str, rules: NameRules) -> None:
        """Answer at a gateway, by its device's name; again: nothing happens.

        Raises:
            ConflictError: somebody else listens at the port.
            UnavailableError: the device is not there.
        """
        ...

    async def remove(self, gateway: str) -> bool:
        """Answer there no more; False if nobody did."""
        ...
