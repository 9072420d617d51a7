"""The port :class:`~ovsdriver.ports.Sandboxes` on the kernel's netlink."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from ovsdriver.adapters.kernel.codec.refusals import translated
from ovsdriver.adapters.kernel.codec.thread import on_own_thread
from ovsdriver.adapters.kernel.sandbox import entering, inner_links
from ovsdriver.domain.records.model import Tap, Veth
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import SeenLink

T = TypeVar("T")


class KernelSandboxes:
    """Sandboxes beside the namespace of the thread that calls; each call has a thread of its own.

    One thread cannot serve them all: it would have to find its way back, and a thread that does
    not is lost to everybody.
    """

    def __init__(self, *, timeout_s: float = 5.0) -> None:
        """Take what a call may take at most."""
        self._timeout_s = timeout_s

    async def look(
        self, sandbox: str, link: Veth | Tap, noted: SandboxLink | None = None
    ) -> SeenLink | None:
        def work() -> SeenLink | None:
            if not entering.is_alive(sandbox):
                return None
            found = inner_links.look(sandbox, link, noted)
            return None if found is None else SeenLink(link=found[0], attached=found[1])

        return await self._inside(f"reading a link in sandbox {sandbox}", work)

    async def restore(self, sandbox: str, link: Veth | Tap, wanted: SandboxLink) -> Sequence[str]:
        def work() -> Sequence[str]:
            if not entering.is_alive(sandbox):
                raise UnavailableError(f"sandbox {sandbox} is gone, so nothing can be put there")
            return inner_links.restore(sandbox, link, wanted)

        return await self._inside(f"putting {wanted.name} back into sandbox {sandbox}", work)

    async def _inside(self, what: str, work: Callable[[], T]) -> T:
        with translated(what, self._timeout_s):
            async with asyncio.timeout(self._timeout_s):
                return await on_own_thread(work, name="sandbox")
