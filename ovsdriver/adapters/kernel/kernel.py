"""What of the product works on the kernel of this host, on threads that all of it shares."""

from ovsdriver.adapters.kernel.host.nics import KernelNics
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.adapters.kernel.qdisc_port import KernelShapes
from ovsdriver.adapters.kernel.sandbox.sandboxes import KernelSandboxes


class Kernel:
    """Links, queues and NICs of the network namespace of the thread that makes the first call.

    And containers' namespaces beside it.
    """

    def __init__(self, *, owner: str, timeout_s: float = 5.0, held_s: float = 4.0) -> None:
        """Prepare.

        Args:
            owner: the instance's name, which is in our marks.
            timeout_s: what a call may take at most.
            held_s: how much of that a vswitchd may take to come back and hold its taps.
        """
        self._netlink = Netlink(timeout_s=timeout_s)
        self.links = KernelLinks(self._netlink, owner=owner, held_s=held_s)
        self.shapes = KernelShapes(self._netlink)
        self.nics = KernelNics(self._netlink)
        self.sandboxes = KernelSandboxes(self._netlink)

    async def close(self) -> None:
        """Finish what was asked for, delete what is marked for deletion and end the threads."""
        await self._netlink.close()
        await self.links.close()
