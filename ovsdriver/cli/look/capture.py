"""``ovsnet capture``."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from ovsdriver.adapters.capture import Capture, Source, Way
from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport, NetworkReport, Report
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.flags import settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal, refusals
from ovsdriver.config import Settings


@click.command(
    name="capture", epilog=EXIT_CODES, short_help="Capture packets of a network or a container."
)
@click.argument("target", metavar="NETWORK|CONTAINER")
@click.option(
    "-w", "--write", "path", metavar="FILE", required=True, help="pcap file; - is the output."
)
@click.option("-c", "--count", type=click.IntRange(min=1), help="End after so many packets.")
@click.option("-s", "--seconds", type=click.FloatRange(min=0.1), help="End after so much time.")
@click.option(
    "-f", "--filter", "only", metavar="EXPRESSION", default="", help="Only these, as for tcpdump."
)
@settings_of("run_dir")
def command(
    settings: Settings,
    target: str,
    path: str,
    count: int | None,
    seconds: float | None,
    only: str,
) -> None:
    """Capture packets by name, until Ctrl-C or as long as said; nothing stays when it ends.

    Of a container: what it sends and gets on the network, once each. Of a network: what its
    containers, the host's gateway and the wire send, each packet once; containers that start later
    are not heard.

    \b
    Examples:
      ovsnet capture web -w web.pcap
      ovsnet capture lab/web -c 100 -w web.pcap
      ovsnet capture lab -f 'port 80' -s 60 -w lab.pcap
      ovsnet capture lab -w - | tcpdump -nr -
    """
    network, endpoint = named.target(target, state := ask(settings, asks.ShowState()))
    sources = _sources(network, endpoint, state)
    if not sources:
        what = "start a container on it" if endpoint is None else "start the container"
        raise Refusal(f"nothing is plugged in at {target}; {what}")
    with refusals():
        capture = Capture(sources, only=only)
    try:
        with _file(path) as file, _until(seconds) as ended:
            click.echo(
                f"listening on {show.plural(len(sources), 'link')}; Ctrl-C ends it", err=True
            )
            counted = capture.run(file, most=count, until=ended)
    except BrokenPipeError:
        return
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror or error}") from error
    finally:
        capture.close()
    lost = f", {counted.lost} lost" if counted.lost else ""
    click.echo(f"{show.plural(counted.frames, 'packet')}{lost}", err=True)


def _sources(
    network: NetworkReport, endpoint: EndpointReport | None, state: Report
) -> Sequence[Source]:
    if endpoint is not None:
        return [_of(endpoint, Way.BOTH)] if endpoint.endpoint.sandbox else []
    found = [
        _of(each, Way.IN)
        for each in state.endpoints
        if each.endpoint.network == network.network.id and each.endpoint.sandbox
    ]
    if network.gateway_link:
        found.append(Source(link=network.gateway_link, way=Way.OUT))
    segment = network.network.segment
    uplink = segment.uplink
    for nic in uplink.nics if uplink else ():
        found.append(Source(link=nic, way=Way.IN, vlan=segment.tag))
    return found


def _of(endpoint: EndpointReport, way: Way) -> Source:
    if not endpoint.endpoint.internal:
        return Source(link=endpoint.port_name, way=way)
    inside = {Way.IN: Way.OUT}.get(way, way)  # what comes to the switch leaves the container
    return Source(sandbox=endpoint.endpoint.sandbox, mac=endpoint.endpoint.mac, way=inside)


@contextmanager
def _file(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        if sys.stdout.isatty():
            raise Refusal("packets are not for a terminal; name a file, or pipe into tcpdump -r -")
        yield sys.stdout.buffer
        return
    with Path(path).open("wb") as file:
        yield file


@contextmanager
def _until(seconds: float | None) -> Iterator[Any]:
    """Yield what says whether to end: a signal came, or the time is over."""
    end = None if seconds is None else time.monotonic() + seconds
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: came.append(got))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(came) or (end is not None and time.monotonic() > end)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
