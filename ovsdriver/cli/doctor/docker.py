"""Docker: there, answering, of a version that was tried; whom it asks for names."""

from ovsdriver.cli.doctor import names
from ovsdriver.cli.doctor.finding import Finding, fail, ok, warn
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Engine

SUBJECT = "Docker"

OLDEST = 26
"""The oldest of the two releases whose conversations our tests replay; the other is 29."""


async def examine(engine: Engine, *, address: str, installed: bool) -> list[Finding]:
    """Ask dockerd for its version, and see what that does about names."""
    try:
        view = await engine.read()
    except UnavailableError as error:
        if not installed:
            return [fail(SUBJECT, f"there is no dockerd here ({address})", "apt install docker.io")]
        return [fail(SUBJECT, str(error), "systemctl start docker; or give --docker ADDRESS")]
    return [judge(view.version), names.examine(view.version)]


def judge(version: str) -> Finding:
    """Say what to make of a version such as ``26.1.5+dfsg1``."""
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < OLDEST:
        return warn(
            SUBJECT,
            f"version {version} answers; ovsnet is tested with {OLDEST} and 29",
            f"upgrade to Docker {OLDEST} or newer if something behaves oddly",
        )
    return ok(SUBJECT, f"version {version} answers")
