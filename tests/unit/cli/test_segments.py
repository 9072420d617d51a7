"""Segments and hosts at the shell: the real admin application, over databases in memory."""

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Ipam, PoolRequest
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.admin import api, asks
from ovsdriver.admin.addresses.desk import IpamDesk
from ovsdriver.admin.addresses.reservation_desk import ReservationDesk
from ovsdriver.admin.fleet.desk import SegmentDesk
from ovsdriver.admin.views import Status
from ovsdriver.domain.records.model import EndpointId, Segment, Subnet
from ovsdriver.domain.records.segments import OvnSegment, space_of
from ovsdriver.ports import SegmentPool, SharedLease, SharedName, SharedPort
from ovsdriver.service.fleet.addresses import Addresses
from ovsdriver.service.fleet.debts import Debts, FreedLease
from ovsdriver.service.fleet.fleet_name import FleetName
from ovsdriver.service.fleet.hosts import FleetHosts
from ovsdriver.service.fleet.pools import SegmentPools
from tests.builders import FIRST, RED, a_network, a_segment, an_endpoint
from tests.fakes.engine import FakeEngine
from tests.fakes.journal import FakeJournal
from tests.fakes.northbound import FakeCentral, FakeNorthbound, nobody_lives_there
from tests.fakes.southbound import FakeSouthbound
from tests.fakes.surroundings import Alone
from tests.fakes.switch import FakeSwitch
from tests.unit.cli.conftest import WELL, Desk, Process, Shell

SUBNET = IPNetwork("10.50.0.0/24")
THEIRS = EndpointId("e" * 64)


