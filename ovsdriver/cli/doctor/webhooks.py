"""Webhooks: can their servers be found, and who may read their secrets."""

import stat
from pathlib import Path

from ovsdriver.adapters.webhooks import resolves
from ovsdriver.cli.doctor.finding import Finding, ok, warn
from ovsdriver.domain.events.webhooks import Webhook

SUBJECT = "webhooks"


async def examine(webhooks: tuple[Webhook, ...], file: Path) -> list[Finding]:
    """Look up every server's name; nothing is sent."""
    lost = [each for each in webhooks if not await resolves(each.host)]
    found = [
        warn(
            SUBJECT,
            f"{each.host} of {each.shown} cannot be resolved, so its events wait",
            f"correct `url` in {file}, or what this host asks for names (/etc/resolv.conf)",
        )
        for each in lost
    ]
    if webhooks and not lost:
        found.append(ok(SUBJECT, f"{len(webhooks)} configured, and their servers have addresses"))
    if webhooks and _open(file):
        found.append(warn(SUBJECT, f"everybody may read the secrets in {file}", f"chmod o= {file}"))
    return found


def _open(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
