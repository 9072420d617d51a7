"""Plug recorded endpoints in again, and give containers back what they have lost."""

from collections.abc import Sequence
from dataclasses import replace

from ovsdriver.domain.records.model import Endpoint, EndpointId
from ovsdriver.domain.wires.plumbing import Attachment, Veth
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Links, State, SwitchView
from ovsdriver.service.aspects.aspect import Aspect
from ovsdriver.service.attach.plugs import Plugs
from ovsdriver.service.attach.reattacher import Reattacher
from ovsdriver.service.attach.typed_names import TypedNames
from ovsdriver.service.locks import Locks


class Replugs:
    """For repairs and looks into sandboxes, each under the endpoint's lock."""

    def __init__(
        self,
        *,
        state: State,
        switch: SwitchView,
        links: Links,
        locks: Locks,
        aspects: Sequence[Aspect],
        plugs: Plugs,
        reattacher: Reattacher,
        typed_names: TypedNames,
    ) -> None:
        self._state = state
        self._switch = switch
        self._links = links
        self._locks = locks
        self._aspects = aspects
        self._plugs = plugs
        self._reattacher = reattacher
        self._typed_names = typed_names

    async def ensure(self, endpoint: Endpoint) -> None:
        """Plug a recorded endpoint in again if it has a sandbox; a lost link is made again, too.

        The same steps as Join's, for the reconciler. Under the endpoint's lock, and looks at the
        record again first.
        """
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            network = self._state.network(endpoint.network)
            if current is None or current.sandbox is None or current.ended:
                return
            if network is None or network.ended:
                return
            attachment = self._plugs.attachment(network, current)

            async def plug(moved: bool) -> None:
                # a device that is not in the container may be opened anew
                port = replace(attachment.port, moves=attachment.port.moves and moved)
                await self._plugs.make(replace(attachment, port=port), fresh=not moved)
                if isinstance(attachment.link, Veth):
                    # vswitchd, when it closed the old device of that name, may have set the new
                    # one down: it writes back flags that it had seen before (measured with 3.5)
                    await self._links.ensure_veth(attachment.link)
                for each in self._aspects:
                    if each.before_ports:
                        await each.ensure(network, current)

            if await self._lost(current, attachment):
                if not await self._alive(current):
                    raise UnavailableError(f"its sandbox {current.sandbox} is gone")
                await self._reattacher.put_back(
                    network,
                    current,
                    attachment,
                    prefix=self._plugs.prefix(network, current),
                    named=self._typed_names.given(current),
                    plug=plug,
                )
            await self._plugs.replug(network, current)
        self._plugs.changed(current.sandbox)

    async def note(self, endpoint_id: EndpointId) -> bool | None:
        """Look at an endpoint's link in its sandbox, and remember what it is like there.

        Returns whether it leads to the switch; None if there is nothing to be seen (yet).
        """
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is None or endpoint.sandbox is None or endpoint.ended:
                return None
            network = self._state.network(endpoint.network)
            if network is None:
                return None
            known = self._reattacher.interface(endpoint)
            attachment = self._plugs.attachment(network, endpoint)
            seen = await self._reattacher.note(endpoint, attachment)
            if seen is not None:
                return seen.attached
            return False if known and await self._alive(endpoint) else None

    def interface(self, endpoint: Endpoint) -> str:
        """Return the name of an endpoint's link in its sandbox; empty until it was seen there."""
        return self._reattacher.interface(endpoint)

    def excess(self, endpoint: Endpoint) -> str:
        """Return what of an endpoint's link would not be put back if it were lost, in words."""
        return self._reattacher.excess(endpoint)

    def preparing(self, endpoint: EndpointId) -> bool:
        """Whether its port may be there before it is in a sandbox: Join is still to come."""
        return self._plugs.preparing(endpoint)

    def restoring(self, endpoint: Endpoint) -> bool:
        """Whether its link was being put back into its container when that was cut short."""
        return self._reattacher.restoring(endpoint)

    async def _lost(self, endpoint: Endpoint, attachment: Attachment) -> bool:
        """Whether a joined endpoint's device is gone from its container, or leads nowhere."""
        if self._reattacher.restoring(endpoint):
            return True
        name, links = attachment.port.name, await self._links.links()
        there = links.get(name)
        if isinstance(attachment.link, Veth):
            # the other end is here where it was made for a container that had one already
            known = self._reattacher.interface(endpoint)
            return there is None or bool(known and attachment.link.container in links)
        if there is not None:  # with our mark it is the one that Docker has yet to move
            return there.alias != attachment.link.alias
        port = self._switch.port(name)
        if port is None or port.bridge != attachment.port.bridge:
            return True
        seen = await self._reattacher.note(endpoint, attachment)
        return seen is None or not seen.attached

    async def _alive(self, endpoint: Endpoint) -> bool:
        return endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox)
