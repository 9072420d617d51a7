"""``ovsnet ipam backup | restore | export | import``: the store as a file."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click

from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.lock import StateLock
from ovsdriver.adapters.store.newfile import new_file
from ovsdriver.adapters.store.tools.backup import backup as write_backup
from ovsdriver.adapters.store.tools.export import export as write_lines
from ovsdriver.adapters.store.tools.importing import take_over
from ovsdriver.adapters.store.tools.restore import Restored
from ovsdriver.adapters.store.tools.restore import restore as put_back
from ovsdriver.adapters.store.tools.snapshot import contents
from ovsdriver.cli import show
from ovsdriver.cli.doctor.finding import warn
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal, refusals
from ovsdriver.cli.store import ipam_check
from ovsdriver.config import Settings
from ovsdriver.errors import ConflictError

FILE = click.argument("file", type=click.Path(path_type=Path))


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
    with refusals():
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
    with refusals(), _alone(settings):
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
        ipam_check.show_findings(
            [warn(each.subject, each.text, each.remedy) for each in done.faults]
        )


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
    with refusals(), contents(settings.state_dir / storefile.NAME) as connection:
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
    with refusals(), _alone(settings), _source(file) as lines:
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


COMMANDS = (ipam_check.command, backup, restore, export, take_in)
"""For the group ``ovsnet ipam``."""
