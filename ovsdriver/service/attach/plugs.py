"""Links and ports of endpoints: made, and taken away, with all that aspects put on them."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import Attachment, Veth
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Links, Ports, State
from ovsdriver.service.aspects.aspect import Aspect
from ovsdriver.service.aspects.bridges import datapath
from ovsdriver.service.aspects.offload import Offload
from ovsdriver.service.attach.veths_ahead import VethsAhead

UNPLUG_WAIT_S = 1.0
"""How long the removal of a port waits for Open vSwitch: a restart of its database takes less."""


_NAME_FREE_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.3)
"""Between looks whether vswitchd has deleted a device; it needs some milliseconds."""


class Plugs:
    """Steps of calls and repairs, whose callers hold the endpoint's lock."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        switch: Ports,
        links: Links,
        aspects: Sequence[Aspect],
        offload: Offload,
    ) -> None:
        self._owner = owner
        self._state = state
        self._switch = switch
        self._links = links
        self._aspects = aspects
        self._offload = offload
        self._veths_ahead = VethsAhead(links=links, switch=switch)
        self._callbacks: list[Callable[[str], None]] = []

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the sandbox that Docker changes after a call that has ended."""
        self._callbacks.append(callback)

    def changed(self, sandbox: str) -> None:
        """Say that Docker changes a sandbox now."""
        for callback in self._callbacks:
            callback(sandbox)

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._veths_ahead.close()

    def preparing(self, endpoint: EndpointId) -> bool:
        """Whether its port may be there before it is in a sandbox: Join is still to come."""
        return endpoint in self._veths_ahead

    def attachment(self, network: Network, endpoint: Endpoint) -> Attachment:
        """Return the plumbing of ``endpoint``."""
        return desired.attachment(
            network, endpoint, owner=self._owner, tso_of=self._offload.tso_of(network)
        )

    def prefix(self, network: Network, endpoint: Endpoint) -> str:
        """Return what the name of an endpoint's interface begins with in its container."""
        return desired.interface_prefix(network, endpoint, datapath(self._switch, network))

    def begin(self, network: Network, endpoint: Endpoint) -> None:
        """Make a pair and its port in the background, until Join asks for them."""
        self._veths_ahead.begin(
            endpoint.id,
            partial(self.attachment, network, endpoint),
            recorded=lambda: self._state.endpoint(endpoint.id) is not None,
        )

    async def plug(self, endpoint: EndpointId, attachment: Attachment, *, fresh: bool) -> None:
        """Make link and port for Join, or wait for what was begun."""
        if isinstance(attachment.link, Veth):
            await self._veths_ahead.plug(endpoint, attachment)
        else:
            await self.make(attachment, fresh=fresh)

    async def make(self, attachment: Attachment, *, fresh: bool) -> None:
        """Make link and port; the device of an internal port comes with the port."""
        link, port = attachment.link, attachment.port
        if isinstance(link, Veth):
            await self._veths_ahead.pair_and_port(link, port)
            return
        if fresh:
            await self._switch.ensure_port(port)
        elif self._switch.port(port.name) is None:
            raise UnavailableError(
                f"port {port.name} was removed from Open vSwitch, and the container's interface "
                "with it; start the container again"
            )
        # In a Join that comes again Docker may have moved it already.
        if fresh or port.name in await self._links.links():
            await self._links.ensure_tap(link)

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Make what an endpoint has beside its port."""
        for each in self._aspects:
            await each.ensure(network, endpoint)

    async def replug(self, network: Network, endpoint: Endpoint) -> None:
        """Make the port of an endpoint in a sandbox as the records say; its link is there."""
        attachment = self.attachment(network, endpoint)
        port = attachment.port
        if isinstance(attachment.link, Veth):
            if endpoint.sandbox is not None and await self._links.ensure_mtu(
                attachment.link, endpoint.sandbox
            ):
                await self._links.ensure_veth(attachment.link)  # the switch's end
            await self._offload.settle(network, endpoint)
        elif self._switch.port(port.name) is None:
            return  # vswitchd would make a device in the host's namespace, of no use to anyone
        await self._switch.ensure_port(port)
        await self.ensure(network, endpoint)

    async def unplug(
        self, endpoint: Endpoint, recording: "asyncio.Future[None] | None" = None
    ) -> None:
        """Remove the port. While Open vSwitch is away, dockerd is not held up for long.

        The caller has recorded what is to happen, or is ``recording`` it, so the reconciler does
        it later, or plugs it in again. vswitchd deletes the device of an internal port with it,
        wherever that is; dockerd, which then has nothing to move out of the sandbox, goes on.
        """
        await self._veths_ahead.stop(endpoint.id)
        try:
            await self.withdraw(names.port(endpoint))
        finally:
            if recording is not None:
                await recording
        network = self._state.network(endpoint.network)
        if network is not None:
            for each in self._aspects:
                await each.unplugged(network, endpoint)

    async def withdraw(self, port: str) -> None:
        """Remove a port if Open vSwitch answers; UnavailableError leaves it to the reconciler.

        A Join that failed may have waited for Open vSwitch in vain, and its deadline must not come
        before the sentence that says so.
        """
        await self._switch.connected(UNPLUG_WAIT_S)
        await self._switch.remove_port(port)

    async def name_free(self, link: str) -> None:
        """Wait a moment until no device in the host's namespace has the name ``link``.

        A vswitchd that was restarted has made one, which goes with the port that was just removed;
        before that dockerd cannot move the container's dead one out.
        """
        for pause_s in _NAME_FREE_PAUSES_S:
            if link not in await self._links.links():
                return
            await asyncio.sleep(pause_s)
