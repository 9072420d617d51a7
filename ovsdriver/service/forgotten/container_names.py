"""Who has addresses and pools, in Docker's last words: for refusals, which must not wait for it.

A name is told only where it cannot be another's: an endpoint of ours is known by its id, and one
of another driver by an address that has had the same lease since before Docker was asked.
"""

from collections.abc import Collection, Iterator

from netaddr import IPAddress

from ipam import Lease, Naming, Pool
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.ports import EngineEndpoint, EngineSubnet, State
from ovsdriver.service.forgotten.pool_claims import Claims
from ovsdriver.service.forgotten.witnesses import DaemonSeen, Witness


class ContainerNames(Naming):
    """Docker's names of networks and containers."""

    def __init__(self, *, state: State, witness: Witness) -> None:
        self._state = state
        self._witness = witness

    def network(self, pool: Pool) -> str:
        """Return the name in Docker of the network that has a pool; empty if it is not known."""
        seen = self._witness.seen()
        bound = self._state.network_of_pool(pool.id)
        if seen is None:
            return ""
        claim = None if bound else self._claim(pool, seen)
        network = bound.id if bound else claim.network if claim else NetworkId("")
        return seen.view.networks.get(network, "")

    def auxiliary(self, pool: Pool) -> Collection[IPAddress] | None:
        """Return the addresses that a pool's network keeps without an endpoint; None: unknown."""
        bound = self._state.network_of_pool(pool.id)
        if bound is not None:
            return {address for subnet in bound.subnets for address in subnet.auxiliary}
        seen = self._witness.seen()
        claim = self._claim(pool, seen) if seen else None
        return claim.kept if claim else None

    def container(self, pool: Pool, lease: Lease) -> str:
        """Return the name of the container that has a lease; empty if it is not known."""
        seen = self._witness.seen()
        if seen is None:
            return ""
        bound = self._state.network_of_pool(pool.id)
        if bound is not None:
            endpoint = self._state.endpoint_at(bound.id, lease.address)
            if endpoint is None or lease.serial not in endpoint.leases:
                return ""
            listed = seen.view.endpoints.get(endpoint.id)
            return listed.container if listed else ""
        if lease.created > seen.at:
            return ""
        return next(
            (name for address, name in self._foreign(pool, seen) if address == lease.address),
            "",
        )

    def containers(self, pool: Pool) -> Iterator[tuple[IPAddress, str]]:
        """Give addresses of a pool with the names of the containers that have, or had, them."""
        seen = self._witness.seen()
        if seen is None:
            return
        bound = self._state.network_of_pool(pool.id)
        if bound is None:
            yield from self._foreign(pool, seen)
            return
        for endpoint in self._state.endpoints(bound.id):
            listed = seen.view.endpoints.get(endpoint.id)
            if listed is not None:
                yield from _inside(pool, listed)

    def _foreign(self, pool: Pool, seen: DaemonSeen) -> Iterator[tuple[IPAddress, str]]:
        claim = self._claim(pool, seen)
        if claim is None:
            return
        for listed in seen.view.endpoints.values():
            if listed.network == claim.network:
                yield from _inside(pool, listed)

    def _claim(self, pool: Pool, seen: DaemonSeen) -> EngineSubnet | None:
        """Return the network that has a pool; one read before had an earlier pool like it."""
        if pool.created > seen.at:
            return None
        return Claims(seen.view, self._state.networks()).certain(pool)


def _inside(pool: Pool, listed: EngineEndpoint) -> Iterator[tuple[IPAddress, str]]:
    for address in listed.addresses:
        if listed.container and address in pool.subnet:
            yield address, listed.container
