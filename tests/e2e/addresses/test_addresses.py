"""Which addresses containers get and why others do not, as Docker's users see it."""

import json
import re
import time
from collections.abc import Iterator
from signal import SIGKILL
from typing import Any

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Network, Stage
from tests.e2e.wire import Wire, leases, pools
from tests.e2e.world import until

pytestmark = pytest.mark.docker

DRIVERS = ["ovsnet", "bridge"]
"""Ours, and one of Docker's own: the IPAM is the same."""


@pytest.fixture
def bed(shared_bed: Bed) -> Iterator[Bed]:
    """The shared bed, on which no pool stays: nothing else is touched here."""
    shared_bed.revive()
    yield shared_bed
    assert pools(shared_bed) == []


@pytest.fixture
def stage(bed: Bed) -> Iterator[Stage]:
    stage = Stage(bed)
    yield stage
    stage.clear()


def options(*words: str) -> tuple[str, ...]:
    """Return what makes options of the IPAM of them."""
    return tuple(part for word in words for part in ("--ipam-opt", f"ipam.{word}"))


def refusal(bed: Bed, *words: str, driver: str = "ovsnet") -> str:
    """Return what the user reads whose network is refused."""
    create = ("network", "create", "--driver", driver, "--ipam-driver", "ovsipam")
    text = bed.docker_refuses(*create, "--subnet", "10.77.1.0/24", *words, "refused")
    assert "Traceback" not in text
    return text


def given(stage: Stage, network: Network, name: str, *how: str, family: int = 4) -> str:
    """Run a container and return its address."""
    return stage.container(name, network, *how).address(network, family)


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_ipv6_range_is_a_window_and_what_is_typed_may_lie_outside(
    bed: Bed, stage: Stage, driver: str
) -> None:
    six = ("--ipv6", "--subnet", "fd00:77::/64", "--ip-range", "fd00:77::f0/126")
    aux = ("--aux-address", "a=fd00:77::5", "--aux-address", "b=fd00:77::f1")
    four = ("--ip-range", "10.77.1.64/30", "--aux-address", "c=10.77.1.65")
    network = stage.network("ranged", *four, *six, *aux, subnet="10.77.1.0/24", driver=driver)
    assert [each["gateway"] for each in pools(bed)] == ["10.77.1.1", "fd00:77::1"]
    ann = stage.container("ann", network)
    assert (ann.address(network), ann.address(network, 6)) == ("10.77.1.64", "fd00:77::f0")
    typed = ("--ip", "10.77.1.200", "--ip6", "fd00:77::1234")
    bob = stage.container("bob", network, *typed)
    assert (bob.address(network), bob.address(network, 6)) == (typed[1], typed[3])
    ann.reaches("fd00:77::1234", who="bob")
    refused = stage.run_command("cat", network, "--ip6", "fd00:77::5")
    said = bed.docker_refuses(*refused)
    assert re.search(r"fd00:77::5 of fd00:77::/64 is (held|kept) .*as an --aux-address since", said)
    by_hand = bed.try_ovsnet("ipam", "release", "fd00:77::5")
    assert "fd00:77::5 is kept for network" in by_hand.err
    assert "(--aux-address a)" in by_hand.err


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_full_range_says_how_many_it_has_and_who_holds_the_subnet(
    bed: Bed, stage: Stage, driver: str
) -> None:
    network = stage.network(
        "r", "--ip-range", "10.77.1.64/31", subnet="10.77.1.0/24", driver=driver
    )
    assert [given(stage, network, name) for name in ("ann", "bob")] == ["10.77.1.64", "10.77.1.65"]
    text = bed.docker_refuses(*stage.run_command("cat", network))
    assert (
        "range 10.77.1.64/31 of subnet 10.77.1.0/24, 2 addresses, is full: in the subnet " in text
    )
    # with their names, if Docker was read meanwhile
    assert re.search(
        r"2 are held by containers( \((ann, bob|bob, ann|(ann|bob) and 1 more)\))? and 1 by the "
        r"gateway \(`ovsnet",
        text,
    )
    assert "`ovsnet ipam leases 10.77.1.0/24`); name a free address outside of the range" in text
    assert given(stage, network, "dan", "--ip", "10.77.1.9") == "10.77.1.9"


