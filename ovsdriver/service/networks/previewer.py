"""``ovsnet plan``, and dry runs of ``docker network create``: decides all and makes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ipam.leasing import Leasing
from ipam.model import DEFAULT_SPACE, PoolRequest
from ovsdriver.domain.plan.inputs import KnownPool
from ovsdriver.domain.plan.preview import Preview, preview
from ovsdriver.domain.records.model import Network, NetworkId
from ovsdriver.domain.records.requests import NetworkOptions, NewNetwork, OfferedSubnet
from ovsdriver.domain.wires import desired
from ovsdriver.ports import Firewall, State, SwitchView
from ovsdriver.service.networks.planner import Planner

_NOBODY = NetworkId("0" * 64)
"""Stands for the id that Docker would give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedNetwork:
    """What a person would type after ``docker network create``."""

    options: NetworkOptions
    internal: bool = False
    ipv6: bool = False
    subnets: tuple[IPNetwork, ...] = ()
    """None of a family that is wanted: one is chosen."""
    gateways: tuple[IPAddress, ...] = ()


class Previewer:
    """Plans as the handlers do."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        ipam: Leasing,
        switch: SwitchView,
        firewall: Firewall,
        planner: Planner,
        outside_bridges: tuple[str, ...] = (),
    ) -> None:
        self._owner = owner
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._firewall = firewall
        self._planner = planner
        self._outside_bridges = outside_bridges

    async def wish(self, wish: WantedNetwork) -> Preview:
        """Return what a new network would make.

        Raises:
            IpamError, DriverError: what ``docker network create`` would be refused with.
        """
        space = wish.options.space or DEFAULT_SPACE
        subnets = [await self._subnet(space, each) for each in wish.subnets]
        families = {int(each.version) for each in subnets}
        for family in (4, 6) if wish.ipv6 else (4,):
            if family not in families:
                subnets.append(await self._subnet(space, None, family))
        subnets.sort(key=lambda each: int(each.version))
        pools = [_pool(space, each, wish.gateways) for each in subnets]
        new = NewNetwork(
            id=_NOBODY,
            internal=wish.internal,
            options=wish.options,
            subnets=tuple(
                OfferedSubnet(space=space, cidr=each.subnet, gateway=each.gateway) for each in pools
            ),
        )
        return self.of(await self._planner.plan(new, pools=pools), wish.options.ignored)

    def of(self, network: Network, ignored: Sequence[str] = ()) -> Preview:
        """Return what a planned network would make; of options that do nothing, the names."""
        networks, endpoints = self._state.networks(), self._state.endpoints()
        bridges = self._switch.bridges().values()
        present = [each.name for each in bridges]
        present += [port.name for each in bridges for port in each.ports]
        found = preview(
            network,
            networks,
            endpoints,
            owner=self._owner,
            present=present,
            warnings=[
                *self._planner.warnings(network),
                *(f"option {each} is ignored: it is not ovsnet's" for each in sorted(ignored)),
            ],
        )
        before, after = (
            desired.firewall(some, endpoints, outside_bridges=self._outside_bridges)
            for some in (networks, [*networks, network])
        )
        rules = tuple(self._firewall.preview(before, after))
        return replace(found, rules=rules)

    async def _subnet(self, space: str, subnet: IPNetwork | None, family: int = 4) -> IPNetwork:
        request = PoolRequest(
            space=space, family=family if subnet is None else int(subnet.version), subnet=subnet
        )
        return await self._ipam.would_give(request)


def _pool(space: str, subnet: IPNetwork, gateways: Sequence[IPAddress]) -> KnownPool:
    typed = next((each for each in gateways if each in subnet), None)
    lowest = IPAddress(subnet.first + (1 if subnet.size > 2 else 0), subnet.version)
    return KnownPool(
        id=PoolId(f"{space}/{subnet}/preview"),
        space=space,
        subnet=subnet,
        gateway=typed or lowest,
        gateway_typed=typed is not None,
    )