class Case:
    """``host1`` with network ``shop`` and container ``web`` on segment ``blue``, ``host2`` with
    container ``db``; segment ``green`` is of ``host2`` alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.desk = Desk()
        self.engine = FakeEngine()
        self.switch = FakeSwitch()
        self.switch.system_id = "host1"
        self.central = FakeCentral()
        self.southbound = FakeSouthbound(self.central)
        self.southbound.register("host1", "host2")
        self.southbound.dead = {"host2"}
        self.segment: Segment = OvnSegment(segment="blue")
        self.joined = True
        """This host has its network."""
        self.in_fleet = True

    def application(self) -> web.Application:
        app = api.application(self.desk)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, _app: web.Application) -> None:
        self.northbound = northbound = FakeNorthbound(self.central)
        self.database = await Database.open(self.path)
        state = await SqliteState.load(self.database)
        self.debts = Debts(notes=state, northbound=northbound)
        host = FleetName(switch=self.switch, notes=state)
        self.pools = SegmentPools(
            northbound=northbound,
            notes=state,
            debts=self.debts,
            surroundings=Alone(),
            prober=Alone(),
            host=host,
            clock=lambda: 1_700_000_000.0,
            resident=nobody_lives_there,
        )
        self.ipam = await Ipam.load(
            SqliteLeases(self.database), defaults=(), surroundings=Alone(), clock=lambda: 1.0
        )
        ipam = Addresses(local=self.ipam, segments=self.pools)
        await self._theirs("blue", "10.50.0.9")
        await self._theirs("green")
        if self.joined:
            await self._ours(state)
        hosts = FleetHosts(
            northbound=northbound,
            southbound=self.southbound,
            debts=self.debts,
            host=host,
            journal=FakeJournal(),
            clock=lambda: self.southbound.now,
            answer_s=0.1,
        )
        segments = SegmentDesk(
            state=state, ipam=ipam, engine=self.engine, hosts=hosts if self.in_fleet else None
        )
        addresses = IpamDesk(state=state, ipam=ipam, engine=self.engine, segments=segments)
        reservations = ReservationDesk(addresses=addresses, ipam=self.ipam)
        for each in (segments, addresses, reservations):
            self.desk.also(each.answers())

        async def status(_: asks.ShowStatus) -> Status:
            return Status(
                version="0.1.0", pid=7, started=1.0, uptime_s=1.0, fleet=segments.status()
            )

        self.status = status

    async def _theirs(self, segment: str, *addresses: str) -> None:
        pool = SegmentPool(id=f"{space_of(segment)}/4/theirs", host="host2")
        await self.northbound.hold(segment, SUBNET, pool)
        for address in map(IPAddress, addresses):
            lease = SharedLease(
                segment=segment,
                address=address,
                kind="endpoint",
                host="host2",
                pool=pool.id,
                serial=77,
                created=1_700_000_000.0,
            )
            await self.northbound.take(lease)
            name = SharedName(
                segment=segment,
                endpoint=THEIRS,
                host="host2",
                names=("db", "database"),
                addresses=(address,),
            )
            await self.northbound.put_name(name)

    async def _ours(self, state: SqliteState) -> None:
        pool = await self.pools.request_pool(PoolRequest(space=space_of("blue")))
        lease = await self.pools.request_address(AddressRequest(pool=pool.id))
        said = {"mtu": "1442", "guard": "true", "gateway": "10.50.0.1"}
        await self.northbound.describe("blue", said)
        subnet = Subnet(cidr=SUBNET, gateway=None, space=pool.space, pool=pool.id)
        await state.put_network(a_network(segment=self.segment, subnets=(subnet,)))
        address = IPNetwork(f"{lease.address}/24")
        await state.put_endpoint(an_endpoint(addresses=(address,), leases=(lease.serial,)))
        mac = self.northbound.lease("blue", lease.address).mac
        await self.northbound.set_port(
            SharedPort(
                segment="blue", addresses=(lease.address,), mac=mac, endpoint=FIRST, host="host1"
            )
        )
        self.engine.add_network(RED, "shop")
        self.engine.add_endpoint(FIRST, RED, "web")

    async def _stop(self, _app: web.Application) -> None:
        await self.pools.close()
        await self.ipam.close()
        await self.database.close()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path / "state.db")


@pytest.fixture
def fleet(case: Case, serve: Callable[[web.Application], Process]) -> Iterator[Case]:
    with serve(case.application()):
        yield case


class Docker:
    """A program of that name, which notes what it is told."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "said"
        self.refusal = folder / "refusal"
        program = folder / "docker"
        program.write_text(
            f'#!/bin/sh\nfor each; do printf "%s\\n" "$each"; done >{self._said}\n'
            f"if [ -e {self.refusal} ]; then cat {self.refusal} >&2; exit 1; fi\necho 0123abcd\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @property
    def said(self) -> list[str]:
        return self._said.read_text().splitlines() if self._said.exists() else []


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return Docker(folder)


def test_segments_are_listed_with_their_hosts_and_how_full_they_are(shell: Shell, fleet: Case):
    heading, blue, green = shell("segment", "ls").stdout.splitlines()
    assert heading.split() == ["SEGMENT", "SUBNETS", "HELD", "NETWORK", "HOSTS"]
    assert blue.split() == ["blue", "10.50.0.0/24", "2/254", "shop", "host1,", "host2"]
    assert green.split() == ["green", "10.50.0.0/24", "0/254", "-", "host2"]


def test_a_segment_is_shown_with_the_containers_of_all_hosts(shell: Shell, fleet: Case):
    text = shell("segment", "show", "blue").stdout
    assert "--gateway=10.50.0.1  ovs.guard=true  ovs.mtu=1442" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("10.50.")]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        ("10.50.0.2", "host1", "web"),
        ("10.50.0.9", "host2", "db"),
    ]
    found = shell.json("segment", "show", "blue")
    assert [each["container"] for each in found["leases"]] == ["web", "db"]
    assert found["segment"]["hosts"] == ["host1", "host2"]


def test_a_segment_that_is_not_there_is_a_sentence(shell: Shell, fleet: Case):
    result = shell("segment", "show", "red")
    assert result.exit_code == 1
    assert "ovsnet segment ls" in result.stderr


def test_a_name_that_no_segment_can_have_is_refused(shell: Shell, fleet: Case):
    result = shell("segment", "show", "No Name")
    assert result.exit_code == 1
    assert "cannot name a segment" in result.stderr


def test_the_database_that_was_never_reached_is_a_sentence(shell: Shell, fleet: Case):
    fleet.central.segments.clear()
    fleet.northbound.available = False
    result = shell("segment", "ls")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr


def test_a_host_that_is_in_no_fleet_is_told_what_to_configure(
    case: Case, shell: Shell, serve: Callable[[web.Application], Process]
):
    case.in_fleet = False
    with serve(case.application()):
        for words in (("segment", "ls"), ("host", "ls"), ("host", "forget", "host2", "--yes")):
            result = shell(*words)
            assert result.exit_code == 1
            assert "ovn_northbound" in result.stderr


