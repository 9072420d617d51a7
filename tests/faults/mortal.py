"""Our process, mortal: it is killed at one numbered point of one call. Arguments as ``ovsnet``'s.

A point is the moment before the process does something that outlasts it, or asks somebody to:

- each await of a port by the call's own task that may change something (a record, a row, a link,
  a rule, a lease);
- inside of the adapters each message that changes something in the kernel (a link, an address, a
  switch in ``/proc/sys``, a transaction of nftables, an offload), on whatever thread that is;
- a transaction of OVSDB that is committed, before vswitchd has acted on it;
- the answer.

So between two points the world outside does not change on behalf of the call, and killing the
process at each of them is killing it at every moment that makes a difference. Nothing of this is
in the product: its classes are wrapped here, by name, and a name that is not there any more fails.

Two files in the folder that ``MORTAL`` names: ``doom`` says ``CALL POINT``, a number or a name, and
is read when such a call begins; ``points`` gets the name of each point of the last such call, a
line each.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial, wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from ipam.store import LeaseStore
from ovsdriver import ports
from ovsdriver.adapters.firewall.access import HostAccess
from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.adapters.firewall.nft import Nft
from ovsdriver.adapters.host_ports.sockets import KernelHostPorts
from ovsdriver.adapters.kernel import netlink
from ovsdriver.adapters.kernel.codec import ethtool, rtnetlink
from ovsdriver.adapters.kernel.codec.conntrack import Conntrack
from ovsdriver.adapters.kernel.host.nics import KernelNics
from ovsdriver.adapters.kernel.links import KernelLinks
from ovsdriver.adapters.kernel.qdisc_port import KernelShapes
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.adapters.kernel.sandbox.sandboxes import KernelSandboxes
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.adapters.ovn import OvnNorthbound
from ovsdriver.adapters.ovs.openflow.switch_flows import OvsFlows
from ovsdriver.adapters.ovs.rows import OvsSwitch
from ovsdriver.adapters.ovsdb.commit import GroupCommit
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.adapters.worker import Worker
from ovsdriver.admin import api
from ovsdriver.http.server import PluginServer
from ovsdriver.service.change.timed import TimedChanges
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.repair.reconciler import Reconciler
from tests.faults.points import changing

FOLDER = Path(os.environ.get("MORTAL", "/nowhere"))


class Doomed:
    """A call that is counted, and ends the process at its point."""

    def __init__(self, name: str, point: str) -> None:
        self._name = name
        self._point = point
        self.passed = 0
        self._over = False
        self._points = (FOLDER / "points").open("w", buffering=1)

    def reach(self, name: str) -> None:
        """Be at the next point."""
        if self._over:
            return
        self.passed += 1
        self._points.write(f"{name}\n")
        if self._point in (name, str(self.passed)):
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()  # a thread may get that far

    def end(self) -> None:
        """Have what goes on in threads count no more."""
        self._over = True

    def again(self) -> None:
        """Have the next call of the name counted in place of this one."""
        (FOLDER / "doom").write_text(f"{self._name} {self._point}")


CALL: ContextVar[Doomed | None] = ContextVar("CALL", default=None)


def reach(name: str) -> None:
    """Be at a point of the call that this is done for, if it is one that counts."""
    call = CALL.get()
    if call is not None:
        call.reach(name)


ADAPTERS: tuple[tuple[type, type], ...] = (
    (SqliteState, ports.State),
    (SqliteState, ports.HostNotes),
    (SqliteLeases, LeaseStore),
    (OvsSwitch, ports.Switch),
    (KernelLinks, ports.Links),
    (OvsFlows, ports.Flows),
    (KernelShapes, ports.Shapes),
    (KernelNics, ports.Nics),
    (HostFirewall, ports.Firewall),
    (HostAccess, ports.AccessFirewall),
    (KernelSandboxes, ports.Sandboxes),
    (KernelHostPorts, ports.HostPorts),
    (OvnNorthbound, ports.Northbound),
)
"""What the services await."""

ACTS: tuple[tuple[Any, str], ...] = (
    (rtnetlink.NetlinkSocket, "change"),
    (Sysctls, "write"),
    (ethtool, "set_tx_checksum"),
    (Conntrack, "cut"),
)
"""What changes the kernel, inside of the adapters."""


def wrap() -> None:
    """Put a point before each of them."""
    for kind, port in ADAPTERS:
        for name in changing(port):
            method = getattr(kind, name)
            wrapped = _awaited if iscoroutinefunction(method) else _called
            setattr(kind, name, wrapped(f"{kind.__name__}.{name}", method))
    for place, name in ACTS:
        what = f"{place.__name__.rpartition('.')[2]}.{name}"
        setattr(place, name, _called(what, getattr(place, name)))
    Nft.run = _transaction(Nft.run)
    GroupCommit.submit = _submitted(GroupCommit.submit)
    ThreadPoolExecutor.submit = _in_context(ThreadPoolExecutor.submit)
    Worker.do = _in_context_of_giver(Worker.do)
    netlink.started = entering.started = _started_in_context(netlink.started)
    Reconciler.reconcile = _counted_as("reconcile", Reconciler.reconcile)
    Debts.settle = _counted_as("settle", Debts.settle)
    TimedChanges.look = _counted_as("timed", TimedChanges.look)
    PluginServer._answer = _counted(PluginServer._answer, lambda _, name, *__: name)
    api._Pages.ask = _counted(
        api._Pages.ask, lambda _, ask: f"ask/{ask.match_info['word']}", whole=True
    )


def _awaited(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def reached(*arguments: Any, **named: Any) -> Any:
        reach(name)
        return await method(*arguments, **named)

    return reached


def _called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def reached(*arguments: Any, **named: Any) -> Any:
        reach(name)
        return function(*arguments, **named)

    return reached


def _transaction(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def reached(self: Nft, commands: Any) -> Any:
        if not all("list" in each for each in commands):
            reach("Nft.run")
        return run(self, commands)

    return reached


def _submitted(submit: Callable[..., Any]) -> Callable[..., Any]:
    """Have the call reach a point when its transaction was answered, and vswitchd was not."""

    @wraps(submit)
    def reached(*arguments: Any, **named: Any) -> Any:
        future = submit(*arguments, **named)
        future.add_done_callback(lambda _: reach("OVSDB committed"))
        return future

    return reached


def _in_context(submit: Callable[..., Any]) -> Callable[..., Any]:
    """Have a thread know which call it works for."""

    @wraps(submit)
    def carried(self: ThreadPoolExecutor, work: Callable[..., Any], /, *arguments: Any) -> Any:
        return submit(self, copy_context().run, work, *arguments)

    return carried


def _in_context_of_giver(do: Callable[..., Any]) -> Callable[..., Any]:
    """Have the thread of a worker know likewise, which lives on."""

    @wraps(do)
    def carried(self: Worker, job: Callable[[], None]) -> None:
        do(self, partial(copy_context().run, job))

    return carried


def _started_in_context(started: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    """Have a thread know likewise that ends with its work."""

    @wraps(started)
    def carried(work: Callable[[], Any], *, name: str) -> Future[Any]:
        return started(partial(copy_context().run, work), name=name)

    return carried


def _counted(
    answer: Callable[..., Awaitable[Any]], called: Callable[..., str], *, whole: bool = False
) -> Callable[..., Awaitable[Any]]:
    """Count a call; if it is ``whole`` with its answer, not what it leaves to the background."""

    @wraps(answer)
    async def counted(*of: Any) -> Any:
        call = doomed(called(*of))
        if call is None:
            return await answer(*of)
        CALL.set(call)  # of this task alone
        try:
            found = await answer(*of)
            reach("answer")
        finally:
            CALL.set(None)
            if whole:
                call.end()
        return found

    return counted


def _counted_as(name: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Count what goes on in the background as a call, the first that has something to do."""

    @wraps(work)
    async def counted(*of: Any) -> Any:
        call = doomed(name)
        if call is None:
            return await work(*of)
        CALL.set(call)
        try:
            return await work(*of)
        finally:
            CALL.set(None)
            call.end()
            if not call.passed:
                call.again()

    return counted


def doomed(name: str) -> Doomed | None:
    """Return the counter of a call of that name, if it was asked for; it is then used up."""
    doom = FOLDER / "doom"
    call, _, point = doom.read_text().partition(" ") if doom.exists() else ("", "", "")
    if call != name:
        return None
    doom.unlink()
    return Doomed(name, point)


if __name__ == "__main__":
    from tests.faults.hasty import be_hasty

    wrap()
    be_hasty()
