"""The unix sockets that we listen on: made, or taken over from systemd, and removed.

A driver's name is the file name of its socket (moby, pkg/plugins/discovery.go). All of this is
synchronous and quick, so that it can happen before anything slow: from ``listen(2)`` on, the
kernel queues dockerd's calls, instead of dockerd waiting 15 s for each.
"""

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovsdriver.errors import ConfigurationError, ConflictError, UnavailableError
from ovsdriver.http.server import BACKLOG

SOCKET_MODE = 0o600
GROUP_SOCKET_MODE = 0o660
PLUGIN_DIR_MODE = 0o755
RUN_DIR_MODE = 0o700
GROUP_RUN_DIR_MODE = 0o710
"""A group may go in, to the one socket that is its own; what else is there stays hidden."""

PATH_BYTES = 107
"""``sun_path`` is 108 with the closing NUL (unix(7))."""

FIRST_PASSED = 3
"""systemd passes sockets from this descriptor on (sd_listen_fds(3))."""

_ANSWER_S = 2.0
"""How long whoever holds a socket has to take a connection."""
_LOCK_S = 5.0
"""How long another process may keep us from a directory: it makes or removes a socket there."""
_LOCK_STEP_S = 0.02


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that listens, and whether its file is ours to remove."""

    path: Path
    sock: socket.socket
    adopted: bool
    """systemd made it and keeps it: between two processes of ours calls wait in it."""
    inode: tuple[int, int, int] | None = None
    """Device, inode and change time of its file, where it is ours: file systems give the number
    of an inode again, to the socket of our successor for example."""

    def remove(self) -> bool:
        """Remove the file, if it is ours and still this socket's; False if it is not.

        The socket itself belongs to whoever serves it. dockerd repeats a call to a file that is
        gone, as it does one that is refused.
        """
        if self.adopted:
            return False
        # What cannot be removed at the end of the process is replaced at its next start.
        with contextlib.suppress(OSError, UnavailableError), _sole(self.path.parent):
            if _inode(self.path) == self.inode:
                self.path.unlink()
                return True
        return False


def prepare(directory: Path, mode: int) -> None:
    """Make a directory for sockets, with ``mode``; one that exists is left as it is.

    Raises:
        ConfigurationError: it cannot be made, or is something else.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(exist_ok=False)
        directory.chmod(mode)  # whatever the umask says
    except FileExistsError as error:
        if not directory.is_dir():
            raise ConfigurationError(f"{directory} is not a directory; remove it") from error
    except OSError as error:
        raise ConfigurationError(
            f"{directory} cannot be made: {error.strerror}; run ovsnet as root, or name another "
            "directory"
        ) from error


def admit(directory: Path, group: str) -> int:
    """Let the members of ``group`` reach a socket in ``directory``; returns the group's number.

    Raises:
        ConfigurationError: there is no such group, or it cannot be given the directory.
    """
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigurationError(
            f"view_group: there is no group {group}, so only root may look; type `groupadd "
            f"--system {group}` and restart ovsnet"
        ) from error
    try:
        # What is so already is left: under systemd the unit says it, and may not be allowed to.
        if directory.stat().st_gid != number:
            os.chown(directory, -1, number)
        if not stat.S_IMODE(directory.stat().st_mode) & stat.S_IXGRP:
            directory.chmod(GROUP_RUN_DIR_MODE)
    except OSError as error:
        raise ConfigurationError(
            f"view_group: {directory} cannot be given to group {group}: {error.strerror}, so only "
            "root may look; put Group= into the unit of ovsnet"
        ) from error
    return number


