"""Lines for ``docker``, typed for the user; the network is Docker's, so Docker makes it."""

import shlex
import subprocess
from collections.abc import Sequence

from ovsdriver.cli import show
from ovsdriver.cli.outcome import Refusal
from ovsdriver.config import Settings

_PATIENCE_S = 120.0


def run(settings: Settings, words: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    """Type ``docker WORDS`` and say so, or only say so; Refusal with what Docker refuses it with.

    What Docker prints, such as the id of a network, is passed on.
    """
    line = shlex.join(["docker", *words])
    if not as_json:
        show.line(line)
    said = "" if dry_run else _type(settings, words)
    if as_json:
        show.as_json({"line": line, "typed": not dry_run, "answer": said})
    elif said:
        show.line(said)


def _type(settings: Settings, words: Sequence[str]) -> str:
    command = ["docker", "--host", settings.docker, *words]
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system, and words that were checked
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"docker cannot be asked ({error}); type the line yourself") from error
    if done.returncode:
        raise Refusal(
            (done.stderr or done.stdout).strip() or f"docker ended with {done.returncode}"
        )
    return done.stdout.strip()