def test_joining_types_what_docker_needs(shell: Shell, fleet: Case, docker: Docker):
    result = shell("segment", "join", "green")
    assert result.exit_code == 0, result.output
    line, answer = result.stdout.splitlines()
    assert line == (
        "docker network create --driver ovsnet --ipam-driver ovsipam --opt ovs.segment=green "
        "--ipam-opt ipam.segment=green green"
    )
    assert answer == "0123abcd"
    assert docker.said[:2] == ["--host", "unix:///run/docker.sock"]
    assert docker.said[2:] == line.split()[1:]


def test_joining_only_says_the_line_if_that_is_wished(shell: Shell, fleet: Case, docker: Docker):
    words = ("segment", "join", "green", "--network", "n2", "--internal", "--dry-run")
    assert shell(*words).stdout.endswith("ipam.segment=green --internal n2\n")
    assert docker.said == []
    assert shell.json(*words)["typed"] is False


def test_a_segment_with_ipv6_is_joined_with_it(shell: Shell, fleet: Case, docker: Docker):
    words = ("segment", "join", "red", "--subnet", "10.60.0.0/24", "--subnet", "fd60::/64")
    line = shell(*words, "--dry-run").stdout
    assert "--subnet 10.60.0.0/24 --subnet fd60::/64 --ipv6 red" in line


def test_a_segment_on_a_wire_is_joined_with_this_hosts_nic(
    shell: Shell, fleet: Case, docker: Docker
):
    line = shell("segment", "join", "green", "-o", "ovs.uplink=eth1", "--dry-run").stdout
    assert "--ipam-opt ipam.segment=green --opt ovs.uplink=eth1 green" in line


def test_a_network_on_a_wire_is_this_hosts_on_its_segment(
    case: Case, shell: Shell, serve: Callable[[web.Application], Process]
):
    case.segment = a_segment()
    with serve(case.application()):
        assert shell.json("segment", "ls")[0]["network_name"] == "shop"


def test_the_first_host_must_say_the_subnet(shell: Shell, fleet: Case, docker: Docker):
    result = shell("segment", "join", "red")
    assert result.exit_code == 1
    assert "--subnet" in result.stderr
    assert docker.said == []


def test_a_segment_is_not_joined_twice(shell: Shell, fleet: Case, docker: Docker):
    result = shell("segment", "join", "blue")
    assert result.exit_code == 1
    assert "shop" in result.stderr
    assert docker.said == []


def test_what_docker_refuses_is_refused_in_its_words(shell: Shell, fleet: Case, docker: Docker):
    docker.refusal.write_text("Error response from daemon: no\n")
    result = shell("segment", "join", "green")
    assert result.exit_code == 1
    assert "Error response from daemon: no" in result.stderr


def test_leaving_removes_this_hosts_network(shell: Shell, fleet: Case, docker: Docker):
    assert shell("segment", "leave", "blue").stdout.splitlines()[0] == "docker network rm shop"
    assert docker.said[2:] == ["network", "rm", "shop"]


def test_a_segment_that_this_host_is_not_on_is_not_left(shell: Shell, fleet: Case, docker: Docker):
    result = shell("segment", "leave", "green")
    assert result.exit_code == 1
    assert docker.said == []


def test_hosts_are_listed_with_their_last_sign_of_life(shell: Shell, fleet: Case):
    heading, one, two = shell("host", "ls").stdout.splitlines()
    assert heading.split()[:2] == ["HOST", "STATE"]
    assert one.split()[:4] == ["host1", "(here)", "answers", "now"]
    assert two.split()[:2] == ["host2", "silent"]
    assert two.split()[-2:] == ["blue,", "green"]
    assert [each["answers"] for each in shell.json("host", "ls")["hosts"]] == [True, False]


def test_hosts_that_cannot_be_asked_are_listed_with_the_reason(shell: Shell, fleet: Case):
    fleet.southbound.available = False
    text = shell("host", "ls").stdout
    assert text.count("not known") == 2
    assert "Not all is known: OVN's southbound database" in text


