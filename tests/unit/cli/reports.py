"""Networks and endpoints as the process reports them."""

from ovsdriver.admin.views import EndpointReport, NetworkReport, SubnetReport

LAB = "1ab0" * 16
OLD = "01d0" * 16
WEB = "3eb0" * 16
DB = "db00" * 16


def network(name: str, identifier: str, **more) -> NetworkReport:
    """Return a nat network, but for what is told."""
    members = {
        "state": "ready",
        "in_docker": True,
        "bridge": "br-ovsnet",
        "vlan": 100,
        "adopted": False,
        "datapath": "netdev",
        "mode": "nat",
        "internal": False,
        "shared": False,
        "mtu": 1500,
        "subnets": (
            SubnetReport(cidr="10.1.0.0/24", gateway="10.1.0.1", space="ovsnet", pool="p1"),
        ),
        "gateway_link": "ovg1ab01ab01ab0",
        "endpoints": 1,
        "options": {"ovs.vlan": "100"},
        "in_force": {"ovs.icc": "false", "ovs.bridge": "br-lab", "ovs.rate": None},
        "engine": "",
    }
    return NetworkReport(name=name, id=identifier, **(members | more))


def endpoint(container: str, identifier: str, on: str = LAB, **more) -> EndpointReport:
    """Return an attached endpoint, but for what is told."""
    members = {
        "network_name": "lab",
        "state": "attached",
        "fault": "",
        "addresses": ("10.1.0.2/24",),
        "mac": "0a:0f:0a:01:00:02",
        "mtu": 1500,
        "bridge": "br-ovsnet",
        "vlan": 100,
        "port": f"ovh{identifier[:12]}",
        "ofport": 7,
        "sandbox": "/run/docker/netns/abc",
        "options": {},
        "in_force": {"ovs.icc": "false", "ovs.bridge": "br-lab", "ovs.rate": None},
    }
    return EndpointReport(container=container, id=identifier, network=on, **(members | more))
