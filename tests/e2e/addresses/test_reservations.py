"""Reserved addresses and limits: the real command beside real containers."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage

pytestmark = pytest.mark.docker

_VENV = Path(sys.executable).parent.parent
_ROLES = Path(__file__).parents[3] / "ansible" / "roles"


@pytest.fixture
def bed(bed: Bed) -> Iterator[Bed]:
    """The shared bed, whose reservations are removed when the test ends."""
    yield bed
    apply(bed, "", "--prune", "--all-spaces")


def reserved(bed: Bed) -> list[dict[str, Any]]:
    return [each["reservation"] for each in shown(bed)]


def shown(bed: Bed, *where: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bed.ovsnet("ipam", "reserve", *where, "--json"))
    return found


def apply(bed: Bed, text: str, *flags: str) -> str:
    result = bed.try_ovsnet("ipam", "reserve", "--file", "-", *flags, stdin=text)
    assert result.code == 0, result
    return result.out


def wire(bed: Bed, call: str, **body: object) -> dict[str, Any]:
    """Do a call as an engine does, of any version."""
    answer: dict[str, Any] = json.loads(bed.post("ovsipam", f"IpamDriver.{call}", json.dumps(body)))
    return answer


def test_containers_pass_over_a_reserved_address_until_it_is_removed(
    bed: Bed, stage: Stage
) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    bed.ovsnet("ipam", "reserve", "10.77.1.2", "--network", "one")
    assert stage.container("bob", network).address(network) == "10.77.1.3"
    bed.ovsnet("ipam", "reserve", "--remove", "10.77.1.2")
    assert stage.container("carl", network).address(network) == "10.77.1.2"
    again = bed.try_ovsnet("ipam", "reserve", "--remove", "10.77.1.2")
    assert again.code == 1
    assert "10.77.1.2 is not reserved" in again.err


def test_who_asks_for_a_reserved_address_gets_it_and_is_shown_as_its_holder(
    bed: Bed, stage: Stage
) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    said = bed.ovsnet("ipam", "reserve", "--name", "ann", "--network", "one", "--note", "kept")
    assert said == "reserved 10.77.1.2 of space ovsnet for container ann"
    (before,) = shown(bed)
    assert (before["network"], before["network_name"], before["holder"]) == (network.id, "one", "")
    ann = stage.container("ann", network, "--ip", "10.77.1.2")
    bob = stage.container("bob", network)
    ann.reaches(bob.address(network), who="bob")
    (after,) = shown(bed, "--network", "one")
    assert (after["reservation"]["address"], after["holder"]) == ("10.77.1.2", "container ann")
    assert "container ann" in bed.ovsnet("ipam", "reserve")
    (pool,) = json.loads(bed.ovsnet("ipam", "pools", "one", "--json"))
    assert (pool["usage"]["reserved"], pool["usage"]["held"]) == (1, 3)


def test_a_reservation_survives_its_network_and_the_plugin(bed: Bed, stage: Stage) -> None:
    stage.network("one", subnet="10.77.1.0/24")
    bed.ovsnet("ipam", "reserve", "10.77.1.2", "--name", "ann", "--note", "for the firewall")
    stage.clear()
    (before,) = shown(bed)
    assert before["pool"] is None
    bed.plugin.stop()
    bed.start_plugin()
    assert shown(bed) == [before]
    network = stage.network("one", subnet="10.77.1.0/24")
    assert stage.container("bob", network).address(network) == "10.77.1.3"


def test_a_name_that_the_engine_tells_gets_its_reserved_address(bed: Bed) -> None:
    pool = wire(bed, "RequestPool", AddressSpace="ovsnet", Pool="10.77.9.0/24", V6=False)["PoolID"]
    try:
        bed.ovsnet("ipam", "reserve", "10.77.9.9", "--name", "web")
        name = "com.docker.network.endpoint.name"

        def ask(container: str, address: str = "") -> dict[str, Any]:
            options = {name: container}
            return wire(bed, "RequestAddress", PoolID=pool, Address=address, Options=options)

        assert ask("db")["Address"] == "10.77.9.2/24"
        assert (
            "10.77.9.9 of 10.77.9.0/24 is reserved for container web"
            in (ask("db", "10.77.9.9")["Error"])
        )
        assert ask("web")["Address"] == "10.77.9.9/24"
        assert shown(bed)[0]["holder"] == "container web"
    finally:
        wire(bed, "ReleasePool", PoolID=pool)


def test_a_file_is_applied_whole_or_not_at_all(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    text = "10.77.1.2 ann # first\n10.77.1.3\nspace blue\n10.77.1.2 ann\n"
    assert "3 added, 0 changed, 0 removed" in apply(bed, text)
    assert "0 added, 0 changed, 0 removed, 3 there already" in apply(bed, text, "--prune")
    wrong = bed.try_ovsnet(
        "ipam", "reserve", "--file", "-", "--prune", stdin="10.77.1.4\n\n10.77.1.1 gate\n"
    )
    assert wrong.code == 1
    assert "standard input line 3: address 10.77.1.1 is the gateway" in wrong.err
    assert [(each["space"], each["address"]) for each in reserved(bed)] == [
        *(("blue", "10.77.1.2"), ("ovsnet", "10.77.1.2"), ("ovsnet", "10.77.1.3"))
    ]
    assert stage.container("bob", network).address(network) == "10.77.1.4"


def test_the_role_applies_its_list_and_changes_nothing_the_second_time(bed: Bed) -> None:
    book = bed.home / "reservations.yml"
    task = {"ansible.builtin.include_role": {"name": "ovsnet", "tasks_from": "reservations.yml"}}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
    book.write_text(json.dumps([play | {"name": "Reservations"}]))
    listed = bed.home / "reservations"
    places = {
        "_ovsnet_venv": str(_VENV),
        "_ovsnet_config": str(bed.settings),
        "_ovsnet_reservations": str(listed),
    }

    def applied(*reservations: dict[str, str]) -> str:
        told = json.dumps(places | {"ovsnet_reservations": list(reservations)})
        folders = (f"ANSIBLE_HOME={bed.home}/ansible", f"ANSIBLE_ROLES_PATH={_ROLES}")
        program = ("env", *folders, "LC_ALL=C.UTF-8", str(_VENV / "bin" / "ansible-playbook"))
        result = bed.attempt(*program, "--connection=local", "-e", told, str(book))
        return result.out if result.code == 0 else f"failed: {result.out}{result.err}"

    web = {"address": "10.77.1.5", "name": "web", "note": "in the\nfirewall"}
    db = {"address": "10.77.1.5", "name": "db", "space": "blue"}
    bed.ovsnet("ipam", "reserve", "10.77.1.9", "--note", "by hand")
    try:
        assert "changed=2" in applied(web, db)
        assert [(e["space"], e["address"], e["name"], e["note"]) for e in reserved(bed)] == [
            ("blue", "10.77.1.5", "db", ""),
            ("ovsnet", "10.77.1.5", "web", "in the firewall"),
        ]
        assert "changed=0" in applied(web, db)
        kept = listed.read_text()
        refused = applied({"address": "10.77.1.500"})
        assert refused.startswith("failed: ")
        assert "is not an address" in refused
        assert listed.read_text() == kept
        assert "changed=2" in applied()
        assert shown(bed) == []
    finally:
        listed.unlink(missing_ok=True)


def test_docker_shows_what_a_limit_refuses(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed(settings='[[limits]]\nspace = "ovsnet"\npools = 2\naddresses = 4\n')
    stage = Stage(bed)
    one = stage.network("one")
    stage.network("two")
    create = ("network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam")
    refusal = bed.docker_refuses(*create, "three")
    assert "address space ovsnet holds 2 pools already, which is its limit" in refusal
    stage.container("ann", one)
    stage.container("bob", one)
    refusal = bed.docker_refuses(*stage.run_command("carl", one))
    assert "address space ovsnet holds 4 addresses already, which is its limit" in refusal
    bed.docker("rm", "--force", "carl", "bob")
    stage.container("dora", one)
    other = ("--ipam-opt", "ipam.space=lab", "-o", "ovs.space=lab", "-o", "ovs.mode=isolated")
    stage.network("four", *other)
