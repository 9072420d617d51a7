"""``ovsnet firewalld``."""

import shutil
import subprocess
from pathlib import Path

import click

from ovsdriver.cli import show
from ovsdriver.cli.flags import JSON
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.domain.records.names import GATEWAY_PREFIX

_ZONE = f"""\
<?xml version="1.0" encoding="utf-8"?>
<zone>
  <short>ovsnet</short>
  <description>Gateways of Docker networks of ovsnet: containers reach no service of this host but \
those that this zone names.</description>
  <interface name="{GATEWAY_PREFIX}+"/>
</zone>
"""
_POLICY = """\
<?xml version="1.0" encoding="utf-8"?>
<policy target="ACCEPT">
  <short>{name}</short>
  <description>What goes {way} containers: the rules of ovsnet say what of it passes.</description>
  <ingress-zone name="{ingress}"/>
  <egress-zone name="{egress}"/>
</policy>
"""
FILES = {
    "zones/ovsnet.xml": _ZONE,
    "policies/ovsnet-out.xml": _POLICY.format(
        name="ovsnet-out", way="out of", ingress="ovsnet", egress="ANY"
    ),
    "policies/ovsnet-in.xml": _POLICY.format(
        name="ovsnet-in", way="to", ingress="ANY", egress="ovsnet"
    ),
}
"""firewalld's files by their place in its folder, see firewalld.zone(5) and firewalld.policy(5)."""

_TIMEOUT_S = 60


@click.command(
    name="firewalld",
    epilog=EXIT_CODES,
    short_help="Let firewalld forward the traffic of ovsnet's networks.",
)
@click.option("--remove", is_flag=True, help="Take all of that back.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/firewalld"),
    show_default=True,
    help="Where firewalld has its configuration.",
)
@JSON
def command(remove: bool, folder: Path, as_json: bool) -> None:
    """Let firewalld forward the traffic of ovsnet's networks, which it drops otherwise.

    Puts the networks' gateways into a zone of their own, `ovsnet`, which is closed towards this
    host. Everything passes between it and the other zones: ovsnet's own rules judge that. Files
    that are there already stay as they are. firewalld is told to read its configuration again, if
    it runs.

    \b
    Examples:
      ovsnet firewalld
      firewall-cmd --permanent --zone=ovsnet --add-service=dns   # then: firewall-cmd --reload
      ovsnet firewalld --remove
    """
    program = shutil.which("firewall-cmd", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if program is None and not remove:
        raise Refusal("firewalld is not installed on this host: there is nothing to tell it")
    paths = [folder / name for name in FILES]
    changed = [each for each in paths if each.exists() is remove]
    try:
        for each in changed:
            if remove:
                each.unlink(missing_ok=True)
            else:
                each.parent.mkdir(parents=True, exist_ok=True)
                each.write_text(FILES[str(each.relative_to(folder))], encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}") from error
    told = bool(changed) and program is not None and _reload(program)
    if as_json:
        show.as_json({"changed": list(map(str, changed)), "reloaded": told})
        return
    for each in changed:
        show.line(f"{'removed' if remove else 'wrote'} {each}")
    if not changed:
        show.line("nothing to do: " + ("none of it is there" if remove else "all of it is there"))
    elif told:
        show.line("firewalld has read it")
    else:
        show.line("firewalld does not run; it will read this when it starts")


def _reload(program: str) -> bool:
    "Let firewalld forward the traffic of ovsnet's networks."
    if _run(program, "--state").returncode:
        return False
    done = _run(program, "--reload")
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Refusal(f"the files are there, but firewall-cmd --reload said: {said}")
    return True


def _run(program: str, word: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603 - a program of the system, and words of ours
            (program, word), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"{program} {word}: {error}") from error
