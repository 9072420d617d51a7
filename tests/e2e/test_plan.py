"""``ovsnet plan`` and dry runs beside a real Docker: what they name is what is then made."""

import json

import pytest

from tests.e2e import snapshot
from tests.e2e.bed import Bed
from tests.e2e.stage import Stage

pytestmark = pytest.mark.docker

CREATE = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")


def test_a_plan_names_what_is_then_made_and_makes_nothing(bed: Bed, stage: Stage) -> None:
    before = snapshot.take(bed)
    options = ("-o", "ovs.vlan=77", "-o", "ovs.mtu=1400")
    plan = json.loads(bed.ovsnet("plan", *options, "--subnet", "10.77.5.0/24", "--json"))
    shown = bed.ovsnet("plan", *options, "--subnet", "10.77.5.0/24")
    assert shown.endswith("Nothing was made.")
    refused = bed.docker_refuses(
        *CREATE, *options, "--subnet", "10.77.5.0/24", "-o", "ovs.dry_run=true", "lab"
    )
    assert "dry run: nothing was made; it would be bridge br-ovsnet" in refused
    assert not snapshot.difference(before, snapshot.take(bed))

    lab = stage.network("lab", *options, subnet="10.77.5.0/24")
    (bridge, gateway) = plan["rows"]
    assert bed.ovs_vsctl("get", "Bridge", bridge["name"], "datapath_type") == plan["datapath"]
    port = f"ovg{lab.id[:12]}"
    assert bed.ovs_vsctl("get", "Port", port, "tag") == str(gateway["columns"]["tag"]) == "77"
    assert gateway["columns"]["mac"] in bed.ovs_vsctl("get", "Interface", port, "mac")
    (link,) = plan["links"]
    assert link["addresses"] == ["10.77.5.1/24"]
    assert "10.77.5.1/24" in bed.ip("address", "show", port)
    assert f"mtu {link['mtu']}" in bed.ip("link", "show", port)
    assert plan["rules"]

    again = bed.try_ovsnet("plan", "-o", "ovs.vlan=77")
    assert again.code == 1
    assert "VLAN 77 on bridge br-ovsnet carries network" in again.err
