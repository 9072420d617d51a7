"""All that there is to say of this host: what ``ovsnet check`` prints."""

import asyncio
import os
import shutil
from pathlib import Path

from ovsdriver.adapters.engine import DockerEngine
from ovsdriver.adapters.kernel.host.datapath import default_receive_buffer, kernel_has_openvswitch
from ovsdriver.cli.doctor import docker, forwarding, host, openvswitch, webhooks
from ovsdriver.cli.doctor.finding import Finding, Level
from ovsdriver.cli.programs import Programs
from ovsdriver.config import DEFAULT_PATH, PATH_VARIABLE, Settings

_DOCKER_S = 5.0


async def examine(settings: Settings, programs: Programs, *, fleet: bool = True) -> list[Finding]:
    """Return what there is to say of this host; ``fleet``: of its place in one, too.

    ConfigurationError for an address of Docker's that is none.
    """
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
    if settings.ovn_northbound and fleet:
        # Only who is in a fleet pays for reading it.
        from ovsdriver.cli.doctor import fleet as hosts

        findings += hosts.judge(await hosts.look(settings))
    if nftables.level is Level.OK:
        findings += await forwarding.examine(programs.findings(settings))
    return findings
