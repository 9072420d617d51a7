"""``ovsnet check``."""

import asyncio
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import click

from ovsdriver.adapters.engine import DockerEngine
from ovsdriver.adapters.kernel.host.datapath import default_receive_buffer, kernel_has_openvswitch
from ovsdriver.cli import show
from ovsdriver.cli.doctor import Finding, Level, docker, forwarding, host, openvswitch, webhooks
from ovsdriver.cli.doctor.verdict import print_findings
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit, Refusal
from ovsdriver.cli.programs import Programs
from ovsdriver.config import DEFAULT_PATH, PATH_VARIABLE, Settings
from ovsdriver.errors import ConfigurationError

_DOCKER_S = 5.0


@click.command(name="check", epilog=EXIT_CODES)
@settings_of(
    "plugin_dir", "run_dir", "state_dir", "ovsdb", "docker", "instance", "datapath", "spaces"
)
@JSON
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, programs: Programs, settings: Settings, as_json: bool) -> None:
    """Say what this host lacks, and what to type; changes nothing.

    Works before ovsnet runs, and while it does. Each line is `ok`, `warn` (it works, but not as
    well as it could) or `fail` (mend this first); the exit code is 1 if any line is `fail`.

    \b
    Examples:
      ovsnet check
      ovsnet check --ovsdb tcp:127.0.0.1:6640
      ovsnet check --json | jq '.[] | select(.level != "ok")'
    """
    try:
        findings = asyncio.run(_examine(settings, programs))
    except ConfigurationError as error:
        raise Refusal(str(error)) from error
    if as_json:
        show.as_json([asdict(each) for each in findings])
    else:
        print_findings(
            findings,
            bad="{} to mend before ovsnet can work",
            warned="ovsnet can work here; {}",
        )
    ctx.exit(Exit.REFUSED if any(each.level is Level.FAIL for each in findings) else Exit.OK)


async def _examine(settings: Settings, programs: Programs) -> list[Finding]:
    engine = DockerEngine(settings.docker, timeout_s=_DOCKER_S)
    dockerd = shutil.which("dockerd") is not None
    nftables = host.nftables()
    switch, daemon, sockets = await asyncio.gather(
        openvswitch.look(
            settings.ovsdb,
            loaded=kernel_has_openvswitch(),
            receive_buffer=default_receive_buffer(),
        ),
        docker.examine(engine, address=settings.docker, installed=dockerd),
        host.sockets(settings),
    )
    findings = [
        host.user(os.geteuid()),
        *openvswitch.judge(switch, settings.datapath),
        *daemon,
        *sockets,
        host.state(settings.state_dir),
        nftables,
    ]
    if settings.webhooks:
        file = Path(os.environ.get(PATH_VARIABLE, DEFAULT_PATH))
        findings += await webhooks.examine(settings.webhooks, file)
    if settings.ovn_northbound:
        # Only who is in a fleet pays for reading it.
        from ovsdriver.cli.doctor import fleet

        findings += fleet.judge(await fleet.look(settings))
    if nftables.level is Level.OK:
        findings += await forwarding.examine(programs.findings(settings))
    return findings