@pytest.mark.parametrize("driver", DRIVERS)
def test_gateway_and_auxiliary_addresses_that_clash_are_refused_with_the_reason(
    bed: Bed, stage: Stage, driver: str
) -> None:
    typed = refusal(
        *(bed, "--gateway", "10.77.1.5", "--aux-address", "printer=10.77.1.5"), driver=driver
    )
    assert "printer:10.77.1.5" in typed
    assert "address 10.77.1.5 is the gateway of 10.77.1.0/24" in typed
    chosen = refusal(bed, "--aux-address", "printer=10.77.1.1", driver=driver)
    assert "10.77.1.1 is the gateway of 10.77.1.0/24" in chosen
    assert "chosen because no --gateway was named" in chosen
    for gateway, what in (("10.77.1.0", "network"), ("10.77.1.255", "broadcast")):
        text = refusal(bed, "--gateway", gateway, driver=driver)
        assert f"{gateway} is the {what} address of 10.77.1.0/24" in text
        assert "choose one from 10.77.1.1 to 10.77.1.254" in text
    assert pools(bed) == [], "Docker releases the pool, and the gateway goes with it"


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_address_that_was_asked_for_is_given_to_others_last(
    bed: Bed, stage: Stage, driver: str
) -> None:
    network = stage.network("one", subnet="10.77.1.0/29", driver=driver)
    assert given(stage, network, "ann", "--ip", "10.77.1.2") == "10.77.1.2"
    bed.docker("restart", "--time", "0", "ann")
    assert pools(bed)[0]["usage"]["held"] == 2
    bed.docker("stop", "ann")
    assert given(stage, network, "bob") == "10.77.1.3"
    bed.docker("start", "ann")
    assert bed.inspect("inspect", "ann")["NetworkSettings"]["Networks"]["one"]["IPAddress"] == (
        "10.77.1.2"
    )
    bed.docker("stop", "ann")
    bed.restart_plugin(SIGKILL)
    wire, (pool,) = Wire(bed), pools(bed)
    assert [wire.address(pool["pool"]["id"]) for _ in range(3)] == [
        "10.77.1.4",
        "10.77.1.5",
        "10.77.1.6",
    ]
    assert given(stage, network, "cat") == "10.77.1.2", "there is no other one left"
    assert "10.77.1.2 of 10.77.1.0/29 is held by a container" in bed.docker_refuses("start", "ann")
    for last in (4, 5, 6):
        wire.release_address(pool["pool"]["id"], f"10.77.1.{last}")


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_address_in_quarantine_is_not_chosen_but_may_be_asked_for(
    bed: Bed, stage: Stage, driver: str
) -> None:
    network = stage.network("one", *options("quarantine=1h"), subnet="10.77.1.0/29", driver=driver)
    assert given(stage, network, "ann") == "10.77.1.2"
    bed.docker("rm", "--force", "ann")
    assert given(stage, network, "bob") == "10.77.1.3"
    bed.restart_plugin(SIGKILL)
    wire, (pool,) = Wire(bed), pools(bed)
    assert (pool["usage"]["resting"], pool["pool"]["quarantine_s"]) == (1, 3600)
    more = [wire.address(pool["pool"]["id"]) for _ in range(3)]
    text = bed.docker_refuses(*stage.run_command("cat", network))
    assert "subnet 10.77.1.0/29 is full: of its 6 addresses 4 are held by containers" in text
    assert "1 not given again yet; try again in 3" in text
    assert given(stage, network, "dan", "--ip", "10.77.1.2") == "10.77.1.2"
    for each in more:
        wire.release_address(pool["pool"]["id"], each)
    table = bed.ovsnet("ipam", "pools")
    assert "RESTING" in table
    assert "quarantine=1h" in table


