"""What access rules have met, whoever enforces them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from ovsdriver.ports import AccessCount

Counts = Callable[[], Awaitable[Sequence[AccessCount]]]


class Met:
    """Adds up what several have counted."""

    def __init__(self, *counts: Counts) -> None:
        self._counts = counts

    async def __call__(self) -> Sequence[AccessCount]:
        """Return each rule once; errors are those of who counts."""
        found: dict[AccessCount, AccessCount] = {}
        for counts in self._counts:
            for each in await counts():
                rule = replace(each, packets=0, octets=0)
                before = found.get(rule, rule)
                found[rule] = replace(
                    each,
                    packets=before.packets + each.packets,
                    octets=before.octets + each.octets,
                )
        return tuple(found.values())
