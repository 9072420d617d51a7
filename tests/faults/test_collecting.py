"""What dockerd forgets on networks of its own drivers, and that nothing in use is collected."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.world import Program, until
from tests.faults import hasty

pytestmark = pytest.mark.docker

DRIVERS = {"bridge": (), "macvlan": ("-o", "parent=wan0")}
"""Docker's own, with their options."""


@pytest.fixture(scope="module")
def hasty_bed() -> Iterator[Bed]:
    bed = Bed()
    serve = bed.serve()[1:]
    bed.plugin = Program(bed, "plugin", sys.executable, str(Path(hasty.__file__)), *serve)
    with bed:
        yield bed


@pytest.fixture
def bed(hasty_bed: Bed) -> Bed:
    return hasty_bed


@pytest.fixture
def stage(bed: Bed) -> Iterator[Stage]:
    stage = Stage(bed)
    yield stage
    stage.clear()
    assert json.loads(bed.ovsnet("ipam", "pools", "--json")) == []


def leases(bed: Bed, network: str, family: int = 4) -> list[dict[str, Any]]:
    """Return what is held for endpoints."""
    found = json.loads(bed.ovsnet("ipam", "leases", network, "--json"))
    return [
        each
        for each in found
        if each["lease"]["kind"] == "endpoint"
        and (":" in each["lease"]["address"]) == (family == 6)
    ]


def collected(bed: Bed, what: str = "lease.collected") -> list[str]:
    """Return the lines of the log that say so."""
    return [line for line in bed.plugin.said().splitlines() if what in line]


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_ipv4_addresses_that_a_full_ipv6_subnet_costs_come_back(
    bed: Bed, stage: Stage, driver: str
) -> None:
    aux = ("--aux-address", "printer=10.77.1.200")
    six = ("--ipv6", "--subnet", "fd00:77:1::/126")
    options = (*DRIVERS[driver], *six, *aux)
    network = stage.network("lab", *options, subnet="10.77.1.0/24", driver=driver)
    live = [stage.container(name, network) for name in ("ann", "bob")]
    ours = {str(each.address(network)) for each in live}
    before = len(collected(bed))
    refused = bed.docker_refuses(*stage.run_command("cat", network))
    assert "fd00:77:1::/126" in refused
    tries = 3
    for _ in range(tries):
        bed.docker_refuses("start", "cat")
    until(
        lambda: {each["lease"]["address"] for each in leases(bed, "lab")} == ours | {"10.77.1.200"},
        lambda: f"the lost addresses come back: {leases(bed, 'lab')}",
    )
    lines = collected(bed)[before:]
    assert len(lines) == tries + 1
    assert all("Docker lists no endpoint with it" in line for line in lines)
    assert {each["container"] for each in leases(bed, "lab")} == {"ann", "bob", ""}
    assert len(leases(bed, "lab", 6)) == 2
    live[0].reaches(live[1].address(network), who="bob")
    live[0].reaches(live[1].address(network, 6), who="bob")


