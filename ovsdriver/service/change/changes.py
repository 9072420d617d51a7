"""Other options for networks and endpoints that stand: ``ovsnet set``.

One at a time, so that none decides by a record that another one is changing. Each record is
written first; then the same operations as the handlers' make switch, links and rules follow it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ovsdriver.causes import because
from ovsdriver.domain.plan import replanning
from ovsdriver.domain.records.model import Endpoint, EndpointId, NetworkId
from ovsdriver.errors import DriverError, UnknownObjectError
from ovsdriver.ports import State
from ovsdriver.service.attach.replugs import Replugs
from ovsdriver.service.change.endpoint import EndpointChange
from ovsdriver.service.change.network import NetworkChange
from ovsdriver.words.changes import OtherOptions

_AT_ONCE = 64
"""Endpoints of a network that are brought up to date together; they share transactions."""

Values = Mapping[str, str | None]
"""What is in force, by the option's name, as a user would type it; None: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was changed."""

    old: Values
    new: Values
    endpoints: tuple[EndpointId, ...]
    """Plugged-in ones that it is about."""
    pending: tuple[str, ...]
    """What is recorded and not in force yet, a sentence each."""


class Changes:
    """Changes what stands."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        networks: NetworkChange,
        endpoints: EndpointChange,
        replugs: Replugs,
    ) -> None:
        self._owner = owner
        self._state = state
        self._networks = networks
        self._endpoints = endpoints
        self._replugs = replugs
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Hold off every change: for who removes things faster than their records."""
        async with self._one:
            yield

    async def network(self, network_id: NetworkId, wish: OtherOptions) -> Done:
        """Change options of a network, and its containers' ports with it.

        Raises:
            DriverError: it was refused, and nothing is changed; see ``NetworkChange.change``.
        """
        async with self._one:
            with because(**_typed(wish)):
                change = await self._networks.change(network_id, wish)
            before, after = change.before, change.after
            standing = self._state.endpoints(network_id)
            about = replanning.affected(before, after, standing, owner=self._owner)
            pending = [change.pending] if change.pending else []
            if after != before:
                pending += await self._follow(standing)
        return Done(
            old=wish.network_values(before),
            new=wish.network_values(after),
            endpoints=tuple(each.id for each in about),
            pending=tuple(pending),
        )

    async def endpoint(self, endpoint_id: EndpointId, wish: OtherOptions) -> Done:
        """Change options of one endpoint; errors as of :meth:`network`."""
        async with self._one:
            with because(**_typed(wish)):
                change = await self._endpoints.change(endpoint_id, wish)
            network = self._state.network(change.after.network)
            if network is None:
                raise UnknownObjectError("its network was removed meanwhile")
        plugged = change.after.sandbox is not None and change.after != change.before
        return Done(
            old=wish.endpoint_values(network, change.before),
            new=wish.endpoint_values(network, change.after),
            endpoints=(endpoint_id,) if plugged else (),
            pending=(change.pending,) if change.pending else (),
        )

    async def _follow(self, endpoints: Sequence[Endpoint]) -> list[str]:
        """Bring the ports of a network's containers up to date; return what could not be."""
        pending: list[str] = []
        for first in range(0, len(endpoints), _AT_ONCE):
            some = endpoints[first : first + _AT_ONCE]
            for each, result in zip(
                some,
                await asyncio.gather(*map(self._replugs.ensure, some), return_exceptions=True),
                strict=True,
            ):
                if isinstance(result, DriverError):
                    pending.append(f"endpoint {each.id[:12]}: {result}")
                elif isinstance(result, BaseException):
                    raise result
        return pending


def _typed(wish: OtherOptions) -> Mapping[str, str]:
    """Return what is told of a wish with the changes that come of it."""
    return {"options": " ".join(f"{key}={value}" for key, value in wish.typed.items())}
