"""Open vSwitch: the database, the daemon, the datapath."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ovsdriver.cli.doctor.finding import Finding, fail, ok, warn
from ovsdriver.cli.doctor.rpc import RpcError, ask
from ovsdriver.domain.records.segments import Datapath

TSO_KEY = "userspace-tso-enable"

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes to raise a small one to. Retransmits in 3 s of TCP between two containers, with TSO:
240,000 with the usual 212992, 15,000 with 1 MiB, 110 with this, 70 with 8 MiB."""

_SMALL_BUFFER = 1024 * 1024

_START = (
    "systemctl start openvswitch-switch (without systemd: "
    "/usr/share/openvswitch/scripts/ovs-ctl start --system-id=random)"
)


class Kernel(Enum):
    """What this kernel has of Open vSwitch. The column ``datapath_types`` does not tell: it lists
    ``system`` wherever vswitchd runs on Linux."""

    NOTHING = "nothing"
    MODULE = "module"
    """On the disk, not loaded."""
    LOADED = "loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSwitch:
    """What one look found."""

    address: str
    installed: bool = True
    fault: str = ""
    """Why the database cannot be read; then nothing below is known."""
    row: bool = True
    """The database has its one ``Open_vSwitch`` row."""
    version: str = ""
    taken: bool = False
    """Some vswitchd has worked with this database."""
    tso: bool = False
    vswitchd: bool | None = None
    """It answers; None: that cannot be seen from here."""
    behind: bool = False
    """There are changes that no vswitchd has taken."""
    kernel: Kernel = Kernel.NOTHING
    receive_buffer: int | None = None
    """Bytes that a socket holds by default, such as that of a userspace port; None: unknown."""


async def look(address: str, *, loaded: bool, receive_buffer: int | None = None) -> SeenSwitch:
    """Ask the database at ``address``, the daemon beside it, and the kernel.

    Args:
        address: ``unix:PATH`` or ``tcp:HOST:PORT``.
        loaded: whether the kernel has the datapath now.
        receive_buffer: bytes, the kernel's default for new sockets; None if that is unknown.
    """
    installed = shutil.which("ovs-vsctl") is not None
    columns = ["cur_cfg", "next_cfg", "ovs_version", "datapath_types", "other_config"]
    select = {"op": "select", "table": "Open_vSwitch", "where": [], "columns": columns}
    try:
        (answer,) = await ask(address, "transact", ["Open_vSwitch", select])
        rows = answer["rows"]
    except RpcError as error:
        return SeenSwitch(address=address, installed=installed, fault=str(error))
    except (TypeError, ValueError, KeyError) as error:
        return SeenSwitch(
            address=address,
            installed=installed,
            fault=f"it has no Open_vSwitch database ({type(error).__name__})",
        )
    if not rows:
        return SeenSwitch(address=address, row=False)
    row: Mapping[str, Any] = rows[0]
    vswitchd, version = await _daemon(address)
    return SeenSwitch(
        address=address,
        version=version or "".join(_values(row["ovs_version"])),
        taken=bool(_values(row["datapath_types"])),
        tso=dict(row["other_config"][1]).get(TSO_KEY) == "true",
        vswitchd=vswitchd,
        behind=row["cur_cfg"] < row["next_cfg"],
        kernel=Kernel.LOADED if loaded else await asyncio.to_thread(_on_disk),
        receive_buffer=receive_buffer,
    )


def judge(seen: SeenSwitch, wanted: Datapath | None) -> list[Finding]:
    """Say what to make of it; ``wanted`` is the configured datapath."""
    database = "Open vSwitch database"
    if seen.fault:
        text = f"{seen.address} cannot be reached: {seen.fault}"
        if not seen.installed:
            return [fail(database, text, "apt install openvswitch-switch")]
        return [fail(database, text, f"{_START}; if it listens elsewhere, give --ovsdb ADDRESS")]
    if not seen.row:
        return [fail(database, f"{seen.address} is empty", "ovs-vsctl --no-wait init")]
    findings = [ok(database, f"{seen.address} answers")]
    findings.append(_running(seen))
    return findings + _datapath(seen, wanted)


