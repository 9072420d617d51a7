"""The port :class:`~ovsdriver.ports.Shapes` on the kernel's queueing disciplines."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from netaddr import EUI

from ovsdriver.adapters.kernel.codec import disciplines, qdiscs
from ovsdriver.adapters.kernel.codec.link_messages import find_link, find_veths, link_name
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.domain.records.options.shaping import NO_NETEM, NO_QUEUES, LinkShape
from ovsdriver.errors import ConflictError, UnsupportedError

_LOOPBACK = 1
"""Index of the loopback in every network namespace."""

_NO_KIND = {
    "netem": NO_NETEM,
    "tbf": "ovs.rate: this host's kernel has no token bucket; load it (modprobe sch_tbf), or "
    "leave the option out",
    **dict.fromkeys(("htb", "pfifo_head_drop", "u32"), NO_QUEUES),
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

        def work(routes: RouteSocket) -> bool:
            ours = find_veths(routes, mac.packed)
            for each in ours:
                qdiscs.ensure(routes, each.index, shape)
            return bool(ours)

        what = f"shaping the container's link in sandbox {sandbox}"
        with _worded(what):
            return bool(await self._netlink.ask_apart(what, lambda: entering.inside(sandbox, work)))

    async def observed(self) -> Mapping[str, LinkShape]:
        def work(routes: RouteSocket) -> Mapping[str, LinkShape]:
            found = qdiscs.observed(routes)
            return {name: found[index] for index in found if (name := link_name(index))}

        return await self._netlink.ask("reading queueing disciplines", work)

    async def able(self, shape: LinkShape) -> bool:
        """Try it on the loopback of a new network namespace, which ends with its thread."""

        def work() -> bool:
            entering.leave_for_new()
            with closing(RouteSocket()) as routes:
                try:
                    qdiscs.ensure(routes, _LOOPBACK, shape)
                except disciplines.NoSuchKindError:
                    return False
            return True

        return await self._netlink.ask_apart("trying to shape a link", work, name="shaping")

    def same(self, one: LinkShape, other: LinkShape) -> bool:
        return qdiscs.same(one, other)


@contextmanager
def _worded(what: str) -> Iterator[None]:
    try:
        yield
    except disciplines.NoSuchKindError as error:
        raise UnsupportedError(_NO_KIND[str(error)]) from error
    except qdiscs.ForeignError as error:
        raise ConflictError(
            f"{what}: the queueing discipline {error} is there, and ovsnet did not set it; remove "
            "it with `tc qdisc del`, or leave the option out"
        ) from error
