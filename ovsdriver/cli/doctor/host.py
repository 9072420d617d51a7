"""This host: permissions, folders, libraries, sockets."""

import asyncio
import ctypes
import os
from pathlib import Path

from ovsdriver.cli.doctor.finding import Finding, fail, ok, warn
from ovsdriver.config import Settings

LIBRARY = "libnftables.so.1"

_CONNECT_S = 2.0


def user(uid: int) -> Finding:
    """Say whether ``uid`` may do what the process does."""
    if uid == 0:
        return ok("user", "root")
    return fail(
        "user", f"uid {uid}: making links and firewall rules needs root", "sudo ovsnet check"
    )


def state(folder: Path) -> Finding:
    """Say whether records can be written to ``folder``, which need not be there yet."""
    subject = "state directory"
    there = folder
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        return fail(
            subject, f"{there} is not a directory", "move it away, or give another --state-dir"
        )
    # access(2) knows of read-only file systems too, which stop root as well.
    if not os.access(there, os.W_OK | os.X_OK):
        return fail(
            subject,
            f"{there} is not writable",
            f"make it writable for the user that runs ovsnet (ls -ld {there}; findmnt -T {there}), "
            "or give another --state-dir",
        )
    return ok(subject, f"{folder} {'is writable' if there == folder else 'can be made'}")


def nftables(library: str = LIBRARY) -> Finding:
    """Say whether the library that writes our rules can be loaded."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return fail("nftables", f"{library} is not installed", "apt install libnftables1")
    return ok("nftables", f"{library} is there")


async def sockets(settings: Settings) -> list[Finding]:
    """Say whether our process listens where Docker will look for it."""
    admin = await _listens(settings.run_dir / "admin.sock")
    named = (f"ovsipam-{each}" for each in (*settings.spaces, *settings.segments))
    names = ("ovsnet", "ovsipam", *named)
    plugins = {
        path: await _listens(path)
        for path in (settings.plugin_dir / f"{name}.sock" for name in names)
    }
    return [
        _process(admin, settings.run_dir),
        *_plugins(plugins, running=admin is True),
    ]


def _process(listens: bool | None, run_dir: Path) -> Finding:
    subject = "ovsnet"
    if listens:
        return ok(subject, f"runs; {run_dir}/admin.sock answers")
    return warn(
        subject,
        f"does not run (nobody listens on {run_dir}/admin.sock)",
        "systemctl start ovsnet, or: ovsnet serve",
    )


def _plugins(listening: dict[Path, bool | None], *, running: bool) -> list[Finding]:
    subject = "plugin sockets"
    dead = [str(path) for path, listens in listening.items() if listens is False]
    missing = [str(path) for path, listens in listening.items() if listens is None]
    if dead:
        return [
            fail(
                subject,
                f"nobody listens on {', '.join(dead)}; dockerd would wait for it when it starts",
                f"systemctl restart ovsnet; or, if it is not to run: rm {' '.join(dead)}",
            )
        ]
    if missing and running:
        return [
            fail(
                subject,
                f"{', '.join(missing)} not there although ovsnet runs",
                "start ovsnet with the --plugin-dir of this dockerd, and with the same "
                "configuration as this command",
            )
        ]
    if missing:
        return []  # said by the line about the process
    return [ok(subject, ", ".join(map(str, listening)))]


async def _listens(path: Path) -> bool | None:
    """Whether somebody accepts connections on ``path``; None if it is not there."""
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_unix_connection(path)
            writer.close()
            await writer.wait_closed()
    except FileNotFoundError:
        return None
    except (OSError, TimeoutError):
        return False
    return True
