"""``ovsnet support``."""

import os
import secrets as random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.status import Status

from ovsdriver import __version__
from ovsdriver.cli import show
from ovsdriver.cli.doctor.bundle import archive, known, parts
from ovsdriver.cli.doctor.bundle.anonymous import Anonymous
from ovsdriver.cli.doctor.bundle.archive import Gathered
from ovsdriver.cli.doctor.bundle.parts import Part
from ovsdriver.cli.doctor.bundle.secrets import Secrets, values_of
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.cli.programs import Programs
from ovsdriver.config import DEFAULT_PATH, PATH_VARIABLE, PREFIX, Settings
from ovsdriver.words.values import printable


@click.command(name="support", epilog=EXIT_CODES, short_help="Collect what a bug report needs.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write it.  [default: ovsnet-support-TIME.tar.gz here]",
)
@click.option("--anonymous", is_flag=True, help="Other names and addresses in place of yours.")
@settings_of(*("run_dir", "state_dir", "plugin_dir", "ovsdb", "docker", "instance"), salvaged=True)
@JSON
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context,
    programs: Programs,
    settings: Settings,
    fault: str,
    *,
    output: Path | None,
    anonymous: bool,
    as_json: bool,
) -> None:
    """Collect what a bug report needs into one file: states, rows, flows, rules, links, the log.

    Works while ovsnet, Docker or Open vSwitch is down: what cannot be had is named in the bundle's
    manifest.json. Each part has 5 seconds, all have 20 MB. Secrets of the configuration, labels and
    environments of containers are not in it; names and addresses are, unless --anonymous.

    \b
    Examples:
      ovsnet support
      ovsnet support --anonymous -o fault.tar.gz
    """
    now = datetime.now(UTC)
    path = output or Path(f"ovsnet-support-{now:%Y%m%d-%H%M%S}.tar.gz")
    if path.is_dir():
        raise Refusal(f"{path} is a folder; name a file, such as {path}/ovsnet-support.tar.gz")
    told = Secrets(_secrets(settings, ctx.params["config_path"]))
    replaced = Anonymous(random.token_bytes(32), known.names(settings)) if anonymous else None

    def changed(text: str) -> str:
        clean = told.text(text)
        return clean if replaced is None else replaced.text(clean)

    about = {
        "ovsnet": __version__,
        "made": now.isoformat(timespec="seconds"),
        "anonymous": anonymous,
        "root": os.geteuid() == 0,
    }
    every = list(parts.every(settings, fault, programs))
    try:
        with _progress() as progress:
            lines = archive.write(path, about, _gathered(every, progress), changed)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror or error}") from error
    if as_json:
        show.as_json({"file": str(path), "parts": [asdict(each) for each in lines]})
        return
    failed = [each for each in lines if each.failed]
    click.echo(f"{path}: {show.plural(len(lines) - len(failed), 'part')}", err=True)
    for each in failed:
        click.echo(f"  without {each.name}: {printable(each.failed)}", err=True)


def _gathered(every: Sequence[Part], progress: Status | None) -> Iterator[Gathered]:
    for number, part in enumerate(every, start=1):
        if progress is not None:
            progress.update(f"{number} of {len(every)}: {part.name}")
        yield parts.gathered(part)


@contextmanager
def _progress() -> Iterator[Status | None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status("collecting") as status:
        yield status


def _secrets(settings: Settings, named: Path | None) -> Iterator[str]:
    """Give the secrets of the configuration, also where it is wrong: a secret may be right."""
    yield from values_of(parts.plain(settings))
    file = named or Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    with suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        yield from values_of(tomllib.loads(file.read_text(encoding="utf-8")))
    for variable, text in os.environ.items():
        if variable.startswith(PREFIX):
            yield from values_of(_of_variable(variable, text), variable)


def _of_variable(variable: str, text: str) -> Any:
    with suppress(tomllib.TOMLDecodeError):
        found: Mapping[str, Any] = tomllib.loads(f"{variable.lower()} = {text}")
        return found
    return text
