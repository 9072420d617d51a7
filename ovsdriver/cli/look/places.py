"""What the words of ``ovsnet trace`` mean: containers with their places, addresses, this host."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from netaddr import AddrFormatError, IPAddress

from ovsdriver.admin.by_name import typed
from ovsdriver.admin.views import EndpointReport, NetworkReport, Report
from ovsdriver.cli import named, show
from ovsdriver.cli.outcome import Refusal
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.domain.tracing.containers import End

OUTSIDE_WORD, HOST_WORD, DNS_WORD = "outside", "host", "dns"


class Placed(NamedTuple):
    """A container's place on a network."""

    network: NetworkReport
    endpoint: EndpointReport

    @property
    def families(self) -> set[int]:
        """Of its addresses."""
        return {each.version for each in self.endpoint.endpoint.addresses}

    def address(self, family: int) -> IPAddress:
        """Return its address of a family that it has."""
        return next(e.ip for e in self.endpoint.endpoint.addresses if e.version == family)


@dataclass(frozen=True, slots=True, kw_only=True)
class Somewhere:
    """What a word means."""

    name: str
    placed: tuple[Placed, ...] = ()
    """A container's places; none: it is no container."""
    address: IPAddress | None = None
    host: bool = False


class Places:
    """Finds what is meant in what the process tells of everything."""

    def __init__(self, state: Report, *, is_local: Callable[[IPAddress], bool]) -> None:
        """Look in ``state``; ``is_local`` tells addresses of this host."""
        self._state = state
        self._is_local = is_local

    def meant(self, text: str, near: str = "") -> Somewhere:
        """Return what a word means.

        Args:
            text: as typed.
            near: the other end: of containers with one address, one of its networks is meant.

        Raises:
            Refusal: it is not known, or several things.
        """
        if text == OUTSIDE_WORD:
            return Somewhere(name="outside")
        if text == HOST_WORD:
            return Somewhere(name="this host", host=True)
        address = _address(text)
        if address is None:
            return Somewhere(name=text.rpartition("/")[2], placed=self._places(text))
        holders = tuple(
            Placed(network, endpoint)
            for network, endpoint in self.everybody()
            if any(each.ip == address for each in endpoint.endpoint.addresses)
        )
        if len(holders) > 1:  # one subnet in several spaces
            networks = {p.network.network.id for p in self._places(near)} if near else set()
            holders = tuple(p for p in holders if p.network.network.id in networks) or holders[:1]
        if holders:
            found = holders[0]
            return Somewhere(name=called(found), placed=holders[:1], address=address)
        host = self._is_local(address)
        name = f"{address} of this host" if host else str(address)
        return Somewhere(name=name, address=address, host=host)

    def _places(self, text: str) -> tuple[Placed, ...]:
        found = [
            Placed(network, endpoint)
            for network, endpoint in self.everybody()
            if endpoint.container and endpoint.container == text
        ]
        networks = any(each.name == text for each in self._state.networks)
        if not found or networks:
            network, endpoint = named.target(text, self._state)
            if endpoint is None:
                raise Refusal(f"{text} is a network; name a container of it, NETWORK/CONTAINER")
            found = [Placed(network, endpoint)]
        return tuple(found)

    def everybody(self) -> Iterator[tuple[NetworkReport, EndpointReport]]:
        """Yield every endpoint with its network."""
        networks = {each.network.id: each for each in self._state.networks}
        for each in self._state.endpoints:
            yield networks[each.endpoint.network], each


def name_of(network: NetworkReport) -> str:
    """Return what to type for a network."""
    return typed(network.name, network.network.id)


def called(placed: Placed) -> str:
    """Return a container's name, or the begin of its endpoint's id."""
    return placed.endpoint.container or show.short(placed.endpoint.endpoint.id)


def end_of(placed: Placed) -> End:
    """Return a container on a network, as it was not looked into yet."""
    network, endpoint = placed.network.network, placed.endpoint.endpoint
    segment = network.segment
    home, vlan = segment.tag, placed.endpoint.port.vlan
    gateways = [str(each.gateway) for each in network.subnets if each.gateway is not None]
    behind = not network.mode.has_gateway and not segment.outside
    router = (network.gateway_container or " and ".join(gateways)) if behind else ""
    closed = "--internal" if network.internal else f"ovs.mode={network.mode}"
    return End(
        name=called(placed),
        network=name_of(placed.network),
        network_id=network.id,
        state=placed.endpoint.state,
        fault=placed.endpoint.fault,
        addresses=endpoint.addresses,
        bridge=placed.endpoint.bridge,
        vlan=vlan,
        mode=network.mode.value,
        isolate=network.isolate,
        icc=network.icc,
        protected=endpoint.protected,
        sink=bool(placed.endpoint.port.sink),
        inside=None,
        closed=closed if network.internal or network.mode is Mode.ISOLATED else "",
        has_wire=segment.outside or placed.network.wired,
        wire_pulled=placed.network.uplink is not None and placed.network.uplink.pulled,
        router=router,
        gateway_link=placed.network.gateway_link or "",
        segment=segment.segment if isinstance(segment, OvnSegment) else "",
        home_vlan=home if home is not None and vlan != home else None,
        joined=frozenset(placed.network.joined if vlan == home else ()),
        pulled=frozenset(placed.network.pulled if vlan == home else ()),
    )


def _address(text: str) -> IPAddress | None:
    """Return the address that a word is; None if it is a name."""
    try:
        return IPAddress(text) if "." in text or ":" in text else None
    except (AddrFormatError, ValueError):
        return None
