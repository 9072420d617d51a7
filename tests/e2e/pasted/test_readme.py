"""The documents' commands, pasted in their order on a host with the bridge and NIC of them."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import documents, labs
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

ELSEWHERE = (
    *("ansible/lab", "tests/run", "systemctl", "ovsnet ipam release"),
    *("ovsnet segment", "ovsnet host", "ovsnet test", "ovsnet web", "ovsnet events -f"),
)
"""What changes the machine itself, what needs an address that Docker has forgotten, what needs
other hosts, and what has tests of its own."""
ANSWERED = {"ovsnet purge": " --yes", "ovsnet capture web -w web.pcap": " --seconds 1"}
"""What a person would answer, or end."""


@pytest.fixture
def surroundings(bed: Bed) -> Iterator[Far]:
    """A NIC ``eth1``, and somebody's bridge ``br-lab`` with a wire of its own."""
    labs.import_images(bed)
    with beyond(bed, "eth1", "eth3") as far:
        bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
        bed.ovs_vsctl("add-port", "br-lab", "eth3")
        bed.ip("link", "set", "eth3", "up")
        yield far
        bed.ovs_vsctl("del-br", "br-lab")
        bed.ovs_vsctl("remove", "Open_vSwitch", ".", "other_config", "vlan-limit")


def test_the_commands_of_the_documents_work_when_they_are_pasted_in_their_order(
    bed: Bed, surroundings: Far, stage: Stage, outside: Place
) -> None:
    routers = {
        "office": surroundings.host("office", "192.168.20.1/24", tag=20),
        "lan30": surroundings.host("lan30", "192.168.30.1/24", tag=30),
    }
    shell = documents.Shell(bed, elsewhere=ELSEWHERE, answered=ANSWERED)
    (shell.folder / "reservations").write_text("172.24.0.8 db # of a document\n")
    (shell.folder / "agent.rules").write_text("allow any # of a document\n")
    checks: dict[str, Callable[[], None]] = {
        "--ipam-driver ovsipam lab": lambda: first_network(bed, shell),
        "office": lambda: on_a_wire(bed, routers["office"], "copier", "office"),
        "printer": lambda: on_a_wire(bed, routers["lan30"], "printer", "lan30"),
        "shop": lambda: published(bed, shell, outside),
        "ovs.guard=true": lambda: out(bed, "teacher"),
        "ovs.rate=": lambda: out(bed, "branch"),
    }
    last = ""
    for block in documents.commands():
        if "ovs.mode=routed" in block and "ovsnet set" in block:
            bed.docker("rm", "--force", "shop")  # nothing is published on routed networks
        if lacks_vlans(bed):
            block = re.sub(r"docker exec router ip link add .*\n", "", block)
        last += "".join(re.findall(r"ovsnet purge.*\n", block))
        shell.paste(re.sub(r"ovsnet purge.*\n", "", block))
        for word, check in checks.items():
            if word in block:
                check()
    shell.paste(last)
    assert bed.ovs_vsctl("list-br").split() == ["br-far", "br-lab"]
    stage.clear()
    bed.ovsnet("ipam", "reserve", "--file", "/dev/null", "--prune")
    bed.ovsnet("firewalld", "--remove")
    assert (shell.folder / "ovsnet.db").stat().st_size
    bed.run("rm", "-r", str(shell.folder))


def lacks_vlans(bed: Bed) -> bool:
    """Whether the kernel has no VLAN interfaces; ``test_labs.py`` has others in their place."""
    made = ("ip", "link", "add", "link", "lo", "name", "v", "type", "vlan", "id", "9")
    lacking = bed.attempt(*made).code != 0
    bed.attempt("ip", "link", "del", "v")
    return lacking


def first_network(bed: Bed, shell: documents.Shell) -> None:
    web = Container(bed, "web")
    asked = "docker run --rm --network lab busybox wget -qO- http://web"
    assert shell.said[asked].out == who(web)
    out(bed, "web")


def on_a_wire(bed: Bed, router: Place, name: str, network: str) -> None:
    container = Container(bed, name)
    router.reaches(container.address(network), who=who(container))
    (way,) = container.sees("route", "show", "default")
    container.reaches(way["gateway"], who=router.name)


def published(bed: Bed, shell: documents.Shell, outside: Place) -> None:
    shop = Container(bed, "shop")
    assert shell.said["curl http://127.0.0.1:8080"].out == who(shop)
    outside.reaches(WAN4, who=who(shop), port=8080)
    assert "127.0.0.1:8443/tcp" in shell.said["ovsnet ports"].out


def out(bed: Bed, name: str) -> None:
    container = Container(bed, name)
    # a document has pulled its cable for half a minute
    until(lambda: container.pings(OUTSIDE4), f"{name} reaches the outside", timeout_s=60)
    container.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)


def who(container: Container) -> str:
    return str(container.inspect()["Config"]["Hostname"])
