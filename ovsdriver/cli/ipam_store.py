"""``ovsnet ipam check | backup | restore | export | import``: the store as a whole."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.text import Text

from ipam import IpamError
from ovsdriver.adapters import inspection, storefile
from ovsdriver.adapters.backup import backup as write_backup
from ovsdriver.adapters.ipam_export import export as write_lines
from ovsdriver.adapters.ipam_import import take_over
from ovsdriver.adapters.lock import StateLock
from ovsdriver.adapters.newfile import new_file
from ovsdriver.adapters.restore import Restored
from ovsdriver.adapters.restore import restore as put_back
from ovsdriver.adapters.snapshot import contents
from ovsdriver.cli import show
from ovsdriver.cli.checks import Finding, Level
from ovsdriver.cli.checks.finding import fail, ok, warn
from ovsdriver.cli.daemon import Daemon, NotRunning
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit, Refusal
from ovsdriver.config import Settings
from ovsdriver.errors import ConflictError, DriverError

LOOKS = 5
"""At what changes while it is looked at, before a difference is believed."""

PAUSE_S = 0.5
"""Between two looks: longer than any commit is on its way."""

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}

FILE = click.argument("file", type=click.Path(path_type=Path))


# check


@click.command(name="check", epilog=EXIT_CODES, short_help="Look whether the store is sound.")
@settings_of("run_dir", "state_dir")
@JSON
@click.pass_context
def check(ctx: click.Context, settings: Settings, as_json: bool) -> None:
    """Look whether the store is whole and what it holds fits together; changes nothing.

    Looks at the file, at pools and leases, at the records of networks and endpoints, and, if
    ovsnet runs, whether it counts the same addresses as its store. It goes on working meanwhile.
    The exit code is 1 if any line is `fail`.

    \b
    Examples:
      ovsnet ipam check
      ovsnet ipam check --json | jq -r '.[] | select(.level == "fail") | .text'
    """
    with _refusals():
        findings = _examine(settings)
    if as_json:
        show.as_json([asdict(each) for each in findings])
    else:
        _print(findings)
    bad = any(each.level is Level.FAIL for each in findings)
    ctx.exit(Exit.REFUSED if bad else Exit.OK)


def _examine(settings: Settings) -> list[Finding]:
    store = settings.state_dir / storefile.NAME
    with contents(store) as connection:
        damage = [_fault(each) for each in inspection.damage(connection)]
        if damage:
            return damage
        counts = inspection.counts(connection)
        limits = _limits(settings, inspection.of_spaces(connection))
    process = _compare(store, Daemon(settings))
    faults = _lasting_faults(store, once=process is None)
    subjects = {each.subject for each in faults}
    wells = {
        "file": f"{store} is whole",
        "pools": show.plural(counts.pools, "pool"),
        "leases": f"{show.plural(counts.leases, 'held address', 'held addresses')}, "
        f"{show.plural(counts.memories, 'free one', 'free ones')} remembered",
        "reservations": show.plural(counts.reservations, "reservation"),
        "networks": show.plural(counts.networks, "network record"),
        "endpoints": show.plural(counts.endpoints, "endpoint record"),
    }
    findings = []
    for subject, text in wells.items():
        findings += [_fault(each) for each in faults if each.subject == subject]
        findings += [] if subject in subjects else [ok(subject, text)]
    findings += limits
    return [*findings, process or ok("ovsnet", "does not run, so there is nothing to compare")]


def _limits(settings: Settings, spaces: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Name the spaces that hold more than the configuration allows by now."""
    findings = []
    for limit in settings.limits:
        pools, addresses = spaces.get(limit.space, (0, 0))
        for count, most, what in (
            (pools, limit.pools, "pools"),
            (addresses, limit.addresses, "held addresses"),
        ):
            if most is not None and count > most:
                text = f"space {limit.space} has {count} {what} and may have {most}"
                findings.append(warn("limits", text, "it gets no more before it has fewer"))
    return findings


def _lasting_faults(store: Path, *, once: bool) -> list[inspection.Fault]:
    """Return what is wrong at every look: the steps of one call of Docker's are several commits."""
    lasting: list[inspection.Fault] = []
    for look in range(LOOKS):
        with contents(store) as connection:
            found = list(inspection.faults(connection))
        lasting = [each for each in found if not look or each in lasting]
        if once or not lasting:
            break
        if look < LOOKS - 1:
            time.sleep(PAUSE_S)
    return lasting


