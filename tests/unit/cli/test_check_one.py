"""``ovsnet check NAME``: what is wrong with one container or network."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ipam.model import Pool, PoolId, Usage
from ovsdriver.adapters.engine import DockerEngine, SeenContainer
from ovsdriver.admin import asks
from ovsdriver.admin.views import MendedReport, PoolUse, RepairReport, Report
from ovsdriver.cli.doctor.finding import fail, ok, warn
from ovsdriver.cli.look import check, check_one
from ovsdriver.cli.look.tracer import Traced
from ovsdriver.domain.records.model import Mode, PortMapping, Publication, Transport
from ovsdriver.domain.tracing.hops import THIS_HOST, Hop, Question, bad, good, unsure
from ovsdriver.errors import UnavailableError
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import DB, LAB, OLD, WEB, endpoint, network

PUBLISHED = Publication(
    protocol=Transport.TCP,
    host=IPAddress("0.0.0.0"),
    host_port=8080,
    address=IPAddress("10.1.0.2"),
    port=80,
)
SEEN = SeenContainer(
    name="web", status="running", exit_code=0, networks={"bridge": "b" * 64}, resolv_conf=""
)


class World:
    """What traces and Docker say, and what they were asked."""

    def __init__(self) -> None:
        self.traces: list[tuple[str, str, str, int | None]] = []
        self.hop: dict[str, Hop] = {}
        """By the target or the port that is asked about; else all passes."""
        self.seen: SeenContainer | None = None
        self.host = [fail("Open vSwitch", "is away", "start it"), warn("forwarding", "foreign")]

    def trace(
        self, settings: Any, source: str, target: str, asked: Question, *, family: int | None
    ) -> Traced:
        self.traces.append((source, target, str(asked), family))
        hop = self.hop.get(target, self.hop.get(str(asked), good(THIS_HOST, "well")))
        verdicts = {"pass": True, "stop": False, "unsure": None}
        return Traced(
            reaches=verdicts[hop.verdict],
            verdict="",
            source=source,
            target=target,
            asked=str(asked),
            family=family or 4,
            hops=(good(THIS_HOST, "before"), hop),
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(check_one.tracer, "trace", made.trace)

    async def look_at(_: object, container: str) -> SeenContainer | None:
        if made.seen is None:
            raise UnavailableError("no Docker")
        return made.seen

    async def examine(*_: object, **__: object) -> list[Any]:
        return [ok("nftables", "is there"), *made.host, fail("user", "no root", "sudo")]

    monkeypatch.setattr(DockerEngine, "look_at", look_at)
    monkeypatch.setattr(check, "examine", examine)
    return made


@pytest.fixture
def told(shell: Shell, desk: Desk, world: World) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Check, and return the exit code and the findings by what they are about."""
    desk.there = Report(
        networks=(network("lab", LAB), network("dmz", OLD, vlan=101)),
        endpoints=(endpoint("web", WEB), endpoint("db", DB, OLD, network_name="dmz")),
    )

    def ask(name: str) -> tuple[int, dict[str, Any]]:
        done = shell("check", name, "--json")
        assert done.stdout, done.stderr
        return done.exit_code, {each["subject"]: each for each in json.loads(done.stdout)}

    return ask


def test_a_container_is_looked_at_from_all_sides(told, desk: Desk, world: World):
    web = desk.there.endpoints[0]
    record = replace(
        web.endpoint,
        published=(PUBLISHED,),
        addresses=(IPNetwork("10.1.0.2/24"), IPNetwork("fd00::2/64")),
    )
    desk.there = replace(
        desk.there, endpoints=(replace(web, endpoint=record), *desk.there.endpoints[1:])
    )
    world.host = []
    code, found = told("web")
    assert code == 0
    assert {each["level"] for each in found.values()} == {"ok"}
    assert "plugged into br-ovsnet" in found["lab/web"]["text"]
    assert found["network lab"]["text"] == "ovs.mode=nat on br-ovsnet"
    assert world.traces == [
        ("lab/web", "host", "icmp", None),
        ("lab/web", "outside", "icmp", 4),
        ("lab/web", "outside", "icmp", 6),
        ("lab/web", "dns", "icmp", None),
        ("outside", "lab/web", "tcp/8080", 4),
    ]
    assert "dmz" not in json.dumps(found)


def test_what_stops_a_trace_is_the_finding_and_the_trace_what_to_type(told, world: World):
    world.hop = {
        "outside": bad(THIS_HOST, "a rule of DOCKER-USER drops it"),
        "dns": unsure(THIS_HOST, "that is known elsewhere"),
    }
    code, found = told("web")
    assert code == 1
    outside = found["web to the outside, IPv4"]
    assert (outside["level"], outside["text"]) == ("fail", "a rule of DOCKER-USER drops it")
    assert outside["remedy"] == "ovsnet trace lab/web outside"
    assert found["names for web"]["level"] == "warn"
    # of this host what stops it, and rules of others, since its packets cross them
    assert found["Open vSwitch"]["level"] == "fail"
    assert found["forwarding"]["level"] == "warn"
    assert not {"user", "nftables"} & found.keys()


def test_what_access_rules_close_is_closed_as_it_should_be(told, world: World):
    world.hop = {"outside": bad(THIS_HOST, "nothing lets it pass", by="access rules of web")}
    _, found = told("web")
    outside = found["web to the outside, IPv4"]
    assert (outside["level"], outside["text"]) == ("ok", "closed, by access rules of web")


