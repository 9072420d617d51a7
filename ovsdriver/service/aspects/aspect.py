"""What every capability beside bridges and ports has in common: when it is asked, and for what.

Those who make, change, repair and remove networks and endpoints know a list of aspects and none by
its name. ``assembly.py`` has the list, and says why it has that order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ipam.errors import IpamError
from ovsdriver.domain.records.model import Endpoint, Network, Way
from ovsdriver.errors import DriverError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not, or may not be, as the records say."""

    what: str
    """In words, for dry runs, and after it was mended."""
    mend: Callable[[], Awaitable[bool | None]] | None = None
    """Puts it right, and tells whether there was anything to put right: a call may have been at
    work on it. None: that is not ours to do."""
    amiss: Callable[[], Awaitable[bool]] | None = None
    """Tells whether it is so and changes nothing; None: it is. Only dry runs ask: who mends finds
    out by that."""
    mended: str = ""
    """In words, after it was mended, if ``what`` does not fit then."""
    about: str = ""
    """What did not go right if it cannot be mended, likewise."""
    unseen: bool = False
    """It could not be looked at: ``what`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What has come of findings, in words."""

    found: Sequence[str] = ()
    """By a dry run: it would be mended."""
    mended: Sequence[str] = ()
    failed: Sequence[str] = ()
    beyond: Sequence[str] = ()
    """What is not ours to mend."""


async def never() -> bool:
    """Say that nothing is amiss: for what is done at every repair, and is no news."""
    return False


class Aspect:
    """Base class of every aspect. A method that is not overridden does nothing.

    Everything is repeatable. Errors are ``UnsupportedError`` and ``ConflictError``, which refuse
    what is asked for, and ``UnavailableError``, after which the next repair goes on.
    """

    name = ""
    """In words, before what could not be looked at, and what its repairs are counted as."""
    before_ports = False
    """It is mended before bridges and ports, also before a lost link is put back into a container,
    and cleared after them."""
    mended_first = False
    """It is mended before bridges and ports, which do without it; nothing else is otherwise."""
    needs_switch = True
    """Nothing can be found while Open vSwitch is away."""

    async def check(self, network: Network, endpoint: Endpoint) -> None:
        """Refuse what an endpoint asks for and its host cannot do, before its record is written."""

    async def check_network(self, network: Network) -> None:
        """Refuse what a network asks for, likewise."""

    def ways(
        self,
        network: Network,  # noqa: ARG002 - it has none
        endpoint: Endpoint,  # noqa: ARG002
    ) -> Sequence[Way]:
        """Return what a container is told at Join of routers that are no gateway of its network."""
        return ()

    async def joining(self, endpoint: Endpoint, sandbox: str) -> None:
        """Make way in a sandbox, where others are, for an endpoint that Docker puts there next."""

    async def recorded(self, network: Network, endpoint: Endpoint) -> None:
        """Hear that an endpoint was recorded; an error takes the record back. Join comes later."""

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Make what an endpoint has as its record says; its port is there."""

    async def joined(self, network: Network, endpoint: Endpoint) -> None:
        """Hear that a container was plugged in, while nobody holds its lock.

        An error unplugs it again.
        """

    async def unplugging(self, endpoint: Endpoint, recorded: "asyncio.Future[None] | None") -> None:
        """Take back what must not outlast a port, before that goes.

        ``recorded`` is done when the record says so; None: it does.
        """

    async def unplugged(self, network: Network, endpoint: Endpoint) -> None:
        """Take back what belongs to a port that is gone; its record says so."""

    async def left(self, endpoint: Endpoint) -> None:
        """Hear that a container was unplugged, as its record was, while nobody holds its lock."""

    async def forget(self, endpoint: Endpoint) -> None:
        """Forget an endpoint whose link is gone; its record goes next."""

    async def ensure_network(self, network: Network) -> None:
        """Make what a network has as all records say; its bridge is there."""

    async def remove_network(self, network: Network) -> None:
        """Remove what a network has, whose record has ended; its containers' ports are gone."""

    async def clear(self) -> None:
        """Remove everything of ours from the host, whatever the records say; they go next.

        There may be none: then by our mark alone.
        """

    async def clear_unread(self) -> None:
        """Do as :meth:`clear` does while the records cannot be read: there may be some."""
        await self.clear()

    async def find(self) -> Sequence[Finding]:
        """Compare the host with the records, and change nothing."""
        return ()

    async def run(self) -> None:
        """Attend to what happens meanwhile, until cancelled."""
        await asyncio.Event().wait()

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the host may have lost what was made, as far as it tells."""

    async def look(self, *, mend: bool) -> Seen:
        """Mend what is found, or only say of what it would be."""
        found, mended, failed, beyond = [], [], [], []
        try:
            findings = await self.find()
        except DriverError as error:
            return Seen(failed=[f"{self.name}: {error}"])
        for each in findings:
            try:
                if each.unseen:
                    failed.append(each.what)
                elif each.mend is None:
                    beyond.append(each.what)
                elif not mend:
                    if each.amiss is None or await each.amiss():
                        found.append(each.what)
                elif await each.mend():
                    mended.append(each.mended or each.what)
            except (DriverError, IpamError) as error:
                failed.append(f"{each.about or each.what}: {error}")
        return Seen(found=found, mended=mended, failed=failed, beyond=beyond)
