"""Pairs and ports that are made while Docker is on its way from CreateEndpoint to Join.

In between dockerd writes its own records, and Join then finds done what it would have to wait for:
the kernel's pair and vswitchd's port. The container's end stays on the host and down until Docker
moves it, so nothing can be sent through either.
"""

import asyncio
from collections.abc import Callable

from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.wires.plumbing import Attachment, Port, Veth
from ovsdriver.ports import Links, Ports


class VethsAhead:
    """What was begun for endpoints that are in no sandbox yet. Kept by this process only.

    After a crash the reconciler removes the port of an endpoint that is in no sandbox, and a Join
    makes it again.
    """

    def __init__(self, *, links: Links, switch: Ports) -> None:
        self._links = links
        self._switch = switch
        self._begun: dict[EndpointId, asyncio.Task[Attachment | None]] = {}

    def __contains__(self, endpoint: object) -> bool:
        """Whether the endpoint's port may be there although its record names no sandbox."""
        return endpoint in self._begun

    def begin(
        self,
        endpoint: EndpointId,
        attachment: Callable[[], Attachment],
        *,
        recorded: Callable[[], bool],
    ) -> None:
        """Make the pair and the port of an endpoint in the background.

        ``attachment``, which has a pair, is asked for then; and whether the endpoint is
        ``recorded``, then and at the end: its network may be removed meanwhile. What fails is left
        to Join, which can say it; and while Open vSwitch is away nothing is begun, since Join waits
        for it once.
        """
        task = asyncio.get_running_loop().create_task(self._make(endpoint, attachment, recorded))
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._begun[endpoint] = task

    async def _make(
        self,
        endpoint: EndpointId,
        attachment: Callable[[], Attachment],
        recorded: Callable[[], bool],
    ) -> Attachment | None:
        if not recorded() or not self._switch.status().connected:
            return None
        wanted = attachment()
        assert isinstance(wanted.link, Veth)  # noqa: S101
        try:
            await self.pair_and_port(wanted.link, wanted.port)
        finally:
            if not recorded():
                # Who removed the network may have looked for them before they were there.
                self._begun.pop(endpoint, None)
                await self._switch.remove_port(wanted.port.name)
                await self._links.remove_link(wanted.port.name)
        return wanted

    async def plug(self, endpoint: EndpointId, attachment: Attachment) -> None:
        """Make the pair and the port now, or wait for what was begun.

        Raises:
            ConflictError, UnavailableError, UnsupportedError: as of who makes them. An attempt
                that had failed before is made again.
        """
        assert isinstance(attachment.link, Veth)  # noqa: S101 - Join asks for no other
        task = self._begun.pop(endpoint, None)
        if task is not None:
            failed_before = task.done() and task.exception() is not None
            begun = None if failed_before else await task
            if begun == attachment and self._switch.port(attachment.port.name) is not None:
                return
        await self.pair_and_port(attachment.link, attachment.port)

    async def stop(self, endpoint: EndpointId) -> None:
        """End what was begun, so that nothing of it appears any more; what is there stays."""
        task = self._begun.pop(endpoint, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """End everything that was begun."""
        for endpoint in tuple(self._begun):
            await self.stop(endpoint)

    async def pair_and_port(self, link: Veth, port: Port) -> None:
        """Make a pair, and its port as soon as its host's end is there.

        What is set on the pair afterwards, nobody needs before its other end is in a container.
        """
        there = asyncio.Event()
        pair = asyncio.ensure_future(self._links.ensure_veth(link, there.set))
        pair.add_done_callback(lambda _: there.set())
        try:
            await there.wait()
            if not pair.done() or pair.exception() is None:
                await self._switch.ensure_port(port)
        finally:
            await pair
