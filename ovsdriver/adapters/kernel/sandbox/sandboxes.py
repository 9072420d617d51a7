"""The port :class:`~ovsdriver.ports.Sandboxes` on the kernel's netlink."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from ovsdriver.adapters.kernel.codec.link_messages import marked_count
from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.adapters.kernel.sandbox import entering, inner_links, inner_ways
from ovsdriver.adapters.kernel.sandbox.inner_links import MOST
from ovsdriver.domain.wires.observed import Measured
from ovsdriver.domain.wires.plumbing import Tap, Veth
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.domain.wires.ways import WayChange
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import SeenLink


class KernelSandboxes:
    """Sandboxes beside the namespace of the thread that calls."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    async def look(
        self, sandbox: str, link: Veth | Tap, noted: SandboxLink | None = None
    ) -> SeenLink | None:
        def work() -> SeenLink | None:
            if not entering.is_alive(sandbox):
                return None
            found = inner_links.look(sandbox, link, noted)
            return None if found is None else SeenLink(link=found[0], attached=found[1])

        return await self._netlink.ask_apart(f"reading a link in sandbox {sandbox}", work)

    async def settle_ways(
        self, sandbox: str, link: Veth | Tap, change: WayChange, *, dry: bool = False
    ) -> bool | None:
        def work() -> bool | None:
            if not entering.is_alive(sandbox):
                return None
            return inner_ways.settle(sandbox, link, change, dry=dry)

        return await self._netlink.ask_apart(f"routes in sandbox {sandbox}", work)

    async def measured(self, marked: Mapping[str, str]) -> Mapping[str, Measured]:
        def work() -> Mapping[str, Measured]:
            found = {}
            for alias, sandbox in marked.items():
                with suppress(OSError):  # it ended just now, or nobody may enter it
                    count = entering.inside(sandbox, partial(marked_count, alias=alias, most=MOST))
                    if count is not None:
                        found[alias] = count
            return found

        return await self._netlink.ask_apart("reading counters in sandboxes", work)

    async def restore(self, sandbox: str, link: Veth | Tap, wanted: SandboxLink) -> Sequence[str]:
        def work() -> Sequence[str]:
            if not entering.is_alive(sandbox):
                raise UnavailableError(f"sandbox {sandbox} is gone, so nothing can be put there")
            return inner_links.restore(sandbox, link, wanted)

        return await self._netlink.ask_apart(
            f"putting {wanted.name} back into sandbox {sandbox}", work
        )
