"""The labs of ``ansible/labs``, each brought up as it is and looked at."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import documents, labs, snapshot
from tests.e2e.bed import OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

VLAN = str(Path(__file__).parents[1] / "vlan.py")


@pytest.fixture(scope="module", autouse=True)
def _images(shared_bed: Bed) -> None:
    labs.import_images(shared_bed)


@pytest.fixture
def far(bed: Bed) -> Iterator[Far]:
    """A switch beyond ``eth1``."""
    with beyond(bed) as far:
        yield far


def who(container: Container) -> str:
    """Return what the image that stands for nginx serves."""
    return str(container.inspect()["Config"]["Hostname"])


def test_every_lab_is_one_that_a_test_brings_up() -> None:
    tests = "".join(
        path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py")
    )
    assert [path.name for path in labs.LABS.iterdir() if f'"{path.name}"' not in tests] == []


def test_every_lab_says_at_its_head_what_it_is_and_what_to_type() -> None:
    for path in labs.LABS.iterdir():
        head, begin, _ = path.read_text("utf-8").partition(f"\n---\nname: {path.stem}\n")
        assert begin, path
        assert all(line.startswith("#") for line in head.splitlines()), path
        assert f"docker compose -f {path.relative_to(documents.REPOSITORY)} up -d" in head


def test_a_published_web_server_behind_nat(bed: Bed, host: Place, outside: Place) -> None:
    with labs.up(bed, "web.yaml") as lab:
        web, db = lab.container("web"), lab.container("db")
        for address in (WAN4, WAN6):
            outside.reaches(address, who=who(web), port=8080)
        host.reaches("127.0.0.1", who=who(web), port=8080)
        web.reaches(db.address(lab.network("back")), who=who(db))
        web.reaches(OUTSIDE6, who=WAN6, port=OUTSIDE_PORT)
        assert db.sees("route", "show", "default") == []
        assert not db.asks(WAN4, 8080), "the database has no way out"
        assert "0.0.0.0:8080/tcp" in bed.ovsnet("ports")


def test_a_vlan_for_each_team_on_a_bridge_that_is_there(bed: Bed, far: Far, host: Place) -> None:
    bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
    bed.ovs_vsctl("add-port", "br-lab", "eth1")
    bed.ip("link", "set", "eth1", "up")
    routers = {"red": "10.110.0.1", "blue": "10.120.0.1"}
    desks = {
        team: far.host(f"{team}-desk", f"{address}/24", tag=int(address.split(".")[1]))
        for team, address in routers.items()
    }
    before = snapshot.take(bed)
    with labs.up(bed, "teams.yaml") as lab:
        for team, other in (("red", "blue"), ("blue", "red")):
            container, stranger = lab.container(team), lab.container(other)
            address = container.address(lab.network(team))
            assert container.sees("route", "show", "default")[0]["gateway"] == routers[team]
            container.reaches(routers[team], who=f"{team}-desk")
            desks[team].reaches(address, who=who(container))
            desks[other].never_reaches(address)
            container.never_reaches(stranger.address(lab.network(other)))
            host.never_reaches(address)
    until(lambda: not snapshot.difference(before, snapshot.take(bed)), "all is as before")
    bed.ovs_vsctl("del-br", "br-lab")


def test_a_subnet_that_is_there_twice(bed: Bed, stage: Stage) -> None:
    stage.container("ann", stage.network("one", "-o", "ovs.mode=isolated", subnet="10.0.0.0/24"))
    with labs.up(bed, "team2.yaml") as lab:
        web = lab.container("web")
        assert web.address(lab.network("lab")) == Container(bed, "ann").address("one")
        bed.docker("run", "--rm", "--network", lab.network("lab"), "busybox", "wget", "-qO-", "web")


def test_a_router_on_a_stick(bed: Bed) -> None:
    lacking = bed.attempt("ip", "link", "add", "link", "lo", "name", "v", "type", "vlan", "id", "9")
    bed.attempt("ip", "link", "del", "v")
    override = without_8021q() if lacking.code else None
    with labs.up(bed, "stick.yaml", override=override) as lab:
        red, blue = lab.container("red"), lab.container("blue")
        for one, other, home in ((red, blue, "blue"), (blue, red, "red")):
            one.reaches(other.address(lab.network(home)), who=who(other))
        lab.compose("stop", "--timeout", "0", "router")
        red.never_reaches(blue.address(lab.network("blue")))
        lab.compose("start", "router")
        red.reaches(blue.address(lab.network("blue")), who=who(blue))


def without_8021q() -> dict[str, Any]:
    """Return the router's command with VLAN interfaces that a kernel without any can have."""
    file = (labs.LABS / "stick.yaml").read_text("utf-8")
    script = re.search(r"      - \|\n((?:        .*\n)+)", file)
    assert script
    made = f"chroot /host {sys.executable} {VLAN} \\1 \\3 &"
    command, changed = re.subn(
        r"ip link add link (\S+) name (\S+) type vlan id (\S+)",
        f"{made} until [ -e /sys/class/net/\\2 ]; do sleep 0.1; done",
        script[1],
    )
    assert changed == 1
    return {
        "services": {
            "router": {
                "command": ["sh", "-c", command],
                "volumes": ["/:/host:ro"],
                "devices": ["/dev/net/tun"],
            }
        }
    }


def test_two_hosts_on_one_trunk(bed: Bed, make_bed: Callable[..., Bed]) -> None:
    other = make_bed()
    labs.import_images(other)
    bed.wire_to(other, "eth1")
    try:
        with (
            labs.up(bed, "trunk.yaml", RANGE="64") as here,
            labs.up(other, "trunk.yaml", RANGE="128") as there,
        ):
            for name, stranger in (("data", "voice"), ("voice", "data")):
                network = here.network(name)
                near, far = here.container(name), there.container(name)
                assert int(near.address(network).rpartition(".")[2]) in range(64, 128)
                assert int(far.address(network).rpartition(".")[2]) in range(128, 192)
                near.reaches(far.address(network), who=who(far))
                far.reaches(near.address(network), who=who(near))
                away = there.container(stranger)
                near.never_reaches(away.address(there.network(stranger)))
    finally:
        bed.ip("link", "del", "eth1")
        Stage(other).clear()
