"""Networks and endpoints as the process reports them."""

from typing import Any

from netaddr import EUI, IPNetwork

from ovsdriver.admin.views import EndpointReport, NetworkReport
from ovsdriver.domain.records.model import Endpoint, EndpointId, Mode, Network, NetworkId
from ovsdriver.domain.records.options.port_options import PortKind, PortOptions, VlanMode
from tests.builders import a_segment, a_subnet

LAB = "1ab0" * 16
OLD = "01d0" * 16
WEB = "3eb0" * 16
DB = "db00" * 16

_REPORTED = frozenset(
    {
        *("state", "in_docker", "gateway_link", "probe_link", "endpoints", "uplink"),
        *("network_name", "fault", "trunked_networks", "copies", "ofport", "reserved"),
        *("unpublished", "unpublished_why", "interface", "excess"),
    }
)


def network(name: str, identifier: str, **more: Any) -> NetworkReport:
    """Return a nat network, but for what is told: of its record, its segment or the report."""
    segment = {
        each: more.pop(each) for each in ("bridge", "adopted", "datapath", "wire") if each in more
    }
    if "wire" in segment:
        segment["uplink"] = segment.pop("wire")
    told = {each: more.pop(each) for each in _REPORTED & more.keys()}
    record = {
        "mode": Mode(more.pop("mode", "nat")),
        "segment": a_segment(segment.pop("bridge", "br-ovsnet"), more.pop("vlan", 100), **segment),
        "subnets": (a_subnet(pool="p1"),),
        "options": {"ovs.vlan": "100"},
    }
    return NetworkReport(
        network=Network(id=NetworkId(identifier), **(record | more)),
        name=name,
        **(
            {
                "state": "ready",
                "in_docker": True,
                "gateway_link": "ovg1ab01ab01ab0",
                "endpoints": 1,
            }
            | told
        ),
    )


def endpoint(container: str, identifier: str, on: str = LAB, **more: Any) -> EndpointReport:
    """Return an attached endpoint, but for what is told: of its record, its port or the report."""
    told = {each: more.pop(each) for each in _REPORTED & more.keys()}
    port = PortOptions(
        kind=PortKind(more.pop("port_kind", "veth")),
        vlan=more.pop("vlan", 100),
        vlan_mode=VlanMode(more.pop("vlan_mode", "access")),
        trunks=more.pop("trunks", ()),
        sink=more.pop("sink", None),
    )
    record = {
        "addresses": tuple(map(IPNetwork, more.pop("addresses", ("10.1.0.2/24",)))),
        "mac": EUI(more.pop("mac", "0a:0f:0a:01:00:02")),
        "sandbox": "/run/docker/netns/abc",
        "port": port,
    }
    return EndpointReport(
        endpoint=Endpoint(id=EndpointId(identifier), network=NetworkId(on), **(record | more)),
        port=port,
        bridge="br-ovsnet",
        container=container,
        port_name=f"ovh{identifier[:12]}",
        **(
            {
                "network_name": "lab",
                "state": "attached",
                "fault": "",
                "ofport": 7,
            }
            | told
        ),
    )
