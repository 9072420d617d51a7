"""Who has what, beyond what the IPAM itself was told: for the sentences of refusals."""

from collections.abc import Collection, Iterable
from typing import Protocol

from netaddr import IPAddress

from ipam.model import Lease, Pool


class Naming(Protocol):
    """What somebody else knows of pools and holders, at once. Empty where it is not known."""

    def network(self, pool: Pool) -> str:
        """Return the name of the network that has a pool."""
        ...

    def auxiliary(self, pool: Pool) -> Collection[IPAddress] | None:
        """Return the addresses that are kept without an endpoint; None: not known."""
        ...

    def container(self, pool: Pool, lease: Lease) -> str:
        """Return the name of the container that has a lease."""
        ...

    def containers(self, pool: Pool) -> Iterable[tuple[IPAddress, str]]:
        """Give addresses of a pool and the containers that have, or had, them."""
        ...


class Nobody:
    """Knows nothing."""

    def network(self, pool: Pool) -> str:  # noqa: ARG002 - as in Naming
        """Return nothing."""
        return ""

    def auxiliary(self, pool: Pool) -> Collection[IPAddress] | None:  # noqa: ARG002
        """Return nothing."""
        return None

    def container(self, pool: Pool, lease: Lease) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def containers(self, pool: Pool) -> Iterable[tuple[IPAddress, str]]:  # noqa: ARG002
        """Return nothing."""
        return ()
