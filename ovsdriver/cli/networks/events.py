"""``ovsnet events``."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import click

from ovsdriver.admin import asks
from ovsdriver.admin.events.views import EventReport
from ovsdriver.cli import show
from ovsdriver.cli.daemon import NotRunning, ask, follow, typed
from ovsdriver.cli.flags import settings_of
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.words.values import printable, quote

_AGO = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGAIN_S = 1.0

GONE = "events that came after are no longer kept; what follows is all there is"
LOST = "the connection ended; waiting for ovsnet"


class Since(click.ParamType[float]):
    """``1h``, or a time."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds since the epoch."""
        text = str(value)
        ago = _AGO.fullmatch(text)
        if ago is not None:
            return time.time() - int(ago[1]) * _UNITS[ago[2]]
        try:
            at = datetime.fromisoformat(text)
            return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail(
                f"{quote(text)} is not 90s, 15m, 1h, 2d, or a time as 2026-11-29T10:05", param, ctx
            )


@click.command(name="events", epilog=EXIT_CODES)
@click.option("--since", type=Since(), metavar="TIME", help="From then on: 15m, 1h, 2d, or a time.")
@click.option("--network", default="", metavar="NAME", help="Only those of one network.")
@click.option("--container", default="", metavar="NAME", help="Only those of one container.")
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only these: link, link.down,lease, …"
)
@click.option("--initial-state", is_flag=True, help="First tell what is there now.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with what happens.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@settings_of("run_dir")
def command(
    settings: Settings,
    since: float | None,
    network: str,
    container: str,
    types: tuple[str, ...],
    initial_state: bool,
    following: bool,
    as_json: bool,
) -> None:
    """Tell what happened: networks, containers, links, addresses, repairs, and who did it.

    Seven days are kept, the newest 100,000 events at most. Without --since: of the last 24 hours;
    with -f alone: from now on. Following goes on where it was when ovsnet was restarted.

    Types: network, endpoint, lease, link and uplink (carrier), port (of others), conflict (an
    address is in use), repair, switch, docker, host, process. A cause is docker, user,
    repair, cleanup or ovsnet.

    \b
    Examples:
      ovsnet events
      ovsnet events --since 1h --network lab
      ovsnet events -f --type link,conflict,repair
      ovsnet events --json --container web | jq -r '.time + " " + .action'
    """
    wanted = typed(
        asks.ListEvents,
        network=network,
        container=container,
        types=[each for text in types for each in text.split(",") if each],
        initial_state=initial_state,
    )
    if since is None and (initial_state or not following):
        since = time.time() - (0 if following else _UNITS["d"])
    with suppress(KeyboardInterrupt):
        for event in _told(settings, wanted, since, following=following):
            click.echo(show.json_text(event) if as_json else _line(event))


def _told(
    settings: Settings, wanted: asks.ListEvents, since: float | None, *, following: bool
) -> Iterator[EventReport]:
    last: int | None = None
    if since is not None:
        page = ask(settings, replace(wanted, since=since))
        yield from page.events
        while page.more:
            page = ask(settings, replace(wanted, after=page.last, initial_state=False))
            yield from page.events
        last = page.last
    waiting = False
    while following:
        try:
            for heard in follow(settings, wanted, last):
                waiting = False
                last = heard.last
                if heard.missed:
                    _say(GONE)
                if heard.event is not None:
                    yield heard.event
        except NotRunning:
            if last is None:
                raise
        if not waiting:
            _say(LOST)
            waiting = True
        time.sleep(_AGAIN_S)


def _say(text: str) -> None:
    click.echo(f"ovsnet: {text}", err=True)


def _line(event: EventReport) -> str:
    whose = "/".join(each for each in (event.network, event.container) if each)
    by = event.attributes.get("by")
    said = [f"{key}={value}" for key, value in event.attributes.items() if key != "by"]
    if event.endpoint and not event.container:
        said.insert(0, f"endpoint={show.short(event.endpoint)}")
    cause = f"({event.cause} {by})" if by else f"({event.cause})" if event.cause else ""
    at = f"{event.time[:10]} {event.time[11:-1]}"
    what = f"{event.type} {event.action}"
    return printable(
        "  ".join((at, f"{what:<18}", f"{whose or '-':<16}", " ".join((*said, cause))))
    )
