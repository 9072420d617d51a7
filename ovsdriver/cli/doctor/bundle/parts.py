"""What goes into a bundle: each part by itself, so that one that fails takes no other with it."""

import asyncio
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ovsdriver import __version__
from ovsdriver.adapters.firewall.nft import Nft
from ovsdriver.adapters.kernel.netlink import started
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.tools import inspection
from ovsdriver.adapters.store.tools.snapshot import snapshot
from ovsdriver.admin import asks
from ovsdriver.admin.asks import Ask
from ovsdriver.admin.events.views import EventReport
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.doctor import rpc
from ovsdriver.cli.doctor.bundle import docker, host
from ovsdriver.cli.doctor.bundle.archive import Gathered
from ovsdriver.cli.doctor.bundle.secrets import cleared
from ovsdriver.cli.doctor.whole_host import examine
from ovsdriver.cli.outcome import Refusal
from ovsdriver.cli.programs import Programs
from ovsdriver.config import PREFIX, Settings
from ovsdriver.domain.records.names import OWNER_KEY

TIMEOUT_S = 5.0
"""For each part."""
LAST = 2000
"""Events, and lines of the log."""

_TABLES = ("Bridge", "Port", "Interface", "Mirror")
"""Of Open vSwitch, with rows that carry our mark."""
_NORTHBOUND = ("Logical_Switch", "Logical_Switch_Port", "Logical_Router", "DNS", "ACL")
_LOG_FILE = Path("/var/log/ovsnet.log")
_LOG_BYTES = 2_000_000
_SANDBOXES = 100


class MissingError(Exception):
    """A part that there is not; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the bundle."""

    name: str
    make: Callable[[], str]
    """Raises anything, or takes its time: both are told in the manifest."""


def every(settings: Settings, fault: str, programs: Programs) -> Iterator[Part]:
    """Yield the parts, those first that tell most.

    Args:
        settings: what is right of them.
        fault: a sentence about what is not.
        programs: what ``check`` looks with.
    """
    yield Part("versions.json", _versions)
    yield Part("check.json", lambda: _json(_checked(settings, programs)))
    yield Part("status.json", partial(_asked, settings, asks.ShowStatus()))
    yield Part("state.json", partial(_asked, settings, asks.ShowState()))
    yield Part("configuration.json", partial(_configuration, settings, fault))
    yield Part("events.json", partial(_events, settings))
    yield Part("log.txt", _log)
    yield Part("pools.json", partial(_asked, settings, asks.ListPools()))
    yield Part("ipam-check.json", partial(_store, settings))
    yield Part("metrics.txt", partial(_metrics, settings))
    yield from _open_vswitch(settings)
    yield Part("rules.json", _rules)
    for name, command in host.COMMANDS.items():
        yield Part(name, partial(run, *command))
    yield Part("sandboxes.txt", partial(_sandboxes, settings))
    yield Part("sysctls.txt", host.sysctls)
    yield Part("docker.json", lambda: _json(asyncio.run(docker.look(settings.docker))))
    if settings.ovn_northbound:
        yield Part("segments.json", partial(_asked, settings, asks.ListSegments()))
        yield Part("hosts.json", partial(_asked, settings, asks.ListHosts()))
        yield Part("northbound.txt", partial(_northbound, settings))


def gathered(part: Part) -> Gathered:
    """Make a part; one that is not made in time, or at all, says so."""
    begin = time.monotonic()
    content, failed = b"", ""
    try:
        # On a thread that nobody waits for any longer: what hangs may hang in the kernel.
        content = started(part.make, name="support").result(TIMEOUT_S).encode()
    except TimeoutError:
        failed = f"not within {TIMEOUT_S:g} s"
    except Refusal as error:
        failed = error.message
    except Exception as error:  # noqa: BLE001 - the others are worth having all the same
        failed = f"{type(error).__name__}: {error}"
    return Gathered(
        name=part.name, content=content, failed=failed, seconds=time.monotonic() - begin
    )


def _json(value: object) -> str:
    return show.json_text(cleared(json.loads(show.json_text(value))), indent=2)


def plain(settings: Settings) -> Any:
    """Return settings as JSON has them: what is no text or number in the words of its class."""
    return json.loads(json.dumps(asdict(settings), default=str))


def _asked(settings: Settings, question: Ask[Any]) -> str:
    return _json(ask(settings, question))


def _checked(settings: Settings, programs: Programs) -> Sequence[Mapping[str, Any]]:
    return [asdict(each) for each in asyncio.run(examine(settings, programs))]


def _versions() -> str:
    programs = {
        "ovs-vswitchd": ("ovs-vswitchd", "--version"),
        "ovsdb-server": ("ovsdb-server", "--version"),
        "ovn-controller": ("ovn-controller", "--version"),
        "docker": ("docker", "version"),
        "nft": ("nft", "--version"),
        "ip": ("ip", "-V"),
    }
    said = {}
    for name, command in programs.items():
        with suppress(MissingError):
            said[name] = run(*command, timeout_s=1.0).strip().splitlines()
    release = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    libraries = {}
    for requirement in importlib.metadata.requires("ovsnet") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        with suppress(importlib.metadata.PackageNotFoundError):
            libraries[name] = importlib.metadata.version(name)
    return _json(
        {
            "ovsnet": __version__,
            "python": sys.version,
            "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            "system": release.get("PRETTY_NAME", ""),
            "processors": os.cpu_count(),
            "libraries": libraries,
            "programs": said,
        }
    )


def _configuration(settings: Settings, fault: str) -> str:
    given = sorted(each for each in os.environ if each.startswith(PREFIX))
    return _json({"settings": plain(settings), "fault": fault, "variables_that_are_set": given})


