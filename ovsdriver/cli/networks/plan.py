"""``ovsnet plan``."""

import click

from ovsdriver.admin import asks
from ovsdriver.admin.views import PlanReport
from ovsdriver.cli import show
from ovsdriver.cli.daemon import ask, typed
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.networks.change import options_of
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.domain.plan.preview import Row
from ovsdriver.domain.records.model import Subnet
from ovsdriver.words.options import Scope


@click.command(
    name="plan", epilog=EXIT_CODES, short_help="Show what a network would make; make nothing."
)
@click.option("-o", "--opt", "options", metavar="OPTION=VALUE", multiple=True)
@click.option("--subnet", "subnets", metavar="SUBNET", multiple=True)
@click.option("--gateway", "gateways", metavar="ADDRESS", multiple=True)
@click.option("--internal", is_flag=True)
@click.option("--ipv6", is_flag=True)
@settings_of("run_dir")
@JSON
def command(
    settings: Settings,
    options: tuple[str, ...],
    subnets: tuple[str, ...],
    gateways: tuple[str, ...],
    internal: bool,
    ipv6: bool,
    as_json: bool,
) -> None:
    """Show what `docker network create` would make with the same words, and make nothing.

    The rows of Open vSwitch's database, links and addresses of the host, firewall rules, and what
    each container's port would get. What would be refused is refused here, in the same words.
    `docker network create … -o ovs.dry_run=true` tells the short of it.

    \b
    Examples:
      ovsnet plan
      ovsnet plan -o ovs.bridge=br-lab -o ovs.vlan=30 --subnet 192.168.30.0/24
      ovsnet plan --ipv6 -o ovs.guard=true --json
    """
    wanted = typed(
        asks.PlanNetwork,
        options=options_of(options),
        subnets=list(subnets),
        gateways=list(gateways),
        internal=internal,
        ipv6=ipv6,
    )
    found = ask(settings, wanted)
    if as_json:
        show.as_json(found)
    else:
        _print(found)


def _print(plan: PlanReport) -> None:
    network, segment = plan.network, plan.network.segment
    show.facts(
        [
            ("Bridge", f"{segment.bridge} ({'adopted' if segment.adopted else 'ours'})"),
            ("Datapath", segment.datapath.value),
            ("VLAN", show.segment(segment)),
            ("Mode", network.mode.value),
            ("MTU", str(network.mtu)),
            ("Subnets", "  ".join(map(_subnet, network.subnets)) or "-"),
            ("In force", show.in_force(plan.in_force, Scope.NETWORK)),
            ("Each container", _flows(plan)),
        ]
    )
    show.line()
    show.table(
        ("ROW", "NAME", "", "COLUMNS"),
        [
            (each.table, each.name, "there" if each.there else "new", _columns(each))
            for each in plan.rows
        ],
    )
    if plan.links:
        show.line()
        show.table(
            ("LINK", "WHAT", "MTU", "ADDRESSES"),
            [
                (e.name, e.what, str(e.mtu or "-"), "  ".join(e.addresses) or "-")
                for e in plan.links
            ],
        )
    if plan.rules:
        show.line()
        objects = show.plural(len(plan.rules), "object")
        show.line(f"Firewall: {objects} more in the table; --json lists them")
    for each in plan.warnings:
        show.line(f"Warning: {each}")
    show.line()
    show.line("Nothing was made.")


def _flows(plan: PlanReport) -> str:
    flows, meters = show.plural(plan.flows_each, "flow"), show.plural(plan.meters_each, "meter")
    guard = plan.in_force.get("ovs.guard") == "true"
    return (
        f"{flows}, {meters}{', and the flows that pin its addresses (ovs.guard)' if guard else ''}"
    )


def _subnet(each: Subnet) -> str:
    return f"{each.cidr}" + (f" (gateway {each.gateway})" if each.gateway else "")


def _columns(each: Row) -> str:
    shown = {k: v for k, v in each.columns.items() if k != "external_ids" and v is not None}
    return "  ".join(f"{name}={value}" for name, value in shown.items())
