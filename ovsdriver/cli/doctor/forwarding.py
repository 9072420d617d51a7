"""Other people's firewall rules that stop what we forward."""

import asyncio
from collections.abc import Awaitable, Sequence

from ovsdriver.cli.doctor.finding import Finding, ok, warn
from ovsdriver.errors import DriverError

SUBJECT = "forwarding"

TIMEOUT_S = 10.0


async def examine(reading: Awaitable[Sequence[str]]) -> list[Finding]:
    """Wait for the sentences of ``Firewall.findings``, and say what to do about them."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await reading
    except (DriverError, TimeoutError) as error:
        return [
            warn(
                SUBJECT,
                f"the rules of other programs could not be read: {str(error) or 'no answer'}",
                "check again as root: sudo ovsnet check",
            )
        ]
    if not found:
        return [ok(SUBJECT, "no foreign chain drops what ovsnet accepts")]
    remedy = "accept there the traffic from and to ovg* (ovsnet's gateways): nft list ruleset"
    return [warn(SUBJECT, text, remedy) for text in found]
