"""``ovsnet host ls | forget``."""

import time

import click
from rich.text import Text

from ovsdriver.admin import asks
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.fleet.segment import print_leases
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.service.fleet.hosts import FleetHost


@click.group(name="host", epilog=EXIT_CODES)
def command() -> None:
    """Show the hosts of the fleet, and give the addresses of a dead one back."""


@command.command(name="ls", epilog=EXIT_CODES, short_help="List the hosts of the fleet.")
@settings_of("run_dir")
@JSON
def ls(settings: Settings, as_json: bool) -> None:
    """List hosts with their last sign of life, their addresses and their segments.

    Each host's ovn-controller is asked now. One that does not answer is dead or cut off: nobody can
    tell which from here. It was last seen when it answered an earlier question, or got an address.

    \b
    Examples:
      ovsnet host ls
      ovsnet host ls --json | jq -r '.hosts[] | select(.answers == false) | .name'
    """
    fleet = ask(settings, asks.ListHosts())
    if as_json:
        show.as_json(fleet)
        return
    show.table(
        ("HOST", "STATE", "LAST SEEN", "LEASES", "TUNNELS", "SEGMENTS"),
        [
            (
                f"{each.name} (here)" if each.here else each.name,
                _state(each),
                _seen(each),
                str(each.leases),
                each.address or "-",
                ", ".join(each.segments) or "-",
            )
            for each in fleet.hosts
        ],
    )
    if fleet.why:
        show.line(Text(f"Not all is known: {fleet.why}", style="yellow"))


@command.command(
    name="forget", epilog=EXIT_CODES, short_help="Give a dead host's addresses back; asks first."
)
@click.argument("name", metavar="HOST")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also if the host answers.")
@settings_of("run_dir")
@JSON
def forget(settings: Settings, name: str, yes: bool, force: bool, as_json: bool) -> None:
    """Give all addresses of a host that died back to the fleet.

    Its addresses, names and networks on segments are taken from OVN's database. If it is only cut
    off, its containers run on: OVN binds a given address on its new host alone, so the old
    container is cut off. A host that comes back registers itself; start its containers again.

    \b
    Examples:
      ovsnet host forget host3
      ovsnet host forget host3 --yes --json
    """
    if not yes:
        click.confirm(
            f"Other containers may then get the addresses of {name} on segments. Containers that "
            f"still run on {name} are cut off there. Go on?",
            abort=True,
            err=True,
        )
    done = ask(settings, asks.ForgetHost(host=name, force=force))
    if as_json:
        show.as_json(done)
        return
    show.line(f"forgot {done.name}, with {show.plural(len(done.leases), 'address', 'addresses')}")
    if done.leases:
        print_leases(done.leases)
    if done.registered is not False:
        what = "still lists it" if done.registered else "could not be asked about it"
        show.line(f"OVN {what}; type on a central host: ovn-sbctl chassis-del {done.name}")


def _state(host: FleetHost) -> Text:
    if host.answers is None:
        return Text("not known", style="yellow")
    if not host.answers:
        return Text("silent", style="red")
    if host.ahead_s:
        off = f"{show.duration(abs(host.ahead_s))} {'ahead' if host.ahead_s > 0 else 'behind'}"
        return Text(f"answers, clock {off}", style="yellow")
    return Text("answers")


def _seen(host: FleetHost) -> str:
    if host.answers:
        return "now"
    return "-" if host.seen is None else f"{show.duration(time.time() - host.seen)} ago"
