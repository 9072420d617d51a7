"""``ovsnet ports``."""

import click
from rich.text import Text

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport, PublishedReport
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import port_text
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
      ovsnet ports --json
    """
    endpoints = named.endpoints_on(network, ask(settings, asks.ShowState()))
    found = [(endpoint, each) for endpoint in endpoints for each in endpoint.published]
    found.sort(key=lambda pair: (pair[1].host_port, pair[1].protocol, pair[1].host))
    lacking = [(endpoint, each) for endpoint in endpoints for each in endpoint.unpublished]
    if as_json:
        show.as_json(
            [
                *({**codec.members(each), **_whose(endpoint)} for endpoint, each in found),
                *(
                    {
                        "protocol": each.partition("/")[2],
                        "host": None,
                        "host_port": None,
                        "port": int(each.partition("/")[0].partition("-")[0]),
                        "ports": each,
                        "why": endpoint.unpublished_why,
                        **_whose(endpoint),
                    }
                    for endpoint, each in lacking
                ),
            ]
        )
        return
    show.table(
        ("PUBLISHED", "CONTAINER", "NETWORK", "LEADS TO", "STATE"),
        [
            (
                f"{place(each.host, each.host_port, each.count)}/{each.protocol}",
                endpoint.container or show.short(endpoint.endpoint.id),
                endpoint.network_name or show.short(endpoint.endpoint.network),
                place(each.address, each.port, each.count),
                _state(each),
            )
            for endpoint, each in found
        ]
        + [
            (
                "-",
                endpoint.container or show.short(endpoint.endpoint.id),
                endpoint.network_name or show.short(endpoint.endpoint.network),
                each,
                Text(f"not published: {endpoint.unpublished_why}", style="red"),
            )
            for endpoint, each in lacking
        ],
    )


def _whose(found: EndpointReport) -> dict[str, str]:
    return {
        "endpoint": found.endpoint.id,
        "network": found.endpoint.network,
        "network_name": found.network_name,
        "container": found.container,
    }


def place(address: str, port: int, count: int = 1) -> str:
    """Return ``10.0.0.5:80``, ``10.0.0.5:80-90`` or ``[fd00::5]:80``."""
    ports = port_text(port, count)
    return f"[{address}]:{ports}" if ":" in address else f"{address}:{ports}"


def _state(published: PublishedReport) -> Text:
    if published.reserved:
        text = Text("reserved", style="green")
    elif published.count > MOST_HELD:
        text = Text("open", style="green")
    else:
        text = Text("not reserved", style="red")
    return text.append(", clients seen as the gateway") if published.instead_of else text
