"""``ovsnet purge``."""

import click

from ovsdriver.admin import asks
from ovsdriver.cli import show
from ovsdriver.cli.daemon import NotRunning, ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal, refusals
from ovsdriver.cli.programs import Programs
from ovsdriver.config import Settings
from ovsdriver.service.forgotten.purge import Purged

_WORDS = {
    "ports": "port",
    "bridges": "bridge",
    "links": "link",
    "networks": "network record",
    "pools": "pool",
}


@click.command(
    name="purge",
    epilog=EXIT_CODES,
    short_help="Remove everything that ovsnet made here; asks first.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@settings_of("run_dir", "state_dir", "ovsdb", "instance")
@JSON
@click.pass_obj
def command(programs: Programs, settings: Settings, yes: bool, as_json: bool) -> None:
    """Remove everything that ovsnet made on this host: ports, bridges, links, rules, records.

    Only what carries ovsnet's mark is removed; an adopted bridge loses ovsnet's ports and nothing
    else. Containers lose their networks at once. Docker's own list of networks is not touched:
    remove them with `docker network rm` first. Works whether ovsnet runs or not, and may be
    repeated.

    \b
    Examples:
      ovsnet purge
      ovsnet purge --yes --json
    """
    if not yes:
        click.confirm(
            f"This removes every port, bridge, link, rule and record marked {settings.instance!r} "
            "on this host; containers on those networks are cut off. Go on?",
            abort=True,
            err=True,
        )
    purged = _purge(programs, settings)
    if as_json:
        show.as_json(purged)
    else:
        removed = [
            show.plural(len(gone), word)
            for key, word in _WORDS.items()
            if (gone := getattr(purged, key))
        ]
        show.line(f"removed {', '.join(removed)}" if removed else "ovsnet had made nothing here")
    sentences = []
    if purged.failed:
        sentences.append(
            f"{'; '.join(purged.failed)}. Some of it is still there: mend that and type "
            "`ovsnet purge` again"
        )
    if purged.left:
        sentences.append(f"Left as they are: {'; '.join(purged.left)}")
    if sentences:
        raise Refusal(". ".join(sentences))


def _purge(programs: Programs, settings: Settings) -> Purged:
    try:
        return ask(settings, asks.Purge())
    except NotRunning:
        with refusals():
            return programs.purge(settings)
