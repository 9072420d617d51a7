"""Network namespaces for tests: one to be in, others to talk to. Nothing is left behind.

A namespace belongs to a task, that is a thread, and is inherited by what the thread starts:
threads, programs, sockets. ``/proc/sys/net`` follows the reading task as well (``/sys/class/net``
does not: it is bound to a mount). An adapter that takes no namespace argument is therefore tested
by moving the test's own thread, which under pytest is also the event loop's, before the adapter
is made, and by moving it back afterwards:

    @pytest.fixture
    def netns() -> Iterator[Sandbox]:
        with own_namespace() as here:            # a new one, ``lo`` up
            yield here

    async def test_something(netns):
        kernel = Kernel(owner="test")       # its threads are born in the namespace
        run("ip", "link", "add", ...)            # so are programs
        with Sandbox() as container:             # a second namespace, as Docker's sandboxes are
            run("ip", "link", "set", "c1", "netns", container.path)
            container.run("ip", "link", "set", "c1", "up")

An existing namespace, such as that of a private Open vSwitch, is entered with
``inside("/run/netns/NAME")``. Whatever the test starts must end before the block does; threads
that outlive it stay in the namespace, which is why executors must not be shared between tests.
"""

import ctypes
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

_CLONE_NEWNET = 0x40000000
_CURRENT = "/proc/thread-self/ns/net"
_TIMEOUT_S = 60.0
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


def run(
    *command: str, check: bool = True, timeout_s: float = _TIMEOUT_S, stdin: str | None = None
) -> str:
    """Run a program in the namespace of the calling thread and return its output."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(command)}: {done.returncode}: {done.stderr or done.stdout}"
        )
    return done.stdout


def described(*command: str) -> Any:
    """Run a program that prints JSON (``ip -json …``, ``ethtool --json …``) and parse it."""
    return json.loads(run(*command) or "[]")


class Sandbox:
    """A network namespace of its own, alive while this object is: no mount, no name, no process.

    ``path`` is what Docker's sandbox key would be: a path that opens the namespace. It is valid
    in this process and its children.
    """

    def __init__(self) -> None:
        self._handle = _in_thread(_new_namespace)
        self.path = f"/proc/{os.getpid()}/fd/{self._handle}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; the kernel removes it with all its links when nobody is left inside."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def run(self, *command: str, **options: Any) -> str:
        """Run a program inside; options as those of the function."""
        return run("nsenter", f"--net={self.path}", *command, **options)

    def described(self, *command: str) -> Any:
        """Run a program that prints JSON inside."""
        return json.loads(self.run(*command) or "[]")

    def start(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program inside; the caller ends it."""
        return subprocess.Popen(["nsenter", f"--net={self.path}", *command], **options)

    def call(self, work: Callable[[], T]) -> T:
        """Call a function on a thread of its own that is inside, and return its result."""

        def enter_and_work() -> T:
            _enter(self._handle)
            return work()

        return _in_thread(enter_and_work)


@contextmanager
def own_namespace() -> Iterator[Sandbox]:
    """Move the calling thread into a new namespace with ``lo`` up, and back at the end."""
    with Sandbox() as here, inside(here.path):
        yield here


@contextmanager
def inside(path: str | Path) -> Iterator[None]:
    """Move the calling thread into an existing namespace, and back at the end."""
    before = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(target)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _enter(before)
    finally:
        os.close(before)


def _new_namespace() -> int:
    _check(_libc.unshare(_CLONE_NEWNET), "unshare: making network namespaces needs root")
    run("ip", "link", "set", "lo", "up")
    return os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)


def _enter(handle: int) -> None:
    _check(_libc.setns(handle, _CLONE_NEWNET), "setns")


def _check(status: int, what: str) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` on a thread that ends with it, since it changes what the thread belongs to."""
    results: list[T] = []
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
