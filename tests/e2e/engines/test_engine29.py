"""What engine 29 asks of a plugin and the bed's own does not: see ``modern.py``."""

import json

import pytest

from tests.e2e import image
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, WAN4, WAN6, Bed
from tests.e2e.modern import ENDS, ModernEngine
from tests.e2e.reach.test_published import hears
from tests.e2e.stage import Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.wire import leases, pools
from tests.e2e.world import until

pytestmark = pytest.mark.docker

OTHER6 = "fd00:77:2::/64"

SIX = "fd00:77:1::/64"


def given(stage: Stage, network: Network, name: str, *how: str) -> tuple[str, str]:
    """Run a container on the bed's own engine; return its addresses."""
    container = stage.container(name, network, *how)
    return container.address(network), container.address(network, 6)


@pytest.mark.parametrize(
    "options",
    [
        {"ovs.mode": "flat"},
        {"ovs.mode": "flat", "ovs.gateway": "10.77.1.3"},
        {"ovs.mode": "isolated"},
        {"ovs.mode": "nat"},
    ],
    ids=["flat", "a router of its own", "isolated", "nat"],
)
def test_the_same_command_gives_the_same_addresses_on_every_engine(
    bed: Bed, stage: Stage, engine: ModernEngine, options: dict[str, str]
) -> None:
    """Engines up to 27 ask for a gateway's address always, later ones only where it is needed."""
    words = [word for each in options.items() for word in ("-o", "=".join(each))]
    both = ("--ipv6", "--subnet", SIX)
    older = stage.network("lan", *words, *both, subnet="10.77.1.0/24")
    held = leases_of_all(bed)
    told = [given(stage, older, name) for name in ("ann", "bob")]
    stage.clear()
    newer = engine.network(
        "10.77.1.0/24", SIX, **{k.replace(".", "__"): options[k] for k in options}
    )
    assert leases_of_all(bed) == held
    again = [newer.request(name) for name in ("ann", "bob")]
    assert [(each[4][0], each[6][0]) for each in again] == told
    assert told[0] == ("10.77.1.2", "fd00:77:1::2")
    for each in again:
        newer.release(each)


def leases_of_all(bed: Bed) -> list[tuple[str, str]]:
    """Return which addresses are held, and what for."""
    found = [each for pool in pools(bed) for each in leases(bed, pool["pool"]["id"])]
    return [(each["lease"]["address"], each["lease"]["kind"]) for each in found]


def test_the_first_address_of_a_lan_is_given_only_to_who_asks_for_it(
    bed: Bed, stage: Stage, engine: ModernEngine
) -> None:
    older = stage.network(
        "lan", "-o", "ovs.mode=flat", "--ipv6", "--subnet", SIX, subnet="10.77.1.0/30"
    )
    assert given(stage, older, "ann") == ("10.77.1.2", "fd00:77:1::2")
    assert next(each["usage"]["free"] for each in pools(bed)) == 0
    full = bed.docker_refuses("run", "--network", "lan", image.NAME, "true")
    assert "10.77.1.1 is left to a router; type --ip 10.77.1.1 if there is none" in full
    typed = ("--ip", "10.77.1.1", "--ip6", "fd00:77:1::1")
    assert given(stage, older, "router", *typed) == ("10.77.1.1", "fd00:77:1::1")
    stage.clear()
    newer = engine.network("10.77.1.0/30", SIX, ovs__mode="flat")
    ann = newer.request("ann")
    assert ann[4][0] == "10.77.1.2"
    assert "10.77.1.1 is left to a router" in newer.refusal("bob")
    router = newer.request("router", "10.77.1.1", "fd00:77:1::1")
    assert (router[4][0], router[6][0]) == ("10.77.1.1", "fd00:77:1::1")
    for each in (ann, router):
        newer.release(each)