def test_addresses_of_running_and_restarting_containers_stay(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", subnet="10.77.1.0/24", driver="bridge")
    stage.container("ann", network)
    lost = len(collected(bed))
    orphan = pool_without_network(bed, "10.99.0.0/24")
    while orphan in pools(bed):  # many readings
        bed.docker("restart", "--time", "0", "ann")
        stage.container("bob", network, "--ip", "10.77.1.77")
        held = {each["lease"]["address"]: each["container"] for each in leases(bed, "lab")}
        assert held["10.77.1.77"] == "bob"
        assert "ann" in held.values()
        bed.docker("rm", "--force", "bob")
    assert collected(bed)[lost:] == []
    (line,) = collected(bed, "pool.collected")
    assert "10.99.0.0/24" in line
    assert "Docker lists no network with it" in line


def test_a_pool_with_addresses_that_docker_does_not_know_is_left_to_people(
    bed: Bed, stage: Stage
) -> None:
    pool = pool_without_network(bed, "10.98.0.0/24")
    bed.post("ovsipam", "IpamDriver.RequestAddress", json.dumps({"PoolID": pool}))
    until(lambda: pool in bed.ovsnet("status"), "status names the pool")
    assert "(orphan)" in bed.ovsnet("ipam", "pools")
    empty = pool_without_network(bed, "10.97.0.0/24")
    until(lambda: empty not in pools(bed), "a pool without addresses is collected", timeout_s=60)
    assert pool in pools(bed)
    bed.ovsnet("ipam", "release", pool)
    assert pools(bed) == []


@pytest.mark.parametrize("driver", ["ovsnet", "bridge"])
def test_who_holds_addresses_is_told_by_the_names_that_docker_told_last(
    bed: Bed, stage: Stage, driver: str
) -> None:
    """This engine tells no names when it asks for addresses."""
    aux = ("--aux-address", "printer=10.77.1.6")
    network = stage.network("lab", *aux, subnet="10.77.1.0/29", driver=driver)
    for name in ("ann", "bob"):
        stage.container(name, network)

    def said(*how: str) -> str:
        text = bed.docker_refuses(*stage.run_command("cat", network, *how))
        bed.docker("rm", "cat")
        return text

    until(
        lambda: "is held by container ann since" in said("--ip", "10.77.1.2"), "the name is known"
    )
    assert "10.77.1.6 of 10.77.1.0/29 is kept back as an --aux-address" in said("--ip", "10.77.1.6")
    for name in ("dan", "eve"):
        stage.container(name, network)
    full = re.compile(
        r"of its 6 addresses 4 are held by containers \((?P<names>.*)\), 1 by the gateway and 1 by "
        r"--aux-address, ovs.gateway or ovs.host_address "
        r"\(`ovsnet ipam leases 10.77.1.0/29`\); remove containers"
    )

    def named() -> list[str]:
        found = full.search(said())
        return sorted(found["names"].split(", ")) if found else []

    until(lambda: named() == ["ann", "bob", "dan", "eve"], lambda: f"all are named: {said()}")
    create = ("network", "create", "--driver", driver, "--ipam-driver", "ovsipam")
    text = bed.docker_refuses(*create, "--subnet", "10.77.0.0/16", "wide")
    assert "overlaps 10.77.1.0/29 in address space ovsnet (network lab, pool " in text


def test_the_pool_of_a_bridge_is_not_released_by_hand_while_docker_has_it(
    bed: Bed, stage: Stage
) -> None:
    stage.network("lab", subnet="10.77.1.0/24", driver="bridge")
    (pool,) = pools(bed)
    until(
        lambda: "docker network rm lab" in bed.try_ovsnet("ipam", "release", pool).err,
        "the refusal says what to type",
    )
    assert pools(bed) == [pool]


def test_a_network_that_docker_forgot_goes_with_its_pool_and_its_bridge(
    bed: Bed, stage: Stage
) -> None:
    """As of a dockerd that was killed before it had our answer to CreateNetwork."""
    pool_without_network(bed, "10.96.0.0/24")
    data = [{"AddressSpace": "ovsnet", "Pool": "10.96.0.0/24", "Gateway": "10.96.0.1/24"}]
    made = {"NetworkID": "f0" * 32, "Options": {}, "IPv4Data": data, "IPv6Data": []}
    assert bed.post("ovsnet", "NetworkDriver.CreateNetwork", json.dumps(made)) == "{}"
    assert "br-ovsnet" in bed.ovs_vsctl("list-br")
    until(lambda: "f0f0f0f0f0f0" in bed.ovsnet("status"), "status names the network")
    until(lambda: pools(bed) == [], "the network is collected", timeout_s=60)
    until(lambda: "br-ovsnet" not in bed.ovs_vsctl("list-br"), "its bridge is gone")
    (line,) = collected(bed, "network.collected")
    assert "f0f0f0f0f0f0" in line
    assert "subnets=10.96.0.0/24" in line
    assert "Docker does not list it and nothing is attached to it" in line


def test_an_empty_network_keeps_its_pool(bed: Bed, stage: Stage) -> None:
    for driver, options in {"ovsnet": (), **DRIVERS}.items():
        stage.network(f"of-{driver}", *options, driver=driver)
    kept = pools(bed)
    orphan = pool_without_network(bed, "10.99.0.0/24")
    until(lambda: orphan not in pools(bed), "a pool of nobody is collected", timeout_s=60)
    assert pools(bed) == kept
    stage.container("ann", "of-bridge")


def pools(bed: Bed) -> list[str]:
    return [each["pool"]["id"] for each in json.loads(bed.ovsnet("ipam", "pools", "--json"))]


def pool_without_network(bed: Bed, subnet: str) -> str:
    """Do what a dockerd does that dies before CreateNetwork; return the pool's id."""
    asked = {"AddressSpace": "ovsnet", "Pool": subnet}
    pool = json.loads(bed.post("ovsipam", "IpamDriver.RequestPool", json.dumps(asked)))["PoolID"]
    options = {"RequestAddressType": "com.docker.network.gateway"}
    gateway = json.dumps({"PoolID": pool, "Options": options})
    assert "Address" in json.loads(bed.post("ovsipam", "IpamDriver.RequestAddress", gateway))
    return str(pool)