def test_an_address_comes_back_when_its_quarantine_is_over(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", *options("quarantine=2s"), subnet="10.77.1.0/30")
    assert given(stage, network, "ann") == "10.77.1.2"
    before = time.time()
    bed.docker("rm", "--force", "ann")
    bed.attempt("docker", *stage.run_command("bob", network))
    until(lambda: bed.attempt("docker", "start", "bob").code == 0, "the address comes back")
    (pool,) = pools(bed)
    (lease,) = (
        each for each in leases(bed, pool["pool"]["id"]) if each["lease"]["address"] == "10.77.1.2"
    )
    assert lease["lease"]["created"] >= before + 2.0
    assert pool["usage"]["resting"] == 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_excluded_addresses_are_given_only_to_who_asks(bed: Bed, stage: Stage, driver: str) -> None:
    six = ("--ipv6", "--subnet", "fd00:77::/64")
    words = options("exclude=10.77.1.2-10.77.1.4,10.77.1.6,fd00:77::2-fd00:77::ffff")
    network = stage.network("one", *words, *six, subnet="10.77.1.0/29", driver=driver)
    ann = stage.container("ann", network)
    assert (ann.address(network), ann.address(network, 6)) == ("10.77.1.5", "fd00:77::1:0")
    text = bed.docker_refuses(*stage.run_command("bob", network))
    assert "full: of its 1 address that are not excluded" not in text
    assert "10.77.1.0/29 is full" in text
    assert given(stage, network, "cat", "--ip", "10.77.1.3") == "10.77.1.3"
    assert "exclude=10.77.1.2-10.77.1.4,10.77.1.6" in bed.ovsnet("ipam", "pools")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_limit_of_a_network_holds_for_each_of_its_subnets(
    bed: Bed, stage: Stage, driver: str
) -> None:
    six = ("--ipv6", "--subnet", "fd00:77::/64")
    words = options("limit=2")
    network = stage.network("one", *words, *six, subnet="10.77.1.0/24", driver=driver)
    stage.container("ann", network)
    text = bed.docker_refuses(*stage.run_command("bob", network))
    assert re.search(
        r"subnet 10.77.1.0/24 may hold 2 addresses at once \(ipam.limit\): 1 is held by a container"
        r"( \(ann\))? and 1 by the gateway \(`ovsnet ipam leases 10.77.1.0/24`\); remove "
        "containers, or create the network with a larger ipam.limit",
        text,
    )
    bed.docker("rm", "--force", "ann")
    bed.docker("start", "bob")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("quarantine=soon", '"soon" is not a time of at most 7 days; write it like 30s, 5m or 2h'),
        ("quarantine=8d", '"8d" is not a time of at most 7 days'),
        ("limit=0", '"0" is not a number of addresses'),
        ("limit=many", '"many" is not a number of addresses'),
        ("exclude=10.77.1.9-10.77.1.5", '"10.77.1.9-10.77.1.5" is not a range'),
        ("exclude=10.77.0.250-10.77.1.5", "crosses the border of subnet 10.77.1.0/24"),
        ("exclude=10.77.1.0/24", "subnet 10.77.1.0/24 holds no address that a container can have"),
        ("exclude=host", '"host" is not an address'),
        ("probe=maybe", '"maybe" is neither `true` nor `false`'),
        ("space=a b", '"a b" cannot name an address space'),
        ("quarantin=5s", "did you mean `ipam.quarantine`?"),
    ],
)
def test_options_with_bad_values_are_refused_with_a_sentence(
    bed: Bed, word: str, said: str
) -> None:
    for driver in DRIVERS:
        text = refusal(bed, *options(word), driver=driver)
        assert said in text
        assert f"ipam.{word.partition('=')[0]}" in text or "holds no address" in said


@pytest.mark.parametrize("driver", DRIVERS)
def test_addresses_are_as_before_when_the_process_was_killed(
    bed: Bed, stage: Stage, driver: str
) -> None:
    network = stage.network("one", subnet="10.77.1.0/24", driver=driver)
    assert given(stage, network, "ann") == "10.77.1.2"
    bed.restart_plugin(SIGKILL)
    assert given(stage, network, "bob") == "10.77.1.3"
    bed.docker("rm", "--force", "ann")
    bed.restart_plugin(SIGKILL)
    assert pools(bed)[0]["usage"]["held"] == 2
    assert given(stage, network, "cat") == "10.77.1.2"


