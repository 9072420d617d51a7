"""What a network would make, told before anything is made. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.options.flows import PortFlows
from ovsdriver.domain.records.options.shaping import Shaping, sends
from ovsdriver.domain.wires import desired, mirroring, patching
from ovsdriver.domain.wires.plumbing import Bridge, Port, UplinkPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of Open vSwitch's database that would be made, or be changed."""

    table: str
    name: str
    columns: Mapping[str, object]
    there: bool
    """It is there already, and would become so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink:
    """A link of the host that would be made or taken."""

    name: str
    what: str
    mtu: int | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """All of it; ``rules`` is added by who knows the firewall."""

    network: Network
    rows: tuple[Row, ...]
    links: tuple[HostLink, ...]
    rules: tuple[str, ...] = ()
    container: PortFlows = field(default_factory=PortFlows)
    """Flows and meters of each container's port, those of a guard left out."""
    warnings: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Return the short of it, for Docker's error of a dry run."""
        network, segment = self.network, self.network.segment
        subnets = ", ".join(
            f"{each.cidr}{f' with gateway {each.gateway}' if each.gateway else ''}"
            for each in network.subnets
        )
        made = [f"{each.table} {each.name}" for each in self.rows if not each.there]
        parts = [
            f"bridge {segment.bridge} ({'adopted' if segment.adopted else 'ours'}, "
            f"{segment.datapath})",
            segment.name,
            f"mode {network.mode}",
            subnets or "no subnet",
            f"MTU {network.mtu}",
            f"new rows: {', '.join(made) or 'none'}",
            *(f"warning: {each}" for each in self.warnings),
        ]
        return f"dry run: nothing was made; it would be {'; '.join(parts)}"


def preview(
    network: Network,
    networks: Sequence[Network],
    endpoints: Sequence[Endpoint],
    *,
    owner: str,
    present: Iterable[str],
    warnings: Sequence[str] = (),
) -> Preview:
    """Return what ``network`` would make beside ``networks``, which stand.

    Args:
        network: its record, as planned.
        networks: all others.
        endpoints: of all of them.
        owner: our mark.
        present: names of the bridges and ports that Open vSwitch has.
        warnings: what is to be said besides.
    """
    there = frozenset(present)
    all_of = [*networks, network]
    segment = network.segment
    rows: list[Row] = []
    links: list[HostLink] = []
    bridge = desired.bridge(segment, all_of, owner=owner)
    if bridge is not None:
        rows.append(_bridge_row(bridge, there))
    uplink = desired.uplink_ports(all_of, endpoints, owner=owner).get(segment.bridge)
    if uplink is not None:
        rows.append(_uplink_row(uplink, there))
        what = "the host's addresses and routes move to the bridge" if uplink.host else "a trunk"
        what += "" if uplink.up else ", its cable pulled"
        what += f", {sends(uplink.rate)}, by mark" if uplink.rate else ""
        links += [
            HostLink(name=nic, what=f"uplink of {segment.bridge}: {what}") for nic in uplink.nics
        ]
    gateway = desired.gateway(network, owner=owner)
    probe = desired.probe(network, owner=owner)
    if gateway is not None:
        rows.append(_port_row(gateway.port, there))
        links.append(
            HostLink(
                name=gateway.port.name,
                what="gateway of the network, forwarding"
                if network.mode.has_gateway
                else "this host's place on the network",
                mtu=gateway.mtu,
                addresses=tuple(map(str, gateway.addresses)),
            )
        )
    if probe is not None:
        rows.append(_port_row(probe.port, there))
        links.append(HostLink(name=probe.port.name, what="addresses are asked for", mtu=probe.mtu))
    for pair in patching.pairs(all_of, owner=owner):
        if segment.bridge in pair.bridges:
            rows += [_port_row(each, there) for each in pair.ends]
    mirrored = mirroring.mirroring(segment.bridge, all_of, endpoints, owner=owner)
    rows += [_port_row(each, there) for each in mirrored.outputs]
    rows += [
        Row(
            table="Mirror",
            name=each.name,
            columns={"output_port": each.output, "select_vlan": each.vlan},
            there=False,
        )
        for each in mirrored.mirrors
        if each.name == names.network_mirror(network.id)
    ]
    return Preview(
        network=network,
        rows=tuple(rows),
        links=tuple(links),
        container=Shaping.of(network.port).metered,
        warnings=(*warnings, *(w for w in mirrored.in_vain if network.id[:12] in w)),
    )


def _bridge_row(bridge: Bridge, there: frozenset[str]) -> Row:
    columns: dict[str, Any] = {"datapath_type": bridge.datapath.value}
    columns |= {name: _plain(value) for name, value in bridge.features.said().items()}
    columns["external_ids"] = dict(bridge.external_ids)
    return Row(table="Bridge", name=bridge.name, columns=columns, there=bridge.name in there)


def _port_row(port: Port, there: frozenset[str]) -> Row:
    columns: dict[str, Any] = {"bridge": port.bridge, "tag": port.tag, "vlan_mode": port.vlan_mode}
    if port.internal:
        columns["type"] = "internal"
    if port.tunnel is not None:
        columns["type"], columns["remote_ip"] = port.tunnel.kind, str(port.tunnel.remote)
    if port.peer:
        columns["type"], columns["peer"] = "patch", port.peer
    if port.trunks:
        columns["trunks"] = list(port.trunks)
    if port.mac is not None:
        columns["mac"] = names.mac_text(port.mac)
    if port.mtu is not None:
        columns["mtu_request"] = port.mtu
    columns["external_ids"] = dict(port.external_ids)
    return Row(table="Port", name=port.name, columns=columns, there=port.name in there)


def _uplink_row(port: UplinkPort, there: frozenset[str]) -> Row:
    columns: dict[str, Any] = {
        "bridge": port.bridge,
        "interfaces": list(port.nics),
        "vlan_mode": "trunk",
        "trunks": list(port.trunks),
    }
    if port.bond is not None:
        columns |= {"bond_mode": port.bond.value, "lacp": port.lacp.value}
    columns["external_ids"] = dict(port.external_ids)
    return Row(table="Port", name=port.name, columns=columns, there=port.name in there)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str | None):
        return value
    return list(value) if isinstance(value, tuple) else "+".join(value.targets)