@pytest.mark.parametrize(("four", "six"), [("10.77.1.0/31", "fd00:77:1::/127")])
def test_a_line_between_two_has_no_first_address_to_keep(
    stage: Stage, engine: ModernEngine, four: str, six: str
) -> None:
    older = stage.network("line", "-o", "ovs.mode=isolated", "--ipv6", "--subnet", six, subnet=four)
    told = [given(stage, older, name) for name in ("ann", "bob")]
    assert told == [("10.77.1.0", "fd00:77:1::"), ("10.77.1.1", "fd00:77:1::1")]
    stage.clear()
    newer = engine.network(four, six, ovs__mode="isolated")
    again = [newer.request(name) for name in ("ann", "bob")]
    assert [(each[4][0], each[6][0]) for each in again] == told
    for each in again:
        newer.release(each)


def test_a_container_may_leave_by_one_network_for_each_family(
    bed: Bed, engine: ModernEngine, host: Place, outside: Place
) -> None:
    """Docker asks two endpoints of one container to publish, one of them twice."""
    four = engine.network("10.77.1.0/24")
    both = engine.network("10.77.2.0/24", OTHER6)
    ann = engine.container("ann", ports=("8080:80", "5353:80/udp"))
    by4, by6 = ann.connect(four), ann.connect(both)
    ann.leave_by(by4, 4, other6=True)
    ann.leave_by(by6, 6)
    ann.program(by6)
    ann.program(by4, other6=True)
    for address, seen, gateway in (
        (WAN4, OUTSIDE4, four.gateway(4)),
        (WAN6, OUTSIDE6, both.gateway(6)),
    ):
        hears(outside, f"ann {seen}", "tcp", address, 8080)
        hears(outside, f"ann {seen}", "udp", address, 5353)
        loopback = "127.0.0.1" if seen == OUTSIDE4 else "::1"
        hears(host, f"ann {gateway}", "tcp", loopback, 8080)
    assert bed.ovsnet("ports").count(":8080/tcp") == 2, "one of each family"
    ann.end([by4])
    assert not outside.hears("tcp", WAN4, 8080)
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)
    ann.leave_by(by6, 4, 6)
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)


@pytest.mark.parametrize("call", ENDS)
def test_each_call_that_ends_an_endpoint_takes_its_ports_back(
    engine: ModernEngine, outside: Place, call: str
) -> None:
    """After a restart with live-restore there is no Revoke; after crashes there may be any one."""
    network = engine.network("10.77.1.0/24", "fd00:77:1::/64")
    ann = engine.container("ann", ports=("8080:80", "9899:9899/sctp"))
    endpoint = ann.connect(network)
    ann.leave_by(endpoint, 4, 6)
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    ann.tell_end(endpoint, call)
    for address in (WAN4, WAN6):
        assert not outside.hears("tcp", address, 8080)
    engine.container("bob", network, ports=("8080:80", "9899:9899/sctp"))
    hears(outside, f"bob {OUTSIDE6}", "tcp", WAN6, 8080)


def test_an_interface_has_the_name_that_was_asked_for_or_it_is_said_why_not(
    bed: Bed, stage: Stage, engine: ModernEngine
) -> None:
    option = "com.docker.network.endpoint.ifname"
    newer = engine.network("10.77.1.0/24")
    bob = engine.container("bob")
    bob.leave_by(bob.connect(newer, **{option.replace(".", "__"): "lan0"}), 4)
    assert bob.links() == {"lan0"}
    assert bob.pings(newer.gateway(4))

    stage.network("lab", subnet="10.77.2.0/24")
    cat = stage.container("cat", f"name=lab,driver-opt={option}=lan0")
    assert cat.links() == {"eth0"}
    (shown,) = json.loads(bed.ovsnet("endpoint", "show", "cat", "--json"))
    assert shown["name_not_given"].startswith("the name lan0 was asked for, and Docker ")
    assert "upgrade to Docker 29.8 or newer" in " ".join(
        bed.ovsnet("endpoint", "show", "cat").split()
    )
    until(lambda: "endpoint.name-not-given" in bed.plugin.said(), "the log says it", timeout_s=60)

    refused = bed.docker_refuses(
        "run", "--network", f"name=lab,driver-opt={option}=lan/0", image.NAME, "true"
    )
    assert "lan/0\" cannot be an interface's name" in refused