def test_a_full_subnet_names_who_holds_it_where_the_engine_tells_names(
    bed: Bed, stage: Stage
) -> None:
    network = stage.network("one", subnet="10.77.1.0/29")
    wire, (pool,) = Wire(bed), pools(bed)
    for number in range(5):
        wire.address(pool["pool"]["id"], name=f"shop-{number}")
    text = bed.docker_refuses(*stage.run_command("ann", network))
    assert "of its 6 addresses 5 are held by containers (shop-0, shop-1, " in text
    assert "shop-4) and 1 by the gateway" in text
    taken = bed.docker_refuses(*stage.run_command("bob", network, "--ip", "10.77.1.2"))
    assert "10.77.1.2 of 10.77.1.0/29 is held by container shop-0 since 20" in taken


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_tables_show_what_docker_shows(bed: Bed, stage: Stage, driver: str) -> None:
    words = ("--ip-range", "10.77.1.64/28", "--aux-address", "printer=10.77.1.65")
    network = stage.network("lab", *words, subnet="10.77.1.0/24", driver=driver)
    ann = stage.container("ann", network)
    bob = stage.container("bob", network, "--ip", "10.77.1.9")

    def shown() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(bed.ovsnet("ipam", "leases", "lab", "--json"))
        return found

    # what Docker says is read again every 10 s
    until(lambda: {"ann", "bob"} <= {each["container"] for each in shown()}, "names are known")
    (pool,) = pools(bed)
    assert (pool["pool"]["subnet"], pool["pool"]["window"]) == ("10.77.1.0/24", "10.77.1.64/28")
    assert (pool["network"], pool["network_name"]) == (network.id, "lab")
    assert (pool["usage"]["held"], pool["usage"]["capacity"], pool["usage"]["free"]) == (4, 254, 14)
    held = {each["container"]: each for each in shown() if each["container"]}
    for container in (ann, bob):
        lease = held[container.name]
        assert lease["lease"]["address"] == container.address(network)
        assert lease["endpoint"] == container.endpoint(network)["EndpointID"]
        assert lease["lease"]["wanted"] is (container is bob)
        assert 0 <= time.time() - lease["lease"]["created"] < 3600
    kinds = {each["lease"]["address"]: each["lease"]["kind"] for each in shown()}
    assert kinds.pop("10.77.1.1") == "gateway"
    assert set(kinds.values()) == {"endpoint"}
    assert [each["lease"]["address"] for each in shown() if each["auxiliary"]] == ["10.77.1.65"]
    row = next(line for line in bed.ovsnet("ipam", "pools").splitlines() if "10.77.1.0/24" in line)
    for shown in (
        "10.77.1.64/28",
        "lab",
        "4/254",
        "[#.........] 1%   14",
        "typed",
        pool["pool"]["id"],
    ):
        assert shown in row
    table = bed.ovsnet("ipam", "leases", "lab").splitlines()
    assert table[0].split() == ["ADDRESS", "KIND", "SINCE", "(UTC)", "SUBNET", "HOLDER"]
    rows = {line.split()[0]: line.split() for line in table[1:]}
    assert rows["10.77.1.9"][-1] == "bob"
    assert rows[ann.address(network)][-1] == "ann"
    assert (rows["10.77.1.9"][1], rows["10.77.1.65"][1]) == ("endpoint", "aux")
    assert rows["10.77.1.65"][-1] == "printer"
    assert rows["10.77.1.9"][2].startswith("20")


def test_releasing_by_hand_is_refused_while_a_container_has_the_address(
    bed: Bed, stage: Stage
) -> None:
    network = stage.network("lab", subnet="10.77.1.0/29")
    ann = stage.container("ann", network)
    address = ann.address(network)
    refused = bed.try_ovsnet("ipam", "release", address)
    assert refused.code == 1
    assert address in refused.err
    assert "ann" in refused.err or "endpoint" in refused.err
    ann.reaches(address, who="ann")
    unknown = bed.try_ovsnet("ipam", "release", "10.77.1.5")
    assert unknown.code == 1
    assert "10.77.1.5" in unknown.err
    wire, (pool,) = Wire(bed), pools(bed)
    lost = wire.address(pool["pool"]["id"])
    assert f"released {lost} of pool {pool['pool']['id']}" in bed.ovsnet(
        "ipam", "release", lost, "--force"
    )
    assert given(stage, network, "bob") == lost
