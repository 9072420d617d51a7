"""``ovsnet metrics``."""

import click

from ovsdriver.cli import show
from ovsdriver.cli.daemon import metrics
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES
from ovsdriver.config import Settings


@click.command(name="metrics", epilog=EXIT_CODES)
@settings_of("run_dir")
@JSON
def command(settings: Settings, as_json: bool) -> None:
    """Print what Prometheus would read: traffic, addresses, repairs.

    For the textfile collector of node_exporter, where Prometheus cannot ask ovsnet itself; a file
    there is to be replaced at once. Prometheus asks over TCP where metrics_listen says so.

    \b
    Examples:
      ovsnet metrics
      ovsnet metrics --json | jq '.[] | select(.name == "ovsnet_endpoint_up" and .value == 0)'
      ovsnet metrics > /run/o.prom && mv /run/o.prom /var/lib/prometheus/node-exporter/ovsnet.prom
    """
    text = metrics(settings)
    if not as_json:
        click.echo(text, nl=False)
        return
    # Only who wants JSON pays for the library.
    from prometheus_client.parser import text_string_to_metric_families

    show.as_json(
        [
            {"name": sample.name, "labels": sample.labels, "value": sample.value}
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    )