def test_a_container_that_is_not_well_is_not_traced(told, desk: Desk, world: World):
    mapping = PortMapping(protocol=Transport.TCP, port=80)
    broken = endpoint(
        *("web", WEB),
        state="broken",
        fault="its port is gone",
        unpublished=(mapping,),
        unpublished_why="lab is flat",
        excess="3 routes",
    )
    desk.there = replace(desk.there, endpoints=(broken,))
    code, found = told("web")
    assert (code, world.traces) == (1, [])
    done = json.dumps(found)
    assert "lab is flat" in done or "80/tcp not published" in done


def test_what_the_process_says_of_it_is_told_and_of_others_not(told, desk: Desk):
    desk.now = replace(
        desk.now,
        repairs=RepairReport(
            at=1000.0,
            failed=(f"port ovh{WEB[:12]} of endpoint {WEB[:12]}: no device", "db: no device"),
            lately=(MendedReport(at=900.0, what=f"endpoint {WEB[:12]}: plugged in again"),),
        ),
        warnings=("web: has the MAC of another", "dmz is full"),
    )
    code, found = told("web")
    assert code == 1
    assert "no device" in found["repair"]["text"]
    assert found["status"]["text"] == "web: has the MAC of another"
    assert "plugged in again" in found["mended lately"]["text"]
    assert "db" not in json.dumps(found)


def test_closed_networks_are_meant_to_be_closed(told, desk: Desk, world: World):
    inner = network("lab", LAB, mode="isolated", internal=True, gateway_link=None)
    desk.there = replace(desk.there, networks=(inner, desk.there.networks[1]))
    _, found = told("web")
    assert "as they were made" in found["web to the outside"]["text"]
    assert world.traces == []
    # nothing of it crosses this host's rules
    assert "forwarding" not in found


def test_a_closed_network_with_a_router_of_the_users_is_not_closed(told, desk: Desk, world: World):
    inner = network("lab", LAB, mode="isolated", gateway_container="vpn", gateway_link=None)
    desk.there = replace(desk.there, networks=(inner, desk.there.networks[1]))
    told("web")
    assert [target for _, target, *_ in world.traces] == ["outside", "dns"]


def test_on_several_networks_it_is_looked_at_on_each(told, desk: Desk, world: World):
    more = endpoint("web", "3eb1" * 16, OLD, network_name="dmz")
    desk.there = replace(desk.there, endpoints=(*desk.there.endpoints, more))
    _, found = told("web")
    assert {"lab/web", "dmz/web", "network lab", "network dmz"} <= found.keys()
    assert {source for source, *_ in world.traces} == {"web"}
    _, found = told("dmz/web")
    assert "lab/web" not in found


def test_a_network_is_looked_at_with_its_pools_and_containers(told, desk: Desk):
    async def pools(asked: asks.ListPools) -> tuple[PoolUse, ...]:
        assert asked.of == LAB
        pool = Pool(id=PoolId("p1"), space="ovsnet", subnet=IPNetwork("10.1.0.0/24"))
        usage = Usage(held=254, capacity=254, free=0)
        return (
            PoolUse(
                pool=pool, usage=usage, gateway=None, network=LAB, network_name="lab", orphan=False
            ),
        )

    desk.also({asks.ListPools: pools})
    code, found = told("lab")
    assert code == 1
    assert found["network lab"]["text"] == "1 container, all well"
    assert "no container gets another one" in found["pool 10.1.0.0/24"]["text"]
    lost = endpoint("web", WEB, state="broken", fault="its port is gone")
    gone = network("lab", LAB, state="broken", in_docker=False)
    desk.there = Report(networks=(gone,), endpoints=(lost,))
    code, found = told("lab")
    assert "its port is gone" in found["lab/web"]["text"]


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (SEEN, "web is on no network of ovsnet's, but on bridge; connect it to one"),
        (replace(SEEN, networks={}), "but on none; connect it"),
        (replace(SEEN, networks={"lab": ""}), "runs on lab, and ovsnet has no endpoint of it"),
        (
            replace(SEEN, status="exited", exit_code=137, networks={"lab": ""}),
            "web does not run: it is exited with code 137, on lab; `docker start web`",
        ),
        (replace(SEEN, status="created"), "it is created; `docker start web`"),
        (None, "'web' is neither a network nor a container on one of ovsnet's networks"),
    ],
)
def test_a_container_without_a_place_is_a_sentence(
    shell: Shell, desk: Desk, world: World, seen: SeenContainer | None, sentence: str
):
    desk.there = Report(networks=(network("lab", LAB),))
    world.seen = seen
    done = shell("check", "web")
    assert done.exit_code == 1
    assert sentence in " ".join(done.stderr.split())


def test_a_host_that_is_no_gateway_is_called_this_host(told, desk: Desk):
    leg = (IPNetwork("10.1.0.250/24"),)
    flat = network("lab", LAB, mode=Mode.FLAT, host_addresses=leg)
    desk.there = replace(desk.there, networks=(flat, desk.there.networks[1]))
    _, found = told("web")
    assert "web to this host" in found
    assert "web to its gateway" not in found


def test_modes_without_a_gateway_have_none_to_be_traced_to(told, desk: Desk, world: World):
    flat = network("lab", LAB, mode=Mode.FLAT, gateway_link=None)
    desk.there = replace(desk.there, networks=(flat, desk.there.networks[1]))
    told("web")
    assert [target for _, target, *_ in world.traces] == ["outside", "dns"]
