"""What an uplink lacks, and what of it is not ours to mend. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from ovsdriver.domain.records.model import Network
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedLink, ObservedPort
from ovsdriver.domain.wires.plumbing import UplinkPort
from ovsdriver.domain.wires.uplinks import link_local


def lacks(
    wanted: UplinkPort, ports: Mapping[str, ObservedPort], links: Mapping[str, ObservedLink]
) -> str:
    """Return what is to be mended of an uplink of ours; empty if it is as it should be.

    A NIC that is gone cannot be mended: see :func:`beyond`.
    """
    port = ports.get(wanted.name)
    if any(nic not in links for nic in wanted.nics):
        return ""
    if port is None:
        return f"uplink {wanted.name} is not there"
    return _differs(wanted, port) or _is_down(wanted, links) or _failed(wanted, port)


def _differs(wanted: UplinkPort, port: ObservedPort) -> str:
    bond = (wanted.bond.value, wanted.lacp.value) if wanted.bond else ("", "")
    marks = all(port.external_ids.get(key) == value for key, value in wanted.external_ids.items())
    trunk = (port.vlan_mode, port.tag, port.trunks) == ("trunk", None, wanted.trunks)
    for right, why in (
        (port.bridge == wanted.bridge, f"is on bridge {port.bridge}"),
        (set(port.interfaces) == set(wanted.nics), f"has the NICs {', '.join(port.interfaces)}"),
        (trunk, f"does not carry exactly VLAN {_listed(wanted.trunks)}"),
        ((port.bond_mode, port.lacp) == bond, "has another bond_mode or lacp"),
        (marks, "has lost ovsnet's marks"),
    ):
        if not right:
            return f"uplink {wanted.name} {why}"
    return ""


def _is_down(wanted: UplinkPort, links: Mapping[str, ObservedLink]) -> str:
    odd = " and ".join(nic for nic in wanted.nics if links[nic].up is not wanted.up)
    if not odd:
        return ""
    return f"uplink {odd} is down" if wanted.up else f"uplink {odd} is up, and ovs.uplink_link=down"


def _failed(wanted: UplinkPort, port: ObservedPort) -> str:
    return f"uplink {wanted.name}: {port.error}" if port.error else ""


def beyond(
    networks: Iterable[Network],
    wires: Mapping[str, UplinkPort],
    bridges: Mapping[str, ObservedBridge],
    links: Mapping[str, ObservedLink],
) -> Iterator[str]:
    """Return a sentence for each thing about uplinks that a person has to do."""
    for wire in wires.values():
        for nic in wire.nics:
            if nic not in links:
                yield (
                    f"uplink {nic} of bridge {wire.bridge} is not there; it is used again when it "
                    "comes back"
                )
            elif addresses := _stray(wire, links[nic]):
                yield (
                    f"uplink {nic} of bridge {wire.bridge} has {', '.join(addresses)}, at which "
                    f"nobody reaches this host; remove it (ip address del {addresses[0]} dev {nic})"
                    ", or make the network again with -o ovs.uplink_move=true"
                )
    for network in networks:
        uplink, bridge = network.segment.uplink, bridges.get(network.segment.bridge)
        if uplink is None or not uplink.given or bridge is None or network.ended:
            continue
        present = {nic for port in bridge.ports for nic in port.interfaces}
        missing = [nic for nic in uplink.nics if nic not in present]
        if missing:
            yield (
                f"network {network.id[:12]}: its uplink {'+'.join(missing)} was on bridge "
                f"{bridge.name} when it was made and is not now; put it back: ovs-vsctl add-port "
                f"{bridge.name} {missing[0]}"
            )


def _stray(wire: UplinkPort, link: ObservedLink) -> list[str]:
    """Return the addresses of an uplink that is no place of the host's; a moved host moves on."""
    return [] if wire.host else [str(each) for each in link.addresses if not link_local(each)]


def _listed(tags: Iterable[int]) -> str:
    return ", ".join(str(tag or "none") for tag in tags)
