"""``ovsnet ports``."""

import click
from rich.text import Text

from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import Publication
from ovsdriver.domain.traffic.publishing import MOST_HELD


@click.command(name="ports", epilog=EXIT_CODES)
@click.option("--network", "network", metavar="NAME", help="Only those of one network.")
@settings_of("run_dir")
@JSON
def command(settings: Settings, network: str | None, as_json: bool) -> None:
    """List published ports, which `docker ps` cannot show for a plugin's networks.

    Not reserved means that another program of this host had the port when ovsnet started; it is
    reserved as soon as that program ends. Ranges of more than 1,024 ports are never reserved, only
    open: no program listened there when they were published. Seen as the gateway: the container
    has its default route on another network, so it sees this network's gateway as the client. A
    port that no network of a container publishes has no address, and the reason.

    \b
    Examples:
      ovsnet ports
      ovsnet ports --network lab
      ovsnet ports --json | jq '.[].published.host_port'
    """
    endpoints = named.endpoints_on(network, ask(settings, asks.ShowState()))
    found = [(endpoint, each) for endpoint in endpoints for each in endpoint.endpoint.published]
    found.sort(key=lambda pair: (pair[1].host_port, pair[1].protocol, pair[1].host_text))
    lacking = [(endpoint, each) for endpoint in endpoints for each in endpoint.unpublished]
    if as_json:
        show.as_json(
            [
                *(
                    _whose(of) | {"published": each, "reserved": each.at in of.reserved}
                    for of, each in found
                ),
                *(
                    _whose(of) | {"unpublished": each, "why": of.unpublished_why}
                    for of, each in lacking
                ),
            ]
        )
        return
    show.table(
        ("PUBLISHED", "CONTAINER", "NETWORK", "LEADS TO", "STATE"),
        [
            (each.host_text, *_names(endpoint), each.leads_to, _state(endpoint, each))
            for endpoint, each in found
        ]
        + [
            (
                "-",
                *_names(endpoint),
                each.text,
                Text(f"not published: {endpoint.unpublished_why}", style="red"),
            )
            for endpoint, each in lacking
        ],
    )


def _names(found: EndpointReport) -> tuple[str, str]:
    return (
        found.container or show.short(found.endpoint.id),
        found.network_name or show.short(found.endpoint.network),
    )


def _whose(found: EndpointReport) -> dict[str, object]:
    return {
        "endpoint": found.endpoint.id,
        "network": found.endpoint.network,
        "network_name": found.network_name,
        "container": found.container,
    }


def _state(endpoint: EndpointReport, published: Publication) -> Text:
    if published.at in endpoint.reserved:
        text = Text("reserved", style="green")
    elif published.count > MOST_HELD:
        text = Text("open", style="green")
    else:
        text = Text("not reserved", style="red")
    return text.append(", clients seen as the gateway") if published.instead_of else text
