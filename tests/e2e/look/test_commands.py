"""The command line beside real containers: what it shows, and what purge removes."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker


def shown(bed: Bed, *command: str) -> Any:
    """Return what a command prints with ``--json``."""
    return json.loads(bed.ovsnet(*command, "--json"))


def test_networks_and_endpoints_are_shown_with_dockers_names(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    container = stage.container("ann", network)
    (one,) = shown(bed, "network", "ls")
    record = one["network"]
    assert (record["id"], one["name"], record["mode"]) == (network.id, "one", "nat")
    assert (record["segment"]["bridge"], record["segment"]["tag"]) == ("br-ovsnet", 100)
    (ann,) = shown(bed, "endpoint", "ls")
    assert (ann["container"], ann["endpoint"]["network"]) == ("ann", network.id)
    assert ann["endpoint"]["addresses"] == ["10.77.1.2/24"]
    assert ann["endpoint"]["mac"] == container.link("eth0")["address"]
    assert ann["port_name"] in bed.ovs_vsctl("list-ports", "br-ovsnet").split()
    table = bed.ovsnet("endpoint", "ls")
    assert "ann" in table
    assert "10.77.1.2" in table


def test_status_and_check_find_a_healthy_host(bed: Bed) -> None:
    status = bed.try_ovsnet("status")
    assert status.code == 0, status
    check = bed.try_ovsnet("check", "--config", str(bed.settings), f"--state-dir={bed.state_dir}")
    assert check.code == 0, check
    assert "fail" not in {line.split()[0] for line in check.out.splitlines() if line}


def test_status_and_check_name_what_is_down(bed: Bed) -> None:
    bed.plugin.stop()
    try:
        status = bed.try_ovsnet("status")
        assert status.code == 3
        assert "ovsnet" in status.out + status.err
        bed.vswitchd.stop()
        bed.ovsdb.stop()
        check = bed.try_ovsnet("check", f"--state-dir={bed.state_dir}")
        assert check.code == 1
        assert [line for line in check.out.splitlines() if line.startswith("fail  Open vSwitch")]
    finally:
        bed.revive()


def test_purge_asks_first(bed: Bed, stage: Stage) -> None:
    stage.container("ann", stage.network("one", subnet="10.77.1.0/24"))
    before = bed.ovs_vsctl("list-ports", "br-ovsnet")
    answer = bed.try_ovsnet("purge", f"--state-dir={bed.state_dir}", stdin="n\n")
    assert answer.code == 1
    assert bed.ovs_vsctl("list-ports", "br-ovsnet") == before


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_purge_removes_all_that_is_ours_and_nothing_else(
    make_bed: Callable[..., Bed], running: bool
) -> None:
    bed = make_bed()
    stage = Stage(bed)
    host = Place(bed, "the host")
    bed.ovs_vsctl("add-br", "br-phys", "--", "set", "Bridge", "br-phys", "datapath_type=netdev")
    links = host.links() | {"br-phys"}
    tables = bed.nft("list", "tables")
    stage.container("ann", stage.network("one", subnet="10.77.1.0/24"))
    adopted = ("-o", "ovs.bridge=br-phys", "-o", "ovs.vlan=30")
    stage.container("bob", stage.network("two", *adopted, subnet="10.77.2.0/24"))
    if not running:
        bed.plugin.stop()
    bed.ovsnet("purge", "--yes", f"--state-dir={bed.state_dir}")
    assert bed.ovs_vsctl("list-br") == "br-phys"
    assert bed.ovs_vsctl("list-ports", "br-phys") == ""
    assert host.links() == links
    assert bed.nft("list", "tables") == tables
    assert "0x10000000" not in bed.run("iptables", "-S")
    if not running:
        bed.start_plugin()
    stage.clear()
    again = stage.network("one", subnet="10.77.1.0/24")
    ann, bob = stage.container("ann", again), stage.container("bob", again)
    ann.reaches(bob.address(again), who="bob")
