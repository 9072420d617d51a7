"""Containers' network namespaces, by the path that Docker calls the sandbox key."""

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from ovsdriver.adapters.kernel.codec import ethtool
from ovsdriver.adapters.kernel.codec.link_messages import (
    LinkChange,
    all_links,
    change_link,
    find_veths,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.netlink import started

_CLONE_NEWNET = 0x40000000
_GLANCE = 2000
"""Processes that may be looked at: 7 microseconds each."""
_NSFS_SAMPLE = Path("/proc/self/ns/net")

T = TypeVar("T")


def is_alive(path: str) -> bool:
    """Whether ``path`` is a handle of a network namespace.

    After a crash Docker's sandbox keys stay behind as empty ordinary files, so only the file
    system tells: a live one is on nsfs.
    """
    try:
        return Path(path).stat().st_dev == _NSFS_SAMPLE.stat().st_dev
    except OSError:
        return False


def is_used(path: str, *, glance: bool = False, started: bool = False) -> bool:
    """Whether a process is in the network namespace that ``path`` is a handle of.

    With ``glance`` also True where that would take longer than some milliseconds to tell. With
    ``started`` runc's own process does not count, which waits there to become the container's:
    since engine 27 it is there before networks are.

    Docker leaves the handle of a container that has ended for a while; its processes are gone.
    The calling thread must end with this. OSError if we do not see all processes.

    ``/proc/PID/ns/net`` would tell as well, to who may trace the process: for one that has
    capabilities which we do not have that takes CAP_SYS_PTRACE (proc(5)). Each namespace has
    files of its own below ``/proc/PID/net``, and who may look at those is not asked.
    """
    if not is_alive(path):
        return False
    processes = os.listdir("/proc")  # noqa: PTH208 - a tenth of the time that Path takes
    if "1" not in processes:
        raise PermissionError(errno.EPERM, "/proc is mounted with hidepid")
    if glance and len(processes) > _GLANCE:
        return True
    wanted = call_inside(path, lambda: _namespace_of("thread-self"))
    return any(
        _namespace_of(each) == wanted and not (started and _waits(each))
        for each in processes
        if each.isdecimal()
    )


def _waits(process: str) -> bool:
    """Whether a process is ``runc init``, by the name that runc gives it."""
    try:
        return Path(f"/proc/{process}/comm").read_text().startswith("runc:[")
    except (FileNotFoundError, ProcessLookupError):
        return True


def _namespace_of(process: str) -> int:
    """Return a number of a process's network namespace; 0 of one that has ended."""
    try:
        return os.stat(f"/proc/{process}/net/dev").st_ino  # noqa: PTH116 - as above
    except (FileNotFoundError, ProcessLookupError):
        return 0


def call_inside(path: str, work: Callable[[], T]) -> T:
    """Move the calling thread into a namespace for good and do ``work`` there.

    The thread must end with it. OSError if the namespace is gone.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_namespace(handle)
    finally:
        os.close(handle)
    return work()


def inside(path: str, work: Callable[[RouteSocket], T]) -> T | None:
    """Do ``work`` in a sandbox, on a socket of its own; None if it is dead.

    The calling thread must end with this.
    """
    return call_inside(path, lambda: _with_socket(work)) if is_alive(path) else None


def visit(path: str, work: Callable[[RouteSocket], T]) -> T:
    """Do ``work`` in a sandbox, on a socket of its own, and wait for it.

    OSError if the namespace is gone.
    """
    return started(lambda: call_inside(path, lambda: _with_socket(work)), name="visit").result()


def _with_socket(work: Callable[[RouteSocket], T]) -> T:
    with closing(RouteSocket()) as routes:
        return work(routes)


def leave_for_new() -> None:
    """Move the calling thread into a network namespace of its own, which ends with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def set_offload(routes: RouteSocket, mac: bytes, *, tx: bool) -> bool:
    """Set TX checksum offload of every veth with ``mac``; False if there is none."""
    ours = find_veths(routes, mac)
    for link in ours:
        if ethtool.tx_checksum(link.name) != tx:
            ethtool.set_tx_checksum(link.name, on=tx)
    return bool(ours)


def set_mtu(routes: RouteSocket, mac: bytes, index: int, mtu: int) -> None:
    """Set the MTU of a container's end, if it is there.

    Args:
        routes: a socket in the sandbox.
        mac: the end's, as far as the container has not changed it.
        index: of the other end, in the namespace where that is.
        mtu: in bytes.
    """
    ends = [
        each
        for each in all_links(routes)
        if each.kind == "veth" and each.lower_elsewhere and each.lower_index == index
    ]
    # An end of somebody else's pair may have its other one under that number, elsewhere.
    for link in [each for each in ends if each.mac == mac] or ends:
        if link.mtu != mtu:
            change_link(routes, link.index, LinkChange(mtu=mtu))


def _set_namespace(handle: int) -> None:
    # os.setns came with Python 3.12
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
