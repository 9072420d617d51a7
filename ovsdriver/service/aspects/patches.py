"""Pairs of patch ports between bridges of ours, as long as a network asks for them."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Network
from ovsdriver.domain.wires import patching
from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.domain.wires.patching import Pair
from ovsdriver.ports import PatchPorts, State
from ovsdriver.service.aspects.aspect import Aspect, Finding


class Patches(Aspect):
    """Networks of both bridges share a pair: the records of all decide."""

    name = "patches"

    def __init__(self, *, owner: str, state: State, switch: PatchPorts) -> None:
        self._owner = owner
        self._state = state
        self._switch = switch
        self._lock = asyncio.Lock()
        self._any = any(each.patches for each in state.networks())
        """A network asks for one, or did since this process began."""

    async def check_network(self, network: Network) -> None:
        """Refuse what would join what must stay apart; errors as ``patching.refuse_unfit``."""
        patching.refuse_unfit(network, self._state.networks(), self._switch.bridges())

    async def ensure_network(self, network: Network) -> None:
        """Settle all pairs, if there are any: the bridge may be what one has waited for."""
        self._any = self._any or bool(network.patches)
        if self._any:
            await self.settle()

    async def remove_network(self, network: Network) -> None:
        """Settle them without it."""
        await self.ensure_network(network)

    async def settle(self) -> bool:
        """Make the pairs as the records want them; False if they already were.

        One of whose bridges is not there yet is left to who makes that.

        Raises:
            ConflictError, UnavailableError: see ``PatchPorts``.
        """
        async with self._lock:
            wanted, ports = self._wanted(), self._ports()
            strays = ports.keys() - {end.name for each in wanted for end in each.ends}
            for name in sorted(strays):
                await self._switch.remove_port(name)
            lacking = [each for each in wanted if patching.lacks(each, ports)]
            for each in lacking:
                await self._switch.ensure_patch(each.ends)
        return bool(strays or lacking)

    async def find(self) -> Sequence[Finding]:
        """Compare the pairs with the records."""
        wanted, ports = self._wanted(), self._ports()
        expected = {end.name for each in wanted for end in each.ends}
        said = [
            f"patch of {' and '.join(each.bridges)}: {why}"
            for each in wanted
            if (why := patching.lacks(each, ports))
        ]
        said += [
            f"patch port {name} on bridge {port.bridge} is wanted by no network"
            for name, port in sorted(ports.items())
            if name not in expected
        ]
        return [
            Finding(what=each, amiss=partial(self._amiss, each), mend=self.settle) for each in said
        ]

    async def _amiss(self, what: str) -> bool:
        # What a call is at work on is there by now.
        async with self._lock:
            return any(each.what == what for each in await self.find())

    def _wanted(self) -> Sequence[Pair]:
        found = patching.pairs(self._state.networks(), owner=self._owner)
        return [each for each in found if all(map(self._is_ours, each.bridges))]

    def _is_ours(self, name: str) -> bool:
        bridge = self._switch.bridge(name)
        return bridge is not None and bridge.owned

    def _ports(self) -> Mapping[str, ObservedPort]:
        return {
            port.name: port
            for bridge in self._switch.bridges().values()
            for port in bridge.ports
            if port.external_ids.get(names.OWNER_KEY) == self._owner
            and port.external_ids.get(names.PURPOSE_KEY) == names.PATCH
        }
