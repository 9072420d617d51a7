"""``ovsnet plan``."""

from typing import Any

import click

from ovsdriver.cli import show
from ovsdriver.cli.daemon import Daemon
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.networks.change import typed
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
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
    found = Daemon(settings).plan(
        {
            "options": typed(options),
            "subnets": [{"subnet": each} for each in subnets],
            "gateways": [{"address": each} for each in gateways],
            "internal": internal,
            "ipv6": ipv6,
        }
    )
    if as_json:
        show.as_json(found)
    else:
        _print(found)


def _print(plan: dict[str, Any]) -> None:
    show.facts(
        [
            ("Bridge", f"{plan['bridge']} ({'adopted' if plan['adopted'] else 'ours'})"),
            ("Datapath", plan["datapath"]),
            ("VLAN", str(plan["vlan"] or "none")),
            ("Mode", plan["mode"]),
            ("MTU", str(plan["mtu"])),
            ("Subnets", "  ".join(map(_subnet, plan["subnets"])) or "-"),
            ("In force", show.in_force(plan["options"], Scope.NETWORK)),
            ("Each container", _flows(plan)),
        ]
    )
    show.line()
    show.table(
        ("ROW", "NAME", "", "COLUMNS"),
        [
            (each["table"], each["name"], "there" if each["there"] else "new", _columns(each))
            for each in plan["rows"]
        ],
    )
    if plan["links"]:
        show.line()
        show.table(
            ("LINK", "WHAT", "MTU", "ADDRESSES"),
            [
                (e["name"], e["what"], str(e["mtu"] or "-"), "  ".join(e["addresses"]) or "-")
                for e in plan["links"]
            ],
        )
    if plan["rules"]:
        show.line()
        objects = show.plural(len(plan["rules"]), "object")
        show.line(f"Firewall: {objects} more in the table; --json lists them")
    for each in plan["warnings"]:
        show.line(f"Warning: {each}")
    show.line()
    show.line("Nothing was made.")


def _flows(plan: dict[str, Any]) -> str:
    flows, meters = (show.plural(plan[f"{word}s_each"], word) for word in ("flow", "meter"))
    guard = plan["options"].get("ovs.guard") == "true"
    return (
        f"{flows}, {meters}{', and the flows that pin its addresses (ovs.guard)' if guard else ''}"
    )


def _subnet(each: dict[str, str]) -> str:
    gateway = each["gateway"]
    return each["cidr"] + (f" (gateway {gateway})" if gateway else "")


def _columns(each: dict[str, Any]) -> str:
    shown = {k: v for k, v in each["columns"].items() if k != "external_ids" and v is not None}
    return "  ".join(f"{name}={value}" for name, value in shown.items())
