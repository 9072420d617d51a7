"""The store's commands beside a real Docker: nothing sound is called wrong, and nothing is lost."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.world import Result

pytestmark = pytest.mark.docker


def asked(bed: Bed, command: str, *words: str) -> Result:
    return bed.try_ovsnet(
        *("ipam", command, *words, "--config", str(bed.settings), f"--state-dir={bed.state_dir}")
    )


def wrong(bed: Bed) -> list[str]:
    """Return what ``ovsnet ipam check`` calls wrong."""
    shown = asked(bed, "check", "--json")
    found = [each["text"] for each in json.loads(shown.out) if each["level"] != "ok"]
    assert bool(found) == bool(shown.code), shown
    return found


def leases(bed: Bed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bed.ovsnet("ipam", "leases", "--json"))
    return found


def build(bed: Bed, stage: Stage) -> None:
    """Make one network of each kind, with containers."""
    bed.ovs_vsctl("add-br", "br-phys", "--", "set", "Bridge", "br-phys", "datapath_type=netdev")
    dual = ("--ipv6", "--subnet", "fd00:77:1::/64", "--aux-address", "printer=10.77.1.9")
    adopted = ("-o", "ovs.bridge=br-phys", "-o", "ovs.vlan=30", "-o", "ovs.gateway=10.77.2.1")
    space = ("--ipam-opt", "ipam.space=blue", "-o", "ovs.space=blue", "-o", "ovs.mode=isolated")
    networks = {
        "dual": stage.network("dual", *dual, subnet="10.77.1.0/24"),
        "flat": stage.network("flat", *adopted, subnet="10.77.2.0/24"),
        "inner": stage.network("inner", "--internal", subnet="10.77.3.0/24"),
        "blue": stage.network("blue", *space, subnet="10.77.1.0/24"),
        "automatic": stage.network("automatic"),
        "default": stage.network("default-ipam", ipam="default", subnet="10.77.4.0/24"),
        "bridge": stage.network("docker-bridge", driver="bridge", subnet="10.77.5.0/24"),
    }
    for name, network in networks.items():
        stage.container(f"c-{name}", network)
    stage.container("fixed", networks["dual"], "--ip", "10.77.1.77")


def test_a_host_with_everything_is_sound_while_containers_come_and_go(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed()
    stage = Stage(bed)
    assert wrong(bed) == []
    build(bed, stage)
    assert wrong(bed) == []

    def come_and_go(number: int) -> None:
        for _ in range(3):
            bed.docker(*stage.run_command(f"busy-{number}", "dual"))
            bed.docker("rm", "--force", f"busy-{number}")

    with ThreadPoolExecutor(2) as pool:
        rounds = [pool.submit(come_and_go, number) for number in range(2)]
        while not all(each.done() for each in rounds):
            assert wrong(bed) == []
        for each in rounds:
            each.result()
    bed.docker("rm", "--force", "c-inner")
    bed.docker("network", "rm", "inner")
    bed.plugin.stop()
    assert wrong(bed) == []
    bed.start_plugin()
    assert wrong(bed) == []


def test_a_host_goes_on_with_a_restored_store_and_another_with_an_export(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed()
    stage = Stage(bed)
    build(bed, stage)
    copy, text = str(bed.home / "copy.db"), str(bed.home / "pools.jsonl")
    assert asked(bed, "backup", copy).code == 0
    assert asked(bed, "export", text).code == 0
    assert "nothing was changed: another ovsnet, pid" in asked(bed, "restore", copy).err
    before = leases(bed)
    bed.plugin.stop()
    (bed.state_dir / "state.db").write_bytes(b"junk" * 5000)
    restored = asked(bed, "restore", copy)
    assert restored.code == 0, restored
    bed.start_plugin()
    assert leases(bed) == before
    assert wrong(bed) == []
    one, other = (stage.container(name, "dual") for name in ("after-1", "after-2"))
    one.reaches(other.address("dual"), "after-2")
    one.reaches("10.77.1.77", "fixed")
    bed.plugin.stop()
    bed.run("mv", str(bed.state_dir), str(bed.home / "away"))
    imported = asked(bed, "import", text)
    assert imported.code == 0, imported
    bed.start_plugin()
    assert [each["lease"] for each in leases(bed)] == [each["lease"] for each in before]
    assert wrong(bed) == []
