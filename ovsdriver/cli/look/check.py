"""``ovsnet check``."""

import asyncio
from dataclasses import asdict

import click

from ovsdriver.cli import show
from ovsdriver.cli.doctor import Finding, Level, forwarding
from ovsdriver.cli.doctor.verdict import print_findings
from ovsdriver.cli.doctor.whole_host import examine
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit, Refusal
from ovsdriver.cli.programs import Programs
from ovsdriver.config import Settings
from ovsdriver.errors import ConfigurationError


@click.command(name="check", epilog=EXIT_CODES)
@click.argument("name", required=False, metavar="[NAME]")
@settings_of(
    "plugin_dir", "run_dir", "state_dir", "ovsdb", "docker", "instance", "datapath", "spaces"
)
@JSON
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context, programs: Programs, settings: Settings, name: str | None, as_json: bool
) -> None:
    """Say what this host lacks, or what is wrong with one container or network, and what to type.

    Works before ovsnet runs, and while it does; changes nothing. Each line is `ok`, `warn` (it
    works, but not as well as it could) or `fail` (mend this first). The exit code is 1 if any line
    is `fail`. With NAME: its ports and addresses, late repairs, traces to its gateway, to the
    outside, to name servers and to its published ports, and of this host what concerns it.

    \b
    Examples:
      ovsnet check
      ovsnet check web
      ovsnet check lab
      ovsnet check --ovsdb tcp:127.0.0.1:6640
      ovsnet check --json | jq '.[] | select(.level != "ok")'
    """
    try:
        findings = (
            asyncio.run(examine(settings, programs))
            if name is None
            else _of_one(settings, programs, name)
        )
    except ConfigurationError as error:
        raise Refusal(str(error)) from error
    if as_json:
        show.as_json([asdict(each) for each in findings])
    else:
        print_findings(
            findings,
            bad=f"{{}} to mend before {name or 'ovsnet'} can work",
            warned=f"{name or 'ovsnet'} can work here; {{}}",
        )
    ctx.exit(Exit.REFUSED if any(each.level is Level.FAIL for each in findings) else Exit.OK)


def _of_one(settings: Settings, programs: Programs, name: str) -> list[Finding]:
    # Only who asks about one pays for loading what traces.
    from ovsdriver.cli.look import check_one

    found, crosses, over_hosts = check_one.examine(settings, name)
    skipped = {"user"} if crosses else {"user", forwarding.SUBJECT}
    of_host = asyncio.run(examine(settings, programs, fleet=over_hosts))
    concerns = [
        each
        for each in of_host
        if each.subject not in skipped and (each.level is Level.FAIL or _is_about_rules(each))
    ]
    return [*found, *concerns]


def _is_about_rules(each: Finding) -> bool:
    return each.level is Level.WARN and each.subject == forwarding.SUBJECT
