"""What the log says of endpoints that may surprise somebody."""

import logging
from collections.abc import Iterable, Sequence

from ovsdriver.domain.plan import port_planning
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.wires import desired

log = logging.getLogger(__name__)


def tell_equal(endpoint: Endpoint, others: Iterable[Endpoint]) -> None:
    """Say in the log when another container of the network has the MAC that was typed.

    Not refused, as by Docker's bridge: what a crash has left may have it, and moves take turns.
    """
    mac = names.mac_text(endpoint.mac)
    for each in others:
        if each.mac == endpoint.mac and each.id != endpoint.id and not each.ended:
            log.warning(
                "endpoint.equal-mac",
                extra={
                    "network": endpoint.network,
                    "endpoint": endpoint.id,
                    "why": f"endpoint {each.id[:12]} has MAC address {mac} as well, so neither "
                    "is reached reliably while both run",
                },
            )


def tell_vlans(network: Network, endpoint: Endpoint, networks: Sequence[Network]) -> None:
    """Say in the log when a container is let into other VLANs than its network's."""
    port = desired.port_options(network, endpoint)
    if not port.trunks and endpoint.port.vlan in (None, network.segment.tag):
        return
    log.info(
        "endpoint.vlans",
        extra={
            "network": network.id,
            "endpoint": endpoint.id,
            "bridge": network.segment.bridge,
            "vlan_mode": desired.vlan_mode(network, endpoint).value,
            "untagged": port.vlan or "none",
            "vlans": vlans.text(desired.carried(network, endpoint)),
            "other_networks": " ".join(
                each.id[:12] for each in port_planning.others_carried(endpoint, network, networks)
            )
            or "none",
        },
    )
