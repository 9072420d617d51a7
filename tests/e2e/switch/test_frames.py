"""Tagged frames sent by containers, or by the host on a gateway, must arrive nowhere else."""

import time

import pytest

from tests.e2e import ears
from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker

Q, AD = "8100", "88a8"


def stacks(vlans: list[int]) -> dict[str, str]:
    """Return tag stacks that try to get into ``vlans``, by a label for each."""
    found = {"plain": "-"}
    for vlan in vlans:
        found[f"q{vlan}"] = f"{Q}:{vlan}"
        found[f"ad{vlan}"] = f"{AD}:{vlan}"
        found[f"zero-q{vlan}"] = f"{Q}:0,{Q}:{vlan}"
        for outer in vlans:
            found[f"q{outer}-q{vlan}"] = f"{Q}:{outer},{Q}:{vlan}"
            found[f"ad{outer}-q{vlan}"] = f"{AD}:{outer},{Q}:{vlan}"
    return found


def test_tagged_frames_arrive_in_no_other_network(bed: Bed, stage: Stage, host: Place) -> None:
    networks = {
        "nat": stage.network("nat", subnet="10.77.1.0/24"),
        "other": stage.network("other", "-o", "ovs.vlan=200", subnet="10.77.2.0/24"),
        "flat": stage.network("flat", "-o", "ovs.mode=flat", subnet="10.77.3.0/24"),
        "inside": stage.network("inside", "--internal", subnet="10.77.4.0/24"),
        "plain": stage.network("plain", "-o", "ovs.vlan=none", subnet="10.77.5.0/24"),
    }
    links: dict[str, ears.Link] = {}
    for kind, network in networks.items():
        for number in (1, 2):
            container = stage.container(f"{kind}{number}", network)
            links[f"{kind}-c{number}"] = (container, "eth0")
    gateways = {"nat": "10.77.1.1", "other": "10.77.2.1", "plain": "10.77.5.1"}
    for kind, address in gateways.items():
        (device,) = (
            link["ifname"]
            for link in host.sees("address")
            if address in [each.get("local") for each in link["addr_info"]]
        )
        links[f"{kind}-gateway"] = (host, device)
    ports = bed.ovs_vsctl("list-ports", "br-ovsnet").split()
    vlans = sorted({int(bed.ovs_vsctl("get", "Port", port, "tag")) for port in ports})
    assert len(vlans) == len(networks)

    tried = stacks([*vlans, 4095])
    with ears.listening(bed, links) as heard:
        for name, link in links.items():
            ears.send(link, [(f"{name}/{label}", stack) for label, stack in tried.items()])
        for name in links:
            family = {n for n in links if n.split("-")[0] == name.split("-")[0]} - {name}
            heard.wait_for(f"{name}/plain", family)
        time.sleep(1)  # what is to arrive wrongly may be slower than what arrives rightly
        strays = []
        for listener in links:
            for label in heard.heard(listener):
                sender = label.partition("/")[0]
                if sender.split("-")[0] != listener.split("-")[0]:
                    strays.append(f"{listener} heard {label}")
        assert strays == []


def test_priority_tagged_frames_stay_in_their_network(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    plain = stage.network("plain", "-o", "ovs.vlan=none", subnet="10.77.2.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    c, d = stage.container("cat", plain), stage.container("dan", plain)
    links: dict[str, ears.Link] = {x.name: (x, "eth0") for x in (a, b, c, d)}
    with ears.listening(bed, links) as heard:
        for name, link in links.items():
            ears.send(link, [(f"{name}/priority", f"{Q}:0"), (f"{name}/plain", "-")])
        for name, other in (("ann", "bob"), ("bob", "ann"), ("cat", "dan"), ("dan", "cat")):
            heard.wait_for(f"{name}/plain", {other})
            assert heard.hearers(f"{name}/plain") == {other}
            assert heard.hearers(f"{name}/priority") <= {other}
