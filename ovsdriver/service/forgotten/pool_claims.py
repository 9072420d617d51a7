"""Which of Docker's networks has a pool, as far as Docker's word tells. Pure.

For our own networks the record says which pools are theirs. Networks of other drivers, such as
Docker's bridge, leave no record here: Docker names their subnets and their IPAM driver, and
neither the pool's id nor its address space, so these are concluded from the driver's name and
options. Two answers are given, each erring on the side that loses nothing: ``possible``, for who
wants to remove a pool, and ``certain``, for who wants to know its endpoints.
"""

from collections.abc import Iterable, Sequence

from netaddr import IPAddress

from ipam.model import DEFAULT_SPACE, Pool
from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.segments import space_of
from ovsdriver.ports import EngineSubnet, EngineView

_PREFIX = "ovsipam-"
"""The name of a space's own driver begins with this, and so does a segment's."""

_OF_DEFAULT_SPACE = frozenset({"ovsnet", "ovsipam"})

_SPACE_OPTION = "ipam.space"
_SEGMENT_OPTION = "ipam.segment"


class Claims:
    """One reading of Docker, ready to be asked about many pools."""

    def __init__(self, view: EngineView, networks: Iterable[Network]) -> None:
        """Sort the reading.

        Args:
            view: what Docker said.
            networks: all of ours; what they have pools for claims no further ones.
        """
        settled = {
            (network.id, subnet.cidr.cidr)
            for network in networks
            for subnet in network.subnets
            if subnet.pool is not None
        }
        self._by_cidr: dict[object, list[EngineSubnet]] = {}
        for each in view.subnets:
            if (each.network, each.cidr) not in settled:
                self._by_cidr.setdefault(each.cidr, []).append(each)

    def possible(self, pool: Pool) -> Sequence[EngineSubnet]:
        """Return every subnet in Docker that ``pool`` may stand for: while there is one, it stays.

        A driver of unknown name may be ours, installed under another one; so its space may be any.
        """
        return tuple(
            each
            for each in self._by_cidr.get(pool.subnet, ())
            if not each.local or _may_be_of(each, pool.space)
        )

    def certain(self, pool: Pool) -> EngineSubnet | None:
        """Return the one subnet that has ``pool``; None if that is not beyond doubt."""
        possible = self.possible(pool)
        if len(possible) != 1 or not possible[0].local:
            return None
        # A space has a subnet once, so subnet and space together mean one pool.
        return possible[0] if _known(possible[0].ipam) else None


def listed_addresses(view: EngineView) -> frozenset[IPAddress]:
    """Return every address that an endpoint in Docker has, on whatever network."""
    return frozenset(address for each in view.endpoints.values() for address in each.addresses)


def _may_be_of(subnet: EngineSubnet, space: str) -> bool:
    """Whether a network's addresses can be of an address space."""
    for key, value in subnet.options.items():  # matched without case, as the parser does
        if key.lower() == _SPACE_OPTION:
            return space == value
        if key.lower() == _SEGMENT_OPTION:
            return space == space_of(value)
    if subnet.ipam.startswith(_PREFIX):
        name = subnet.ipam.removeprefix(_PREFIX)
        return space in (name, space_of(name))
    return space == DEFAULT_SPACE or not _known(subnet.ipam)


def _known(driver: str) -> bool:
    """Whether an IPAM driver's name is one that ours has, as a socket or as a managed plugin.

    The latter is ``REGISTRY/NAME:TAG``, of whatever registry.
    """
    base = driver.rpartition("/")[2].partition(":")[0]
    return base in _OF_DEFAULT_SPACE or driver.startswith(_PREFIX)
