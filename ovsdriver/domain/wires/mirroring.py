"""Mirrors: copies of what containers send and get, led somewhere to be looked at. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import NO_OPTIONS, Endpoint, Network, NetworkId, on_bridge
from ovsdriver.domain.records.options.port_options import MirrorKind, MirrorTarget, VlanTag
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import Port, Tunnel

NOBODYS_TAG = VlanTag(4095)
"""Of ports that mirrors lead to: reserved by IEEE 802.1Q, so they are in no network's VLAN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A mirror that should be there."""

    name: str
    bridge: str
    output: str
    """Name of the port that gets the copies; Open vSwitch keeps it for them alone."""
    vlan: VlanTag | None = None
    """Everything in this VLAN is copied, 0: what has none; or else what of the next."""
    ports: tuple[str, ...] = ()
    """What these send and get is copied, of those that are there."""
    external_ids: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirroring:
    """All mirrors of one bridge, and the ports that they need besides those of containers."""

    mirrors: tuple[Mirror, ...] = ()
    outputs: tuple[Port, ...] = ()
    in_vain: tuple[str, ...] = ()
    """Of what nobody gets copies, a sentence each."""

    @property
    def nics(self) -> frozenset[str]:
        """NICs of the host among the outputs."""
        return frozenset(each.name for each in self.outputs if each.tunnel is None)


def mirroring(
    bridge: str, networks: Iterable[Network], endpoints: Iterable[Endpoint], *, owner: str
) -> Mirroring:
    """Return the mirrors of ``bridge``; those that nobody is there for are left out."""
    homes, plugged = _present(bridge, networks, endpoints)
    sinks = _receivers(homes, plugged)
    mirrors: list[Mirror] = []
    outputs: dict[str, Port] = {}
    in_vain: list[str] = []

    def add(
        target: MirrorTarget,
        name: str,
        ids: Mapping[str, str],
        what: str,
        *,
        apart: bool,
        **of: object,
    ) -> None:
        port, looks = _output(target, bridge, owner), sinks.get(target.sink)
        if port is not None:
            outputs[port.name] = port
            output = port.name
        elif looks is not None:
            output = names.port(looks)
            if apart and _kept_apart(homes[looks.network], looks):
                # Open vSwitch leads nothing from one protected port to another, copies neither
                in_vain.append(
                    f"{what} is mirrored to {target.sink}, and ovs.icc=false or ovs.protected "
                    "keeps copies from it; connect the container that looks to another network"
                )
        else:
            in_vain.append(
                f"{what} is mirrored to {target.sink}, and no container on bridge {bridge} has "
                f"ovs.sink={target.sink}"
            )
            return
        mirrors.append(
            Mirror(name=name, bridge=bridge, output=output, external_ids=ids, **of)  # type: ignore[arg-type]
        )

    for network in homes.values():
        of = _traffic(network, plugged)
        if network.port.mirror is not None and of:
            add(
                network.port.mirror,
                names.network_mirror(network.id),
                names.mirror_ids(owner, network.id),
                f"network {network.id[:12]}",
                apart=any(
                    _kept_apart(network, each)
                    for each in plugged
                    if each.network == network.id and each not in sinks.values()
                ),
                **of,
            )
    for endpoint in plugged:
        if endpoint.port.mirror is not None:
            add(
                endpoint.port.mirror,
                names.endpoint_mirror(endpoint.id),
                names.mirror_ids(owner, endpoint.network, endpoint.id),
                f"endpoint {endpoint.id[:12]}",
                apart=_kept_apart(homes[endpoint.network], endpoint),
                ports=(names.port(endpoint),),
            )
    # What a container that looks gets is no traffic to be looked at.
    used = {each.output for each in mirrors}
    return Mirroring(
        mirrors=tuple(
            replace(each, ports=tuple(port for port in each.ports if port not in used))
            for each in mirrors
            if not each.ports or not used.issuperset(each.ports)
        ),
        outputs=tuple(outputs.values()),
        in_vain=tuple(in_vain),
    )


def receivers(
    bridge: str, networks: Iterable[Network], endpoints: Iterable[Endpoint]
) -> Mapping[str, Endpoint]:
    """Return the endpoint that gets the copies for each word of ``ovs.sink`` on ``bridge``."""
    return _receivers(*_present(bridge, networks, endpoints))


def _present(
    bridge: str, networks: Iterable[Network], endpoints: Iterable[Endpoint]
) -> tuple[Mapping[NetworkId, Network], Sequence[Endpoint]]:
    """Return the networks of a bridge, and the endpoints on it that are in containers."""
    homes = {each.id: each for each in on_bridge(bridge, networks)}
    return homes, [
        each
        for each in endpoints
        if each.network in homes and each.sandbox is not None and not each.ended
    ]


def _receivers(
    homes: Mapping[NetworkId, Network], plugged: Iterable[Endpoint]
) -> Mapping[str, Endpoint]:
    # Open vSwitch leads a mirror to one port. The order of records changes with every restart.
    found: dict[str, Endpoint] = {}
    looking = [(word, each) for each in plugged if (word := sink(homes[each.network], each))]
    for word, each in sorted(looking, key=lambda item: desired.by_address(item[1])):
        found.setdefault(word, each)
    return found


def _traffic(network: Network, plugged: Iterable[Endpoint]) -> Mapping[str, object]:
    """Return what of a bridge is a network's, as :class:`Mirror` has it; nothing: nobody's."""
    if not network.segment.by_ovn:
        return {"vlan": network.segment.tag}
    # OVN tells segments apart by their ports alone
    ports = sorted(names.port(each) for each in plugged if each.network == network.id)
    return {"ports": tuple(ports)} if ports else {}


def _kept_apart(network: Network, endpoint: Endpoint) -> bool:
    """Whether the bridge itself keeps an endpoint's port apart from others."""
    return desired.protected(network, endpoint) and not network.segment.by_ovn


def sink(network: Network, endpoint: Endpoint) -> str | None:
    """Return the word whose copies ``endpoint`` gets; None if it gets none."""
    return endpoint.port.sink or network.port.sink


def _output(target: MirrorTarget, bridge: str, owner: str) -> Port | None:
    if target.kind is MirrorKind.SINK:
        return None
    tunnel = None
    name = target.nic
    if target.remote is not None:
        tunnel = Tunnel(kind=target.kind.value, remote=target.remote)
        name = names.mirror_tunnel(bridge, target.kind.value, target.remote)
    return Port(
        name=name,
        bridge=bridge,
        tag=NOBODYS_TAG,
        tunnel=tunnel,
        external_ids=names.mirror_output_ids(owner),
    )
