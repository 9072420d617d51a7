"""Records for tests, with everything that a test does not care about filled in."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from netaddr import EUI, IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Mode, Network, NetworkId, Subnet
from ovsdriver.domain.records.options.features import NOTHING
from ovsdriver.domain.records.options.port_options import UNSAID, VlanTag
from ovsdriver.domain.records.requests import (
    EndpointOptions,
    NetworkOptions,
    NewNetwork,
    OfferedSubnet,
)
from ovsdriver.domain.records.segments import Datapath, VlanSegment
from ovsdriver.domain.wires.plumbing import Tap, Veth

RED = NetworkId("a1" * 32)
BLUE = NetworkId("b2" * 32)
FIRST = EndpointId("e1" * 32)
SECOND = EndpointId("f2" * 32)

OWNER = "ovsnet"
VETH = Veth(
    host=names.host_link(FIRST),
    container=names.container_link(FIRST),
    mac=EUI("0a:0f:0a:01:00:02"),
    mtu=1400,
    alias=names.alias(OWNER, FIRST),
)
TAP = Tap(name=names.internal_link(FIRST), mac=VETH.mac, mtu=1400, alias=VETH.alias)


def _grouped(said: Mapping[str, Any], before: Any = None) -> dict[str, Any]:
    """Fields of a record, or of options, from flat names: those of a port or of features inside.

    Of what is said of neither, nothing; ``before`` is what has them else.
    """
    groups = {
        "port": getattr(before, "port", UNSAID),
        "features": getattr(before, "features", NOTHING),
    }
    found = dict(said)
    for group, value in groups.items():
        inner = {each.name: found.pop(each.name) for each in fields(value) if each.name in found}
        if inner:
            found[group] = replace(value, **inner)
    return found


def altered(record: Any, **changes: Any) -> Any:
    """A network, an endpoint, or options with other fields, or with others of their ports."""
    return replace(record, **_grouped(changes, record))


def network_options(**said: Any) -> NetworkOptions:
    return NetworkOptions(**_grouped(said))


def endpoint_options(**said: Any) -> EndpointOptions:
    return EndpointOptions(**_grouped(said))


def a_segment(bridge: str = "br-ovsnet", tag: int = 1, **changes: Any) -> VlanSegment:
    values: dict[str, Any] = {"datapath": Datapath.NETDEV} | changes
    return VlanSegment(bridge=bridge, tag=VlanTag(tag), **values)


def a_subnet(
    cidr: str = "10.1.0.0/24", gateway: str | None = "10.1.0.1", pool: str | None = None
) -> Subnet:
    return Subnet(
        cidr=IPNetwork(cidr),
        gateway=IPAddress(gateway) if gateway else None,
        space="ovsnet",
        pool=PoolId(pool) if pool else None,
    )


def a_network(network_id: str = RED, **changes: Any) -> Network:
    plain = Network(
        id=NetworkId(network_id),
        segment=a_segment(),
        mode=Mode.NAT,
        subnets=(a_subnet(),),
        made=True,
    )
    return altered(plain, **changes)


def an_endpoint(endpoint_id: str = FIRST, **changes: Any) -> Endpoint:
    plain = Endpoint(
        id=EndpointId(endpoint_id),
        network=RED,
        addresses=(IPNetwork("10.1.0.2/24"),),
        mac=EUI("0a:0f:0a:01:00:02"),
    )
    return altered(plain, **changes)


def new_network(
    network_id: str = RED,
    *subnets: tuple[str, str | None],
    internal: bool = False,
    space: str = "ovsnet",
    **options: Any,
) -> NewNetwork:
    """A CreateNetwork; each subnet is ``(cidr, gateway)``."""
    return NewNetwork(
        id=NetworkId(network_id),
        subnets=tuple(
            OfferedSubnet(
                space=space, cidr=IPNetwork(cidr), gateway=IPAddress(gateway) if gateway else None
            )
            for cidr, gateway in subnets
        ),
        internal=internal,
        options=network_options(**options),
    )
