"""``ovsnet test``."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import click
from netaddr import IPAddress
from rich.console import Console

from ovsdriver.cli import show
from ovsdriver.cli.doctor.trial import report, talk
from ovsdriver.cli.doctor.trial.attempts import Attempts
from ovsdriver.cli.doctor.trial.cases import (
    CASES,
    CLEAN,
    Case,
    FailedError,
    NotTriedError,
    Outcome,
    Result,
    chosen,
    good,
)
from ovsdriver.cli.doctor.trial.played import PlayedDocker
from ovsdriver.cli.doctor.trial.stage import RefusedError, Stage
from ovsdriver.cli.doctor.trial.typed import TypedDocker
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit, Refusal
from ovsdriver.config import Settings
from ovsdriver.words import values


@click.command(name="test", epilog=EXIT_CODES, short_help="Try whether this installation is good.")
@click.option(
    "--only", metavar="CASE", multiple=True, help="Try this case, or cases that begin so."
)
@click.option("--list", "listing", is_flag=True, help="List the cases, and try none.")
@click.option(
    "--target", "targets", metavar="ADDRESS", multiple=True, help="Outside address to ping."
)
@click.option(
    "--with-docker", "image", metavar="IMAGE", help="Type docker, with containers of IMAGE."
)
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write JUnit's XML.")
@settings_of("plugin_dir", "run_dir")
@JSON
@click.pass_context
def command(
    ctx: click.Context,
    settings: Settings,
    *,
    only: Sequence[str],
    listing: bool,
    targets: Sequence[str],
    image: str | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Try whether this installation is good, with containers that talk in every way.

    Needs neither an image nor Docker: it makes Docker's calls itself, with network namespaces for
    containers, in 198.18.0.0/15 and fd6f:7673:7465::/48. All of it is removed at the end; what a
    killed test left, by the next one. Each line is `ok`, `fail` or `not tried` with the reason. The
    exit code is 1 if a case failed, or if none of those named by --only could be tried.

    \b
    Examples:
      ovsnet test
      ovsnet test --only published --only guard
      ovsnet test --only outside --target 192.0.2.7
      ovsnet test --with-docker alpine --junit ovsnet.xml
    """
    if listing:
        show.table(("CASE", "WHAT IS TRIED"), ((each.name, each.title) for each in CASES))
        return
    try:
        cases = chosen(only)
        addresses = [values.address(each) for each in targets]
    except ValueError as error:
        raise Refusal(str(error), Exit.USAGE) from error
    if os.geteuid():
        raise Refusal("making network namespaces needs root; try it as root: sudo ovsnet test")
    with _alone(settings), _told_to_end():
        stage = PlayedDocker(settings) if image is None else TypedDocker(settings, image)
        results = _tried(cases, settings, stage, addresses, quiet=as_json)
    if junit is not None:
        try:
            junit.write_bytes(report.junit(results))
        except OSError as error:
            raise Refusal(f"{junit}: {error.strerror or error}") from error
    well = good(results, only)
    if as_json:
        show.as_json({"good": well, "cases": [asdict(each) for each in results]})
    else:
        show.line()
        show.line(report.last_line(results))
    ctx.exit(Exit.OK if well else Exit.REFUSED)


def _tried(
    cases: Sequence[Case],
    settings: Settings,
    stage: Stage,
    targets: Sequence[IPAddress],
    *,
    quiet: bool,
) -> Sequence[Result]:
    """Try each case and print its line; whatever happens, remove what was made."""
    results: list[Result] = []
    try:
        stage.clear()
        with talk.Echo() as echo:
            attempts = Attempts(settings, stage, echo, targets).by_name
            for case in cases:
                with _progress(case, quiet=quiet):
                    result = _result(case, attempts[case.name])
                results.append(result)
                if not quiet:
                    show.line(report.line(result))
    except RefusedError as error:
        raise Refusal(f"what an earlier test left cannot be removed: {error}") from error
    finally:
        if not results or results[-1].name != CLEAN.name:
            _clear(stage)
    return results


def _result(case: Case, attempt: Callable[[], str]) -> Result:
    begin = time.monotonic()
    try:
        outcome, text = Outcome.OK, attempt()
    except NotTriedError as error:
        outcome, text = Outcome.NOT_TRIED, str(error)
    except (FailedError, RefusedError, OSError) as error:
        outcome, text = Outcome.FAIL, str(error)
    return Result(
        name=case.name,
        title=case.title,
        outcome=outcome,
        text=text,
        seconds=round(time.monotonic() - begin, 3),
    )


def _clear(stage: Stage) -> None:
    """Remove what was made, when nobody will tell how that went; Ctrl-C waits for it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(RefusedError, Refusal, OSError):
        stage.clear()


@contextmanager
def _progress(case: Case, *, quiet: bool) -> Iterator[None]:
    """Show what is being tried, on a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(case.title):
        yield


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Refuse a second test at once: each removes what it finds of others.

    The name is in no file system: it ends with this process, however that ends.
    """
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind(f"\0{settings.instance}-test")
        except OSError as error:
            raise Refusal("another `ovsnet test` runs on this host; wait for its end") from error
        yield


@contextmanager
def _told_to_end() -> Iterator[None]:
    """End in order when a signal says so."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
