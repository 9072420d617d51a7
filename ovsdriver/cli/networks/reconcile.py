"""``ovsnet reconcile``."""

import click

from ovsdriver.admin import asks
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit
from ovsdriver.config import Settings


@click.command(
    name="reconcile",
    epilog=EXIT_CODES,
    short_help="Check everything now, and mend what differs from the records.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be mended, and mend nothing.")
@settings_of("run_dir")
@JSON
@click.pass_context
def command(ctx: click.Context, settings: Settings, dry_run: bool, as_json: bool) -> None:
    """Check everything now, and mend what differs from the records.

    Bridges, ports, gateways, rules, published ports, and the interfaces inside of running
    containers. ovsnet does the same by itself at its start, after every change of what it made,
    and every 30 s; inside of containers every 5 minutes.

    \b
    Examples:
      ovsnet reconcile --dry-run
      ovsnet reconcile
      ovsnet reconcile --dry-run --json | jq .found
    """
    repairs = ask(settings, asks.Reconcile(dry_run=dry_run))
    if as_json:
        show.as_json(repairs)
    else:
        if not (repairs.found or repairs.failed or repairs.beyond):
            show.line("all is as recorded, nothing to mend")
        show.listed("Would be mended:", repairs.found if dry_run else ())
        show.listed("Mended:", repairs.mended, style="green")
        show.listed(
            "Could not be looked at:" if dry_run else "Could not be mended:",
            repairs.failed,
            style="red",
        )
        show.listed("For you to mend:", repairs.beyond, style="yellow")
        show.listed("Removed if Docker goes on not listing it:", repairs.doubted, style="yellow")
    ctx.exit(Exit.REFUSED if repairs.failed else Exit.OK)
