"""What trials left that were killed: found by its mark, and removed."""

import socket
from collections.abc import Iterator, Sequence

from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport, NetworkReport, PoolUse
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.doctor.trial import rooms
from ovsdriver.config import Settings

MARK = "0e57ed"
"""First digits of the ids of every network and endpoint of a trial."""
SPACE = "ovsnet-test"
"""Address space of its subnets."""


def networks(settings: Settings) -> Sequence[NetworkReport]:
    """Return the networks of trials."""
    state = ask(settings, asks.ShowState())
    return [each for each in state.networks if _ours(each)]


def endpoints(settings: Settings) -> Sequence[EndpointReport]:
    """Return the endpoints of trials, also those on networks of others."""
    state = ask(settings, asks.ShowState())
    return [each for each in state.endpoints if each.endpoint.id.startswith(MARK)]


def pools(settings: Settings) -> Sequence[PoolUse]:
    """Return the pools of trials."""
    return [each for each in ask(settings, asks.ListPools()) if each.pool.space == SPACE]


def found(settings: Settings) -> Iterator[str]:
    """Give a phrase for each thing that there is of a trial."""
    for network in networks(settings):
        yield f"network {network.network.id[:12]}"
    for endpoint in endpoints(settings):
        yield f"endpoint {endpoint.endpoint.id[:12]}"
    for pool in pools(settings):
        yield f"pool {pool.pool.subnet}"
    for path in rooms.left():
        yield f"namespace {path.name}"
    for name in sorted(_links()):
        yield f"link {name}"


def remove_pools(settings: Settings) -> None:
    """Release the pools of trials that no network has any more."""
    for pool in pools(settings):
        ask(settings, asks.ReleasePool(pool=str(pool.pool.id), force=True))


def remove_rooms() -> None:
    """Remove the namespaces of trials."""
    for path in rooms.left():
        rooms.remove(path)


def _links() -> Iterator[str]:
    """Give links of this host that have a name made of a trial's ids."""
    for _, name in socket.if_nameindex():
        if name.startswith("ov") and name[3:].startswith(MARK):
            yield name


def _ours(each: NetworkReport) -> bool:
    return each.network.id.startswith(MARK) or any(
        subnet.space == SPACE for subnet in each.network.subnets
    )
