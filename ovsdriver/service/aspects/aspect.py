"""What every capability beside bridges and ports has in common: when it is asked, and for what.

Those who make, change, repair and remove networks and endpoints know a list of aspects and none by
its name. ``assembly.py`` has the list, and says why it has that order.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ipam.errors import IpamError
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
    """One of them. What it does not say here is nothing to it.

    Everything is repeatable. Errors are ``UnsupportedError`` and ``ConflictError``, which refuse
    what is asked for, and ``UnavailableError``, after which the next repair goes on.
    """

    name = ""
    """In words, before what could not be looked at."""
    before_ports = False
    """Its findings are mended before those of bridges and ports."""
    needs_switch = True
    """Nothing can be found while Open vSwitch is away."""

    async def find(self) -> Sequence[Finding]:
        """Compare the host with the records, and change nothing."""
        return ()

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