def _running(seen: SeenSwitch) -> Finding:
    subject = "ovs-vswitchd"
    version = f", version {seen.version}" if seen.version else ""
    if seen.vswitchd is False or not seen.taken:
        return fail(subject, "does not run, so no bridge and no port will work", _START)
    if seen.behind:
        return warn(
            subject,
            "has not taken the newest changes of the database",
            "wait a moment and check again; if that stays, look at ovs-vswitchd.log",
        )
    if seen.vswitchd is None:
        return ok(subject, f"has taken every change of the database{version}")
    return ok(subject, f"runs{version}")


def _datapath(seen: SeenSwitch, wanted: Datapath | None) -> list[Finding]:
    subject = "datapath"
    if seen.kernel is Kernel.LOADED and wanted is not Datapath.NETDEV:
        return [ok(subject, "system: the kernel's")]
    load = "modprobe openvswitch, then restart Open vSwitch"
    if wanted is Datapath.SYSTEM:
        return [
            fail(
                subject,
                "system is configured, but the kernel has no openvswitch",
                f'{load}; or configure datapath = "netdev"',
            )
        ]
    if seen.kernel is Kernel.MODULE and wanted is None:
        found = warn(subject, "netdev: the kernel's openvswitch module is not loaded", load)
    else:
        why = "as configured" if wanted else "this kernel has no openvswitch module"
        found = ok(subject, f"netdev: in userspace, {why}")
    return [found, _tso(seen), *_receive_buffer(seen)]


def _tso(seen: SeenSwitch) -> Finding:
    subject = "userspace TSO"
    if seen.tso:
        return ok(subject, "on")
    return warn(
        subject,
        "off: TCP between containers is 6 to 10 times slower than it could be",
        f"ovs-vsctl set Open_vSwitch . other_config:{TSO_KEY}=true, then restart ovs-vswitchd "
        "(which interrupts traffic for a moment)",
    )


def _receive_buffer(seen: SeenSwitch) -> list[Finding]:
    """Judge what each port's packets wait in until vswitchd reads them."""
    if seen.receive_buffer is None:
        return []
    subject = "receive buffer"
    if seen.receive_buffer >= _SMALL_BUFFER:
        return [ok(subject, f"{seen.receive_buffer} bytes for a new port")]
    setting = f"net.core.rmem_default={RECEIVE_BUFFER}"
    return [
        warn(
            subject,
            f"{seen.receive_buffer} bytes for a new port, too few: packets between containers are "
            "lost, and TCP repeats them all the time",
            f"sysctl -w {setting}, put the same into a file in /etc/sysctl.d, then restart "
            "ovs-vswitchd; the Ansible role openvswitch does all that (openvswitch_receive_buffer)",
        )
    ]


async def _daemon(address: str) -> tuple[bool | None, str]:
    """Return whether a vswitchd answers on a control socket beside the database's, and its version.

    The database's ``ovs_version`` is what the start script wrote there, if there was one.
    """
    kind, _, place = address.partition(":")
    if kind != "unix":
        return None, ""
    sockets = await asyncio.to_thread(lambda: sorted(Path(place).parent.glob("*vswitchd*.ctl")))
    for each in sockets:
        try:
            answer = await ask(f"unix:{each}", "version", [])
        except RpcError:
            continue  # of a daemon that was killed
        # "ovs-vswitchd (Open vSwitch) 3.5.0", and lines about what it was built with
        return True, str(answer).partition("\n")[0].rpartition(" ")[2]
    return (False if sockets else None), ""


def _on_disk() -> Kernel:
    folder = Path("/lib/modules") / os.uname().release
    found = any(folder.glob("kernel/net/openvswitch/openvswitch.ko*"))
    return Kernel.MODULE if found else Kernel.NOTHING


def _values(column: Any) -> Sequence[Any]:
    """Return a column's values: a set is written ``["set", [...]]``, one value alone (RFC 7047)."""
    if isinstance(column, list) and column and column[0] == "set":
        values: Sequence[Any] = column[1]
        return values
    return [column]
