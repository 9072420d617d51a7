"""Tries cases of ``ovsnet test`` on an installation that it breaks first. Runs inside of a bed.

The process is stopped meanwhile, where that is asked for, since it would mend what was broken.
Arguments: ``stop`` or ``go``, a shell command that breaks something, names of cases. The command
finds names of links and ports in WEB, DB and GATEWAY. Prints JSON: outcome and text of each case.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from ovsdriver.cli.doctor.trial.attempts import Attempts
from ovsdriver.cli.doctor.trial.cases import FailedError, NotTriedError
from ovsdriver.cli.doctor.trial.played import PlayedDocker
from ovsdriver.cli.doctor.trial.talk import Echo
from ovsdriver.config import Settings


def main(how: str, breaks: str, *cases: str) -> None:
    stage = PlayedDocker(Settings())
    found = {}
    with Echo() as echo:
        attempts = Attempts(Settings(), stage, echo, ())
        attempts.by_name["attach"]()
        pid = _process() if how == "stop" else 0
        try:
            if pid:
                os.kill(pid, signal.SIGSTOP)
            subprocess.run(["bash", "-ec", breaks], check=True, env=_names(attempts))
            for case in cases:
                found[case] = _tried(attempts, case)
        finally:
            if pid:
                os.kill(pid, signal.SIGCONT)
    stage.clear()
    print(json.dumps(found))  # noqa: T201


def _tried(attempts: Attempts, case: str) -> tuple[str, str]:
    try:
        return "ok", attempts.by_name[case]()
    except FailedError as error:
        return "fail", str(error)
    except NotTriedError as error:
        return "not tried", str(error)


def _names(attempts: Attempts) -> dict[str, str]:
    scene = attempts.scene
    return {
        **os.environ,
        "WEB": f"ovh{scene.web.endpoint[:12]}",
        "DB": f"ovh{scene.db.endpoint[:12]}",
        "GATEWAY": f"ovg{scene.near.id[:12]}",
    }


def _process() -> int:
    """Return the pid of ``ovsnet serve``, inside of the world."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        words = each.read_bytes().split(b"\0")
        if b"serve" in words[:4] and any(word.endswith(b"/ovsnet") for word in words[:3]):
            return int(each.parent.name)
    raise LookupError("ovsnet serve does not run")


if __name__ == "__main__":
    main(*sys.argv[1:])
