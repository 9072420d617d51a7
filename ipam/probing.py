"""Asking a pool's segment whether somebody has an address before it is given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from netaddr import IPAddress

from ipam import refusals
from ipam.ledger import Ledger
from ipam.model import AddressRequest, PoolId

_PROBES_S = (0.3, 0.6)
"""How long the segment is asked for the first address, and, if that is in use, for further ones."""

_PROBED_AT_ONCE = 16


class Prober(Protocol):
    """Asks a pool's segment who is there."""

    async def claimed(
        self, pool: PoolId, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, str]:
        """Return the MACs of those who answer; empty where the segment cannot be asked."""
        ...


class Probing:
    """Passes over the addresses that somebody answers for; who asks the segment says so."""

    def __init__(self, prober: Prober, *, clock: Callable[[], float]) -> None:
        self._prober = prober
        self._clock = clock

    async def free(self, ledger: Ledger, request: AddressRequest, offset: int) -> int:
        """Return ``offset``, or a later one, for which nobody on the segment answers.

        Raises:
            AddressError: somebody answers for the address that was asked for.
            ExhaustedError: somebody answers for each of the next ones.
        """
        asked = [offset]
        ledger.try_next(offset)
        found: dict[IPAddress, str] = {}
        try:
            for within_s in _PROBES_S:
                unasked = asked[len(found) :]
                found |= await self._answers(ledger, unasked, within_s)
                for each in unasked:
                    if ledger.address(each) not in found:
                        return each
                if request.address is not None:
                    raise refusals.in_use(request.address, ledger.pool, found[request.address])
                while len(asked) < _PROBED_AT_ONCE:
                    further = ledger.choose(request.kind, "")
                    if further is None:
                        break
                    ledger.try_next(further)
                    asked.append(further)
                if len(asked) == len(found):
                    break
            raise refusals.all_in_use(ledger.pool, found)
        finally:
            ledger.tried(asked)

    async def _answers(
        self, ledger: Ledger, offsets: Sequence[int], within_s: float
    ) -> Mapping[IPAddress, str]:
        addresses = [ledger.address(each) for each in offsets]
        answers = await self._prober.claimed(ledger.pool.id, addresses, within_s=within_s)
        for each in offsets:
            mac = answers.get(ledger.address(each))
            if mac is not None:
                ledger.contest(each, self._clock())
        return answers
