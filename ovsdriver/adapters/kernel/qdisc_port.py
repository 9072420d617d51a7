"""The port :class:`~ovsdriver.ports.Shapes` on the kernel's queueing disciplines."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from netaddr import EUI

from ovsdriver.adapters.kernel.codec import qdiscs
from ovsdriver.adapters.kernel.codec.link_messages import all_links, find_link
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.domain.records.shaping import LinkShape
from ovsdriver.errors import ConflictError, UnsupportedError

_LOOPBACK = 1
"""Index of the loopback in every network namespace."""

_NO_KIND = {
    "netem": "ovs.delay, ovs.jitter and ovs.loss: this host's kernel has no netem; load it "
    "(modprobe sch_netem; on Ubuntu it is in linux-modules-extra), or leave them out",
    "tbf": "ovs.rate: this host's kernel has no token bucket; load it (modprobe sch_tbf), or "
    "leave the option out",
}


class KernelShapes:
    """Shapes links of the namespace that the daemon runs in, and of those of containers."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    async def on_host(self, link: str, shape: LinkShape) -> bool:
        def work(routes: RouteSocket) -> bool:
            found = find_link(routes, link)
            return found is not None and qdiscs.ensure(routes, found.index, shape)

        what = f"shaping link {link}"
        with _worded(what):
            return await self._netlink.ask(what, work)

    async def inside(self, sandbox: str, mac: EUI, shape: LinkShape) -> bool:
        """Shape every veth with that MAC, as two networks may give a container the same."""

        def work() -> bool:
            with closing(RouteSocket()) as routes:
                ours = [e for e in all_links(routes) if e.kind == "veth" and e.mac == mac.packed]
                for each in ours:
                    qdiscs.ensure(routes, each.index, shape)
            return bool(ours)

        def enter() -> bool:
            return entering.is_alive(sandbox) and entering.call_inside(sandbox, work)

        what = f"shaping the container's link in sandbox {sandbox}"
        with _worded(what):
            return await self._netlink.ask_apart(what, enter)

    async def observed(self) -> Mapping[str, LinkShape]:
        def work(routes: RouteSocket) -> Mapping[str, LinkShape]:
            found = qdiscs.observed(routes)
            return {_name(index): shape for index, shape in found.items() if _name(index)}

        return await self._netlink.ask("reading queueing disciplines", work)

    async def can_impair(self) -> bool:
        """Try it on the loopback of a new network namespace, which ends with its thread."""

        def work() -> bool:
            entering.leave_for_new()
            with closing(RouteSocket()) as routes:
                try:
                    qdiscs.ensure(routes, _LOOPBACK, LinkShape(delay_us=1))
                except qdiscs.NoSuchKindError:
                    return False
            return True

        return await self._netlink.ask_apart("trying netem", work, name="netem")

    def same(self, one: LinkShape, other: LinkShape) -> bool:
        return qdiscs.same(one, other)


@contextmanager
def _worded(what: str) -> Iterator[None]:
    try:
        yield
    except qdiscs.NoSuchKindError as error:
        raise UnsupportedError(_NO_KIND[str(error)]) from error
    except qdiscs.ForeignError as error:
        raise ConflictError(
            f"{what}: somebody has put the queueing discipline {error} there, which is not "
            "ours to replace; remove it, or leave the option out"
        ) from error


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
