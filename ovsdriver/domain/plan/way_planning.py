"""Ways out of a network that are not this host: a router, a container that is one, routes. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.plan import mode_planning
from ovsdriver.domain.records.model import Mode, StaticRoute, Subnet
from ovsdriver.domain.records.requests import NetworkOptions, TypedGateway
from ovsdriver.errors import InvalidOptionError


def refuse_stray_gateways(
    options: NetworkOptions, mode: Mode, subnets: Sequence[Subnet], *, internal: bool
) -> None:
    """Refuse a gateway that a network cannot have; InvalidOptionError."""
    said = options.gateways
    if not said:
        return
    text = _text(said)
    if internal:
        raise InvalidOptionError(
            f"ovs.gateway={text}: an internal network has no way out; leave the option out, or use "
            "-o ovs.mode=isolated in the place of --internal"
        )
    if mode is Mode.GWBRIDGE:
        mode_planning.refuse_gateway(f"ovs.gateway={text}")
    if said.container and mode.has_gateway:
        raise InvalidOptionError(
            f"ovs.gateway={text}: on a network with ovs.mode={mode} this host is the gateway; "
            "use -o ovs.mode=flat or isolated"
        )
    for gateway in said.addresses:
        if not any(gateway in subnet.cidr for subnet in subnets):
            raise InvalidOptionError(
                f"ovs.gateway={gateway} lies in no subnet of this network "
                f"({_listed(subnets)}); name an address inside one"
            )


def regated(
    current: Sequence[Subnet],
    said: TypedGateway,
    mode: Mode,
    *,
    typed: Iterable[IPAddress | None],
    touched: bool,
) -> tuple[Subnet, ...]:
    """Return the subnets of a network that stands, with the gateways that are said now.

    Args:
        current: as they are.
        said: the gateways, of all options.
        mode: of the network.
        typed: gateways that Docker was told, ``--gateway``; on flat networks they are true.
        touched: whether they change.

    Raises:
        InvalidOptionError: this host has the gateway, and it is another one.
    """
    if mode.has_gateway:
        held = {each.gateway for each in current}
        for gateway in said.addresses:
            if gateway not in held:
                raise InvalidOptionError(
                    f"ovs.gateway={gateway}: this host is the gateway of a network with "
                    f"ovs.mode={mode}, by the address that was chosen at creation; leave it out"
                )
    if mode.has_gateway or not touched:
        return tuple(current)
    found = said.addresses
    if mode is Mode.FLAT and not said.container:
        found = (*found, *(each for each in typed if each is not None))
    return tuple(
        replace(each, gateway=next((gateway for gateway in found if gateway in each.cidr), None))
        for each in current
    )


def refuse_stray_routes(
    routes: Iterable[StaticRoute], subnets: Sequence[Subnet], *, has_way: bool
) -> None:
    """Refuse routes that containers of a network cannot have; InvalidOptionError.

    Args:
        routes: those that are said.
        subnets: of the network.
        has_way: it has a gateway, or may get one.
    """
    for each in routes:
        own = [subnet for subnet in subnets if subnet.family == each.to.version]
        if not own:
            raise InvalidOptionError(
                f"ovs.routes={each.to}: the network has no IPv{each.to.version} subnet; leave it "
                "out"
            )
        for subnet in own:
            if each.to in subnet.cidr:
                raise InvalidOptionError(
                    f"ovs.routes={each.to}: that is in the network's own subnet {subnet.cidr}; "
                    "leave it out"
                )
        if each.via is None and not has_way:
            raise InvalidOptionError(
                f"ovs.routes={each.to}: the network has no gateway that leads there; name a "
                f'router, as in "{each.to} via ADDRESS"'
            )
        if each.via is not None and not any(each.via in subnet.cidr for subnet in own):
            raise InvalidOptionError(
                f"ovs.routes={each.to} via {each.via}: that router lies in no subnet of this "
                f"network ({_listed(own)}); name an address inside one"
            )


def refuse_stray_host(
    addresses: Iterable[IPNetwork], mode: Mode, subnets: Sequence[Subnet]
) -> None:
    """Refuse addresses of this host that a network cannot have; InvalidOptionError."""
    for each in addresses:
        typed = f"ovs.host_address={each}"
        if mode is not Mode.FLAT:
            raise InvalidOptionError(
                f"{typed}: this host has no address of its own on a network with ovs.mode={mode}; "
                "leave it out, or use -o ovs.mode=flat"
            )
        subnet = next((subnet for subnet in subnets if each.ip in subnet.cidr), None)
        if subnet is None:
            raise InvalidOptionError(
                f"{typed} lies in no subnet of this network ({_listed(subnets)}); name an address "
                "inside one"
            )
        edges = (subnet.cidr.network, subnet.cidr.broadcast) if subnet.cidr.size > 2 else ()
        if each.prefixlen < subnet.cidr.prefixlen or each.ip in edges:
            raise InvalidOptionError(
                f"{typed} is no address of a host in {subnet.cidr}; write it like "
                f"{subnet.cidr[-2]}/{subnet.cidr.prefixlen}"
            )
        if each.ip == subnet.gateway:
            raise InvalidOptionError(
                f"{typed}: that is the network's gateway, which is a router; name another address"
            )


def _text(said: TypedGateway) -> str:
    return f"container:{said.container}" if said.container else ",".join(map(str, said.addresses))


def _listed(subnets: Iterable[Subnet]) -> str:
    return ", ".join(str(each.cidr) for each in subnets) or "it has none"