def listen(
    path: Path,
    passed: Mapping[Path, socket.socket] | None = None,
    *,
    group: int | None = None,
) -> ListeningSocket:
    """Return a socket that listens on ``path``: the one that systemd passed, else a new one.

    A file that nobody listens on any more is replaced. ``group`` may speak to it, too.

    Raises:
        ConflictError: another process answers there.
        ConfigurationError: the path cannot be used.
    """
    for given, sock in (passed or {}).items():
        if _same(given, path):
            return ListeningSocket(path, sock, adopted=True)
    if len(os.fsencode(path)) > PATH_BYTES:
        raise ConfigurationError(
            f"{path} has more than {PATH_BYTES} bytes, the most that a socket's path may have; "
            "name a directory with a shorter path"
        )
    try:
        with _sole(path.parent):
            _clear(path)
            sock = _bound(path, group)
            return ListeningSocket(path, sock, adopted=False, inode=_inode(path))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be made: {error.strerror}; run ovsnet as root, or name another "
            "directory"
        ) from error


def passed_by_systemd(
    environ: Mapping[str, str], *, pid: int | None = None, first: int = FIRST_PASSED
) -> Mapping[Path, socket.socket]:
    """Return the listening unix sockets that systemd passed, by their addresses.

    By address and not by name (``LISTEN_FDNAMES``, which only words the errors): a unit with
    one ``FileDescriptorName=`` for several sockets, or none, works as well.

    Raises:
        ConfigurationError: one is no listening unix stream socket.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid or os.getpid()) or not count.isdecimal():
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = {}
    for index in range(int(count)):
        name = (names[index] if index < len(names) else "") or f"number {index + 1}"
        path, sock = _adopted(first + index, name)
        found[path] = sock
    return found


def _adopted(descriptor: int, name: str) -> tuple[Path, socket.socket]:
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        path = sock.getsockname()
    except OSError as error:
        raise ConfigurationError(
            f"systemd passed descriptor {descriptor} ({name}), which is no socket: "
            f"{error.strerror}; look at the socket units of ovsnet"
        ) from error
    kind = (sock.family, sock.type, bool(listening))
    if kind != (socket.AF_UNIX, socket.SOCK_STREAM, True) or not isinstance(path, str) or not path:
        sock.detach()
        raise ConfigurationError(
            f"systemd passed socket {name}, which is not a listening unix stream socket with a "
            "path; look at ListenStream= in the socket units of ovsnet"
        )
    return Path(path), sock


def _clear(path: Path) -> None:
    """Remove what is left at ``path`` of a process that has ended."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(f"{path} is there and is not a socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_S)
        try:
            probe.connect(os.fspath(path))
            holder = _peer(probe)
        except ConnectionRefusedError:
            path.unlink()
            return
        except (TimeoutError, BlockingIOError):  # somebody listens, whose queue is full
            holder = ""
    raise ConflictError(
        f"another process{holder} answers on {path}; stop it, or start this one with a "
        "--plugin-dir and --run-dir of its own"
    )


def _bound(path: Path, group: int | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file takes the socket's mode (net/unix/af_unix.c), so at no moment is it wider.
        os.fchmod(sock.fileno(), SOCKET_MODE)
        sock.bind(os.fspath(path))
        path.chmod(SOCKET_MODE)
        if group is not None:
            if path.lstat().st_gid != group:
                os.chown(path, -1, group, follow_symlinks=False)
            path.chmod(GROUP_SOCKET_MODE)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _sole(directory: Path) -> Iterator[None]:
    """Hold off other processes of ours that make or remove sockets in ``directory``.

    Else two that start at once would both find a dead socket, and the second would remove the
    living one of the first.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    end = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                raise
            if time.monotonic() > end:
                raise UnavailableError(
                    f"another process keeps {directory} locked; see `fuser -v {directory}`"
                ) from error
            time.sleep(_LOCK_STEP_S)
        else:
            return


def _peer(sock: socket.socket) -> str:
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return f" (pid {pid})" if pid else ""


def _inode(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _same(one: Path, other: Path) -> bool:
    """Whether two paths name one file: ``/var/run`` is a link to ``/run`` on most hosts."""
    return one.name == other.name and os.path.realpath(one.parent) == os.path.realpath(other.parent)
