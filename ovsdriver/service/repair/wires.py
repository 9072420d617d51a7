"""Bridges, ports, links and gateways themselves, compared with the records."""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

from ipam.errors import IpamError
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.wires.diff import Difference, Repair, amiss, compare, gateway_amiss
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Links, State, SwitchView
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.aspects.uplinks import Uplinks
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.attach.replugs import Replugs
from ovsdriver.service.networks.networks import Networks
from ovsdriver.service.repair.sandbox_watch import SandboxWatch


class Wires(Aspect):
    """What every network and endpoint has; repaired by the operations that the handlers call."""

    name = "bridges and ports"

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        switch: SwitchView,
        links: Links,
        networks: Networks,
        uplinks: Uplinks,
        endpoints: Endpoints,
        replugs: Replugs,
        watch: SandboxWatch,
        settle_s: float,
    ) -> None:
        self._owner = owner
        self._state = state
        self._switch = switch
        self._links = links
        self._networks = networks
        self._uplinks = uplinks
        self._endpoints = endpoints
        self._replugs = replugs
        self._watch = watch
        self._settle_s = settle_s
        self.lost: dict[EndpointId, str] = {}
        """Endpoints whose containers were cut off when mending was tried last, and why."""

    def busy(self, endpoint: EndpointId) -> bool:
        """Whether a call, or a repair, is at work on it."""
        return self._endpoints.busy(endpoint)

    def amiss(self, endpoint_id: EndpointId) -> bool:
        """Whether the port of one endpoint is not as its record says; cheap."""
        endpoint = self._state.endpoint(endpoint_id)
        network = self._state.network(endpoint.network) if endpoint is not None else None
        if endpoint is None or network is None:
            ports = names.host_link(endpoint_id), names.internal_link(endpoint_id)
            return any(self._switch.port(name) is not None for name in ports)
        if endpoint.sandbox is None and self._replugs.preparing(endpoint_id):
            return False
        port = self._switch.port(names.port(endpoint))
        return amiss(network, endpoint, port, owner=self._owner)

    async def gateways_amiss(self, doubted: Collection[str]) -> bool:
        """Whether one of these devices is not as its network's record says, or is not seen."""
        networks = [n for n in self._state.networks() if names.gateway_link(n.id) in doubted]
        if not networks:
            return False
        try:
            links = await self._links.links()
        except UnavailableError:
            return True
        return any(gateway_amiss(each, links, owner=self._owner) for each in networks)

    async def find(self) -> Sequence[Finding]:
        """Compare, and if there is anything compare again: what handlers do meanwhile is no fault.

        The records, the switch and the links are not seen in the same instant.
        """
        self.lost = {}
        difference = await self._difference()
        return [
            *(
                Finding(what=f"{each.subject}: {each.why}", mend=partial(self._mend, each))
                for each in difference.repairs
            ),
            *(Finding(what=each) for each in difference.beyond),
        ]

    async def _difference(self) -> Difference:
        first = await self._compare()
        if not first.repairs and not first.beyond:
            return first
        await asyncio.sleep(self._settle_s)
        second = await self._compare()
        seen = {(repair.subject, repair.why) for repair in first.repairs}
        return Difference(
            repairs=tuple(each for each in second.repairs if (each.subject, each.why) in seen),
            beyond=tuple(each for each in second.beyond if each in first.beyond),
        )

    async def _compare(self) -> Difference:
        if not self._state.networks() and not any(
            bridge.owned for bridge in self._switch.bridges().values()
        ):
            return Difference()
        links = await self._links.links()
        displaced = await self._uplinks.displaced()
        networks, endpoints = self._state.networks(), self._state.endpoints()
        # On a thread, since with thousands of endpoints it takes longer than the loop may stand.
        found = await asyncio.to_thread(
            compare,
            networks,
            endpoints,
            owner=self._owner,
            bridges=self._switch.bridges(),
            links=links,
            abandoned={each.id for each in networks if self._networks.abandoned(each)},
            displaced=displaced,
            preparing={each.id for each in endpoints if self._replugs.preparing(each.id)},
            restoring={each.id for each in endpoints if self._replugs.restoring(each)},
            missing=frozenset(self._watch.missing),
        )
        return await self._without_dead(found)

    async def _without_dead(self, found: Difference) -> Difference:
        """Leave what was lost with its container to whom is told of the container's end."""
        repairs, beyond = [], list(found.beyond)
        for repair in found.repairs:
            sandbox = repair.endpoint.sandbox if repair.endpoint is not None else None
            if not repair.lost or (sandbox and await self._links.sandbox_alive(sandbox)):
                repairs.append(repair)
            else:
                beyond.append(
                    f"{repair.subject}: {repair.why}, and its container has ended, which Docker "
                    "has not told; it is removed when Docker does not list it any more"
                )
        return Difference(repairs=tuple(repairs), beyond=tuple(beyond))

    async def _mend(self, repair: Repair) -> bool:
        # What a call is at work on is its own to make: the repair waits for it, and finds it made.
        network, endpoint = repair.network, repair.endpoint
        if endpoint is None:
            busy = self._networks.busy(network.id)
            if repair.finish:
                return await self._networks.finish(network)
            await self._networks.repair(network)
            return not busy
        busy = self._endpoints.busy(endpoint.id)
        if repair.finish:
            return await self._endpoints.finish(endpoint)
        try:
            await self._replugs.ensure(endpoint)
        except (DriverError, IpamError) as error:
            if repair.lost:
                self.lost[endpoint.id] = f"{repair.why}: {error}"
            raise
        self._watch.restored(endpoint.id)
        return not busy
