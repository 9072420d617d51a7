"""The commands together."""

from importlib import import_module

import click

from ovsdriver import __version__
from ovsdriver.cli.outcome import EXIT_CODES

_MODULES = {
    "serve": "serve",
    "check": "look.check",
    "test": "doctor.trial.command",
    "status": "networks.status",
    "reconcile": "networks.reconcile",
    "network": "networks.network",
    "endpoint": "networks.endpoint",
    "ports": "networks.ports",
    "top": "look.top",
    "graph": "networks.graph",
    "events": "networks.events",
    "metrics": "look.metrics",
    "web": "web",
    "set": "networks.change",
    "rules": "access.rules",
    "plan": "networks.plan",
    "trace": "look.trace",
    "capture": "look.capture",
    "ipam": "addresses.ipam",
    "segment": "fleet.segment",
    "host": "fleet.host",
    "options": "networks.options",
    "firewalld": "look.firewalld",
    "support": "doctor.bundle.command",
    "purge": "networks.purge",
}
"""Where each command is, in the order in which a person meets them."""


class Lazy(click.Group):
    """Loads a command when it is used: the process has no need of what prints tables."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return their names."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command; None if there is none of that name."""
        if cmd_name not in _MODULES:
            return None
        found: click.Command = import_module(f"ovsdriver.cli.{_MODULES[cmd_name]}").command
        return found


@click.group(
    epilog=EXIT_CODES,
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ovsnet", message="%(prog)s %(version)s")
def command() -> None:
    """Docker networks on Open vSwitch, with their own IP address management.

    \b
    On a new host:
      ovsnet check                         what this host lacks, and what to type
      ovsnet serve                         run it (or: systemctl start ovsnet)
      docker network create --driver ovsnet --ipam-driver ovsipam lab
      docker run --rm --network lab busybox ip address
    \b
    Afterwards:
      ovsnet test                          is this installation good? plays containers
      ovsnet status                        is all well?
      ovsnet reconcile --dry-run           is all as recorded? without it: mend what is not
      ovsnet network ls                    networks with bridge, VLAN and subnets
      ovsnet endpoint ls                   containers with address, MAC and port
      ovsnet ports                         published ports, and what they lead to
      ovsnet top                           what passes now, and who talks to whom
      ovsnet graph --format svg            a picture of what is connected to what
      ovsnet events -f                     what happens, and what did
      ovsnet metrics                       traffic, addresses and repairs, for Prometheus
      ovsnet web                           all of it in the browser
      ovsnet set lab ovs.icc=false         change options while containers are connected
      ovsnet rules show web                whom a container may reach, and what was dropped
      ovsnet plan -o ovs.vlan=30           what a network would make
      ovsnet check web                     what is wrong with a container, or a network
      ovsnet trace web db tcp/5432         why one place reaches another or does not
      ovsnet capture web -w web.pcap       the packets of a container or a network
      ovsnet ipam leases                   who holds which address, and since when
      ovsnet segment ls                    networks over several hosts, and who is on them
      ovsnet host ls                       the hosts that have them in common
      ovsnet support                       one file for a bug report, without secrets
      ovsnet options                       what can be typed after -o and --ipam-opt

    Each command explains itself: `ovsnet network --help`. Settings come from
    /etc/ovsnet/ovsnet.toml, then from OVSNET_* variables, then from flags.
    """
