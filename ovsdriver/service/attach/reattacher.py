"""Give a running container its interface back when that was destroyed, without a restart.

What it was like is noted while all is well, by looks into the sandbox (``sandbox_watch.py`` says
when); only Docker knew it before. When the device is lost, the plumbing is made again by the steps
of Join, and what Docker did afterwards is done from the note. That something is being put back is
noted first: killed at any step, the next look at everything begins at the note again.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.wires import sandbox_link
from ovsdriver.domain.wires.plumbing import Attachment
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Sandboxes, SandboxMemory, SeenLink

log = logging.getLogger(__name__)


class Reattacher:
    """Notes and restores. The caller holds the endpoint's lock."""

    def __init__(self, *, memory: SandboxMemory, sandboxes: Sandboxes) -> None:
        self._memory = memory
        self._sandboxes = sandboxes

    def restoring(self, endpoint: Endpoint) -> bool:
        """Whether its link was being put back when something ended that."""
        noted = self._noted(endpoint)
        return noted is not None and noted.restoring

    def interface(self, endpoint: Endpoint) -> str:
        """Return the name of its link in its sandbox; empty until it was seen there."""
        noted = self._noted(endpoint)
        return "" if noted is None or "%" in noted.name else noted.name

    def excess(self, endpoint: Endpoint) -> str:
        """Return what of its link would not be put back, in words; empty: nothing is known."""
        noted = self._noted(endpoint)
        return "" if noted is None else noted.excess

    async def note(self, endpoint: Endpoint, attachment: Attachment) -> SeenLink | None:
        """Look into the sandbox, and remember what is there; None if nothing is.

        Raises:
            UnavailableError: it could not be looked at, or noted.
        """
        if endpoint.sandbox is None:
            return None
        noted = self._noted(endpoint)
        seen = await self._sandboxes.look(endpoint.sandbox, attachment.link, noted)
        if seen is not None and not (noted is not None and noted.restoring):
            await self._remember(endpoint, seen.link)
        return seen

    async def put_back(
        self,
        network: Network,
        endpoint: Endpoint,
        attachment: Attachment,
        *,
        prefix: str,
        named: str,
        plug: Callable[[bool], Awaitable[None]],
    ) -> None:
        """Give the container its interface again.

        Args:
            network: of the endpoint.
            endpoint: joined, with a live sandbox.
            attachment: its plumbing.
            prefix: of the interface's name, if it was never seen.
            named: that name, if Docker was told all of it; else empty.
            plug: makes link and port as Join does; told whether the device is in the container
                already.

        Raises:
            ConflictError: the container has another interface of that name.
            UnavailableError: the switch, the kernel or the store did not answer. What was begun is
                gone on with at the next try.
        """
        sandbox = endpoint.sandbox
        if sandbox is None:
            return
        link, noted = attachment.link, self._noted(endpoint)
        seen = await self._sandboxes.look(sandbox, link, noted)
        if noted is None or not noted.restoring:
            wanted = (seen.link if seen is not None else noted) or sandbox_link.never_seen(
                network, endpoint, sandbox=sandbox, prefix=prefix, named=named
            )
            # of what was set meanwhile, the smaller one: the bridge's end has the new MTU
            noted = replace(wanted, mtu=min(wanted.mtu, link.mtu), restoring=True)
            await self._memory.put_sandbox_link(endpoint.id, noted)
        await plug(seen is not None and seen.attached)
        refused = await self._sandboxes.restore(sandbox, link, noted)
        for what in refused:
            log.warning("sandbox.not-restored", extra={"endpoint": endpoint.id, "what": what})
        if noted.excess:
            what = f"{noted.excess}: more than are kept"
            log.warning("sandbox.not-restored", extra={"endpoint": endpoint.id, "what": what})
        again = await self._sandboxes.look(sandbox, link, noted)
        if again is None or not again.attached:
            raise UnavailableError(
                f"{noted.name} was put back into its container and is gone again; looking again"
            )
        await self._remember(endpoint, again.link)

    def _noted(self, endpoint: Endpoint) -> SandboxLink | None:
        noted = self._memory.sandbox_link(endpoint.id)
        # of an earlier sandbox, where the same endpoint was
        return noted if noted is not None and noted.sandbox == endpoint.sandbox else None

    async def _remember(self, endpoint: Endpoint, link: SandboxLink) -> None:
        noted = self._memory.sandbox_link(endpoint.id)
        if link.excess and (noted is None or not noted.excess):
            log.warning("sandbox.excess", extra={"endpoint": endpoint.id, "what": link.excess})
        if link != noted:
            await self._memory.put_sandbox_link(endpoint.id, link)