def test_forgetting_asks_first_and_does_nothing_on_no(shell: Shell, fleet: Case):
    result = shell("host", "forget", "host2", stdin="n\n")
    assert result.exit_code == 1
    assert "cut off" in result.stderr
    assert fleet.northbound.lease("blue", IPAddress("10.50.0.9"))


def test_forgetting_tells_which_addresses_went(shell: Shell, fleet: Case):
    result = shell("host", "forget", "host2", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("forgot host2, with 1 address\n")
    assert "blue      10.50.0.9" in result.stdout
    assert "db" in result.stdout
    assert "chassis-del" not in result.stdout
    assert "host2" not in shell("host", "ls").stdout


def test_what_only_a_central_host_may_do_is_a_line_to_type(shell: Shell, fleet: Case):
    fleet.southbound.may_forget = False
    assert "ovn-sbctl chassis-del host2" in shell("host", "forget", "host2", "--yes").stdout


def test_this_host_is_not_forgotten(shell: Shell, fleet: Case):
    result = shell("host", "forget", "host1", "--yes", "--force")
    assert result.exit_code == 1
    assert "is this host" in result.stderr


def test_leases_of_a_segment_are_listed_with_their_hosts(shell: Shell, fleet: Case):
    rows = [line.split() for line in shell("ipam", "leases", "shop").stdout.splitlines()[1:]]
    assert [(row[0], row[-3:]) for row in rows] == [
        ("10.50.0.2", ["web", "on", "host1"]),
        ("10.50.0.9", ["db", "on", "host2"]),
    ]
    assert [each["lease"]["host"] for each in shell.json("ipam", "leases")] == ["host1", "host2"]


def test_a_pool_of_a_segment_counts_the_addresses_of_all_hosts(shell: Shell, fleet: Case):
    (pool,) = shell.json("ipam", "pools")
    assert (pool["usage"]["held"], pool["network_name"]) == (2, "shop")


def test_an_address_of_another_host_is_not_released_here(shell: Shell, fleet: Case):
    result = shell("ipam", "release", "10.50.0.9", "--force")
    assert result.exit_code == 1
    assert "ovsnet host forget host2" in result.stderr
    assert fleet.northbound.lease("blue", IPAddress("10.50.0.9"))


def test_an_address_of_this_host_is_released_by_force_alone(shell: Shell, fleet: Case):
    assert "container web" in shell("ipam", "release", "10.50.0.2").stderr
    assert shell("ipam", "release", "10.50.0.2", "--force").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("10.50.0.7",),
        ("10.50.0.7", "--name", "web", "--network", "shop"),
        ("--name", "web", "--network", "shop"),
    ],
)
def test_addresses_of_a_segment_are_not_reserved(shell: Shell, fleet: Case, words: tuple[str, ...]):
    result = shell("ipam", "reserve", *words)
    assert result.exit_code == 1, result.output
    assert "segment blue" in result.stderr


def test_status_names_the_databases_and_what_waits(shell: Shell, fleet: Case):
    async def noted() -> None:
        fleet.northbound.available = False
        await fleet.debts.note(FreedLease(segment="blue", address=IPAddress("10.50.0.2"), serial=5))

    async def status(ask: asks.ShowStatus) -> Status:
        await noted()
        return await fleet.status(ask)

    fleet.desk.also({asks.ShowStatus: fleet.status})
    text = shell("status").stdout
    assert "ssl:192.0.2.1:6641 leads" in text
    assert "others: ssl:192.0.2.2:6641" in text
    assert "host host1 of 2 segments, with 1 network and 1 pool on them" in text
    assert "Released when" not in text
    fleet.desk.also({asks.ShowStatus: status})
    result = shell("status")
    assert result.exit_code == 1
    assert "Connection refused" in result.stdout
    assert "address 10.50.0.2 of segment blue" in result.stdout
    assert json.loads(shell("status", "--json").stdout)["fleet"]["connected"] is False


def test_status_says_that_a_host_got_another_name(shell: Shell, fleet: Case):
    fleet.desk.also({asks.ShowStatus: fleet.status})
    fleet.switch.system_id = "host7"
    assert "system-id=host1" in shell("status").stdout


def test_status_of_a_host_that_is_in_no_fleet_says_nothing_of_one(shell: Shell, desk: Desk):
    assert desk.now is WELL
    text = shell("status").stdout
    assert "Northbound" not in text
    assert "Fleet" not in text
