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
    segment = plan["network"]["segment"]
    assert bed.ovs_vsctl("get", "Bridge", bridge["name"], "datapath_type") == segment["datapath"]
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


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("com.docker.network.bridge.inhibit_ipv4=true", "ovs.mode=flat puts no address"),
        ("com.docker.network.bridge.trusted_host_interfaces=eth1", "ovsnet does not do that"),
        ("com.docker.network.host_ipv4=192.0.2.1", "ovsnet does not do that"),
        ("com.docker.network.bridge.nmae=br5", "did you mean `com.docker.network.bridge.name`?"),
        ("com.ovs.vlan=7", "did you mean `ovs.vlan`?"),
    ],
)
def test_an_option_that_works_on_dockers_bridge_alone_is_refused(
    bed: Bed, option: str, words: str
) -> None:
    assert words in bed.docker_refuses(*CREATE, "-o", option, "lab")
    assert words in bed.try_ovsnet("plan", "-o", option).err


def test_options_of_others_are_named_where_people_look(bed: Bed, stage: Stage) -> None:
    label = ("-o", "com.example.rack=r1")
    said = "option com.example.rack is ignored: it is not ovsnet's"
    assert f"Warning: {said}" in bed.ovsnet("plan", *label)
    assert said in bed.docker_refuses(*CREATE, *label, "-o", "ovs.dry_run=true", "lab")
    stage.network("lab", *label)
    shown = [line.split() for line in bed.ovsnet("network", "show", "lab").splitlines()]
    assert ["Ignored", "com.example.rack=r1"] in shown