def _compare(store: Path, daemon: Daemon) -> Finding | None:
    """Say whether the process counts what the store holds; None if there is no process."""
    differing: list[str] = []
    for look in range(LOOKS):
        try:
            before = _held(store)
            memory = {each["id"]: int(each["held"]) for each in daemon.pools("")}
        except NotRunning:
            return None
        except Refusal as error:
            remedy = "ovsnet status"
            return fail("ovsnet", f"could not be compared with its store: {error.message}", remedy)
        found = _differing(before, memory, _held(store))
        differing = [each for each in found if not look or each in differing]
        if not differing:
            return ok("ovsnet", f"counts the same in {show.plural(len(memory), 'pool')}")
        if look < LOOKS - 1:
            time.sleep(PAUSE_S)
    return fail(
        "ovsnet",
        f"counts other addresses than its store holds, in {', '.join(differing)}",
        "systemctl restart ovsnet, which reads the store again; containers keep running",
    )


def _held(store: Path) -> dict[str, int]:
    with contents(store) as connection:
        return dict(inspection.held(connection))


def _differing(before: dict[str, int], memory: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return the pools that stood still in the store and are counted otherwise in memory."""
    still = {pool: count for pool, count in before.items() if after.get(pool) == count}
    strange = memory.keys() - before.keys() - after.keys()
    return sorted({pool for pool in still if memory.get(pool) != still[pool]} | strange)


def _fault(fault: inspection.Fault) -> Finding:
    return fail(fault.subject, fault.text, fault.remedy)


def _print(findings: list[Finding]) -> None:
    rows: list[tuple[Text, ...]] = []
    for each in findings:
        level = Text(each.level.value, style=_STYLES[each.level])
        rows.append((level, Text(each.subject, style="bold"), Text(each.text)))
        if each.remedy:
            rows.append((Text(), Text(), Text(f"-> {each.remedy}", style="cyan")))
    show.grid(rows)
    bad = sum(each.level is Level.FAIL for each in findings)
    warned = sum(each.level is Level.WARN for each in findings)
    show.line()
    if bad:
        show.line(f"{show.plural(bad, 'thing')} wrong")
    else:
        show.line(
            f"nothing is wrong; {show.plural(warned, 'warning')}" if warned else "all is well"
        )


# backup and restore


@click.command(name="backup", epilog=EXIT_CODES, short_help="Copy the store into one file.")
@FILE
@settings_of("state_dir")
@JSON
def backup(settings: Settings, file: Path, as_json: bool) -> None:
    """Copy the store, as it is at this moment, into a new file.

    It holds everything: pools, leases, reservations, networks, endpoints. ovsnet goes on working
    meanwhile, and need not run. A file that is there is never overwritten.

    \b
    Examples:
      ovsnet ipam backup /root/ovsnet-$(date +%F).db
      ovsnet ipam restore /root/ovsnet-2026-11-24.db
    """
    with _refusals():
        made = write_backup(settings.state_dir / storefile.NAME, file)
    if as_json:
        show.as_json(_plain(asdict(made)))
    else:
        show.line(
            f"wrote {made.path}, {made.size:,} bytes: {show.plural(made.pools, 'pool')}, "
            f"{show.plural(made.leases, 'held address', 'held addresses')}, "
            f"{show.plural(made.networks, 'network')}, {show.plural(made.endpoints, 'endpoint')}"
        )


@click.command(name="restore", epilog=EXIT_CODES, short_help="Put a backup in the store's place.")
@FILE
@settings_of("state_dir")
@JSON
def restore(settings: Settings, file: Path, as_json: bool) -> None:
    """Put a backup in the place of the store, which is kept under another name.

    Only while ovsnet does not run. Works as well where the store is damaged, empty or gone. What
    was given out since the backup is not known afterwards: restart the containers that were
    started since then, so that their addresses are not given a second time.

    \b
    Examples:
      systemctl stop ovsnet.socket ovsnet
      ovsnet ipam restore /root/ovsnet-2026-11-24.db
      systemctl start ovsnet
      ovsnet ipam check
    """
    with _refusals(), _alone(settings):
        done = put_back(file, settings.state_dir / storefile.NAME, now=time.time())
    if as_json:
        show.as_json(_plain(asdict(done)))
        return
    _tell(file, done)


def _tell(file: Path, done: Restored) -> None:
    show.line(f"restored {done.store} from {file}")
    if done.damage:
        show.line(f"the old store could not be read ({done.damage})")
    for path in done.kept:
        show.line(f"the old store was kept: {path}")
    show.line("start ovsnet (systemctl start ovsnet), and restart containers newer than the backup")
    if done.faults:
        show.line()
        show.line("in the backup:")
        _print([warn(each.subject, each.text, each.remedy) for each in done.faults])


# export and import


@click.command(name="export", epilog=EXIT_CODES, short_help="Write pools and leases as text.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@settings_of("state_dir")
@JSON
def export(settings: Settings, file: Path, as_json: bool) -> None:
    """Write pools, leases and reservations, as they are at this moment, as lines of JSON.

    FILE is made, and never overwritten; without one, or with `-`, the lines go to stdout, and
    `--json` says nothing beyond them. ovsnet goes on working meanwhile, and need not run. What the
    network driver knows of networks and containers is not in it: that is what `backup` is for.

    \b
    Examples:
      ovsnet ipam export pools.jsonl
      ovsnet ipam export | jq -r 'select(.type == "lease") | .address'
    """
    with _refusals(), contents(settings.state_dir / storefile.NAME) as connection:
        if str(file) == "-":
            write_lines(connection, sys.stdout.buffer.write, now=time.time())
            return
        with new_file(file) as made, made.open("wb") as lines:
            counts = write_lines(connection, lines.write, now=time.time())
    if as_json:
        show.as_json({"path": str(file), **counts})
    else:
        show.line(f"wrote {file}: {_counted(counts)}")


@click.command(name="import", epilog=EXIT_CODES, short_help="Take over what export wrote.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@settings_of("state_dir")
@JSON
def take_in(settings: Settings, file: Path, as_json: bool) -> None:
    """Take over pools, leases and reservations that `ovsnet ipam export` wrote: all, or none.

    Only while ovsnet does not run. What is here stays; a pool that is here already, or one that
    overlaps one of its space, is refused. FILE `-` is stdin.

    \b
    Examples:
      systemctl stop ovsnet.socket ovsnet
      ovsnet ipam import pools.jsonl
      ssh old-host ovsnet ipam export | ovsnet ipam import -
      systemctl start ovsnet
    """
    store = settings.state_dir / storefile.NAME
    with _refusals(), _alone(settings), _source(file) as lines:
        name = "stdin" if str(file) == "-" else str(file)
        done = take_over(lines, store, name=name)
    if as_json:
        show.as_json(asdict(done))
        return
    show.line(f"imported into {store}: {_counted(asdict(done))}")
    if done.renumbered:
        show.line("the leases have new serials, because this store had leases or endpoints before")
    show.line("start ovsnet (systemctl start ovsnet)")


@contextmanager
def _source(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        lines = file.open("rb")
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}; nothing was imported") from error
    with lines:
        yield lines


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(
        (
            show.plural(counts["pools"], "pool"),
            show.plural(counts["leases"], "held address", "held addresses"),
            f"{show.plural(counts['memories'], 'free one', 'free ones')} remembered",
            show.plural(counts["reservations"], "reservation"),
        )
    )


# All


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    try:
        lock = StateLock.take(settings.state_dir)
    except ConflictError as error:
        raise Refusal(
            f"nothing was changed: {error}. Type `systemctl stop ovsnet.socket ovsnet`, then this "
            "again, then `systemctl start ovsnet`"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (DriverError, IpamError) as error:
        raise Refusal(str(error)) from error


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with its paths as text."""
    return {
        key: str(value)
        if isinstance(value, Path)
        else [str(each) if isinstance(each, Path) else each for each in value]
        if isinstance(value, tuple)
        else value
        for key, value in record.items()
    }


COMMANDS = (check, backup, restore, export, take_in)
"""For the group ``ovsnet ipam``."""
