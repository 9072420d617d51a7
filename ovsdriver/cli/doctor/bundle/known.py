"""The names that a host's networks, containers and neighbours have, for who replaces them."""

import asyncio
import socket
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import aiohttp

from ovsdriver.adapters.kernel.netlink import started
from ovsdriver.admin import asks
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.doctor.bundle import docker, parts
from ovsdriver.cli.outcome import Refusal
from ovsdriver.config import Settings


def names(settings: Settings) -> Mapping[str, set[str]]:
    """Return them by kind, as far as anybody tells them now."""
    found: dict[str, set[str]] = defaultdict(set)
    found["machine"] |= {socket.gethostname(), socket.getfqdn()}
    found["space"] |= set(settings.spaces)
    found["segment"] |= set(settings.segments)
    found["receiver"] |= {each.host for each in settings.webhooks}
    for look in (_of_process, _of_events, _of_fleet, _of_docker):
        with suppress(Refusal, OSError, TimeoutError, aiohttp.ClientError):
            started(partial(look, settings, found), name="support").result(parts.TIMEOUT_S)
    return {kind: set(of) for kind, of in found.items()}


def _of_process(settings: Settings, found: dict[str, set[str]]) -> None:
    state = ask(settings, asks.ShowState())
    for network in state.networks:
        found["network"].add(network.name)
        found["space"] |= {each.space for each in network.network.subnets}
        if network.network.over_hosts:
            found["segment"].add(network.network.over_hosts)
        if not network.network.segment.bridge.startswith("br-ovsnet"):
            found["bridge"].add(network.network.segment.bridge)
    for endpoint in state.endpoints:
        found["container"].add(endpoint.container)


def _of_events(settings: Settings, found: dict[str, set[str]]) -> None:
    """Learn names of what is gone, and who changed something."""
    for each in parts.every_event(settings):
        found["network"].add(each.network)
        found["container"].add(each.container)
        found["user"].add(each.attributes.get("by", ""))


def _of_fleet(settings: Settings, found: dict[str, set[str]]) -> None:
    if settings.ovn_northbound:
        found["segment"] |= {each.name for each in ask(settings, asks.ListSegments())}
        found["machine"] |= {each.name for each in ask(settings, asks.ListHosts()).hosts}


def _of_docker(settings: Settings, found: dict[str, set[str]]) -> None:
    view = asyncio.run(docker.look(settings.docker))
    found["network"] |= {each["Name"] for each in view["networks"]}
    for container in view["containers"]:
        found["container"] |= {each.removeprefix("/") for each in container["Names"]}