def _events(settings: Settings) -> str:
    return _json(list(deque(every_event(settings), maxlen=LAST)))


def every_event(settings: Settings) -> Iterator[EventReport]:
    """Yield all that are kept, the oldest first; Refusal if they are not told."""
    page = ask(settings, asks.ListEvents(limit=asks.PAGE_MOST))
    yield from page.events
    while page.more:
        page = ask(settings, asks.ListEvents(after=page.last, limit=asks.PAGE_MOST))
        yield from page.events


def _log() -> str:
    if shutil.which("journalctl"):
        said = run(
            *("journalctl", "--unit", "ovsnet", "--lines", str(LAST), "--no-pager"),
            *("--output", "short-iso", "--no-hostname"),
        )
        if "-- No entries --" not in said and said.strip():
            return said
    with _LOG_FILE.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-LAST:])


def _store(settings: Settings) -> str:
    with snapshot(settings.state_dir / storefile.NAME) as connection:
        damage = list(inspection.damage(connection))
        found: dict[str, object] = {"damage": damage}
        if not damage:
            with suppress(sqlite3.Error):
                found["counts"] = asdict(inspection.counts(connection))
                found["faults"] = [asdict(each) for each in inspection.faults(connection)]
    return _json(found)


def _metrics(settings: Settings) -> str:
    return asyncio.run(docker.text_of(f"unix://{settings.run_dir}/admin.sock", "/metrics"))


def _open_vswitch(settings: Settings) -> Iterator[Part]:
    db = f"--db={settings.ovsdb}"
    yield Part("openvswitch/rows.json", lambda: _json(asyncio.run(_rows(settings))))
    yield Part("openvswitch/show.txt", lambda: run("ovs-vsctl", "--timeout=4", db, "show"))
    bridges: Sequence[str] = ()
    with suppress(Exception):
        bridges = asyncio.run(asyncio.wait_for(_bridges(settings), 2.0))
    for bridge in bridges:
        for what in ("flows", "groups", "meters"):
            yield Part(
                f"openvswitch/{what}/{bridge}.txt",
                partial(run, "ovs-ofctl", "-O", "OpenFlow14", f"dump-{what}", bridge),
            )
    yield Part("openvswitch/datapath.txt", lambda: run("ovs-appctl", "dpctl/dump-flows", "-m"))


async def _rows(settings: Settings) -> Mapping[str, Any]:
    """Return the rows of Open vSwitch with our mark, and what the switch says of itself."""
    ours = ["external_ids", "includes", ["map", [[OWNER_KEY, settings.instance]]]]
    said = ("ovs_version", "db_version", "datapath_types", "other_config", "external_ids")
    questions = [
        {"op": "select", "table": "Open_vSwitch", "where": [], "columns": list(said)},
        *({"op": "select", "table": each, "where": [ours]} for each in _TABLES),
    ]
    found = await rpc.ask(settings.ovsdb, "transact", ["Open_vSwitch", *questions])
    return dict(zip(("Open_vSwitch", *_TABLES), found, strict=True))


async def _bridges(settings: Settings) -> Sequence[str]:
    """Return the bridges that have a port of ours."""
    rows = await _rows(settings)
    ports = {row["_uuid"][1] for row in rows["Port"]["rows"]}
    asked = {"op": "select", "table": "Bridge", "where": [], "columns": ["name", "ports"]}
    (bridges,) = await rpc.ask(settings.ovsdb, "transact", ["Open_vSwitch", asked])
    return sorted(
        row["name"]
        for row in bridges["rows"]
        if ports & {each[1] for each in _several(row["ports"])}
    )


def _several(column: Any) -> Sequence[Any]:
    """Return the elements of a column of OVSDB's that has one or a set."""
    return column[1] if column[0] == "set" else [column]


def _rules() -> str:
    nft = Nft()
    try:
        return _json(nft.run([{"list": {"ruleset": None}}]))
    finally:
        nft.close()


def _sandboxes(settings: Settings) -> str:
    state = ask(settings, asks.ShowState())
    texts = []
    for each in state.endpoints[:_SANDBOXES]:
        if each.endpoint.sandbox:
            inside = ("nsenter", f"--net={each.endpoint.sandbox}")
            texts.append(f"--- {each.network_name}/{each.container}: {each.endpoint.id}\n")
            for what in ("link", "address", "route", "neighbour"):
                with suppress(MissingError):
                    texts.append(run(*inside, "ip", "-d", what, timeout_s=1.0))
    return "".join(texts)


def _northbound(settings: Settings) -> str:
    reach = [f"--db={','.join(settings.ovn_northbound)}", "--timeout=4", "--no-leader-only"]
    for flag, path in (
        ("--private-key", settings.ovn_private_key),
        ("--certificate", settings.ovn_certificate),
        ("--ca-cert", settings.ovn_ca),
    ):
        reach += [f"{flag}={path}"] if path is not None else []
    texts = [run("ovn-nbctl", *reach, "show")]
    texts += [f"--- {each}\n" + run("ovn-nbctl", *reach, "list", each) for each in _NORTHBOUND]
    return "".join(texts)


def run(*command: str, timeout_s: float = TIMEOUT_S - 0.5) -> str:
    """Run a program and return what it says; MissingError if it cannot, or does not end."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of the system, without a shell
            command, capture_output=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise MissingError(f"there is no program {command[0]} here") from error
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{command[0]} did not end in {timeout_s:g} s") from error
    if done.returncode and not done.stdout:
        raise MissingError(f"{command[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")
