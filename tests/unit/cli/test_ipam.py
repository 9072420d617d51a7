"""Pools and leases at the shell: the real admin application over a real store."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Ipam, Lease, LeaseKind, PoolId, PoolRequest
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.admin import api, asks
from ovsdriver.admin.addresses.desk import IpamDesk
from ovsdriver.admin.views import LeaseUse
from ovsdriver.cli.addresses import ipam as commands
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.outcome import Refusal
from ovsdriver.config import Settings
from tests.builders import FIRST, RED, a_network, a_subnet, an_endpoint
from tests.fakes.engine import FakeEngine
from tests.unit.cli.conftest import Desk, Process, Shell

LONG_AGO = 1_700_000_000.0


class NoHost:
    async def occupied(self, within: object):
        return ()


class Case:
    """A host: network ``lab`` with container ``web``; pool ``free`` of another driver."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = FakeEngine()
        self.desk = Desk()
        self.clock = lambda: LONG_AGO
        self.new = True
        """Its store is, and gets what is said above."""

    def application(self) -> web.Application:
        app = api.application(self.desk)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, _app: web.Application) -> None:
        self.database = await Database.open(self.path)
        state = await SqliteState.load(self.database)
        self.ipam = ipam = await Ipam.load(
            SqliteLeases(self.database),
            defaults=(),
            surroundings=NoHost(),
            clock=lambda: self.clock(),
        )
        if self.new:
            await self._fill(state, ipam)
        self.addresses = IpamDesk(state=state, ipam=ipam, engine=self.engine)
        self.desk.also(self.addresses.answers())

    async def _fill(self, state: SqliteState, ipam: Ipam) -> None:
        lab = await ipam.request_pool(
            PoolRequest(space="s", subnet=IPNetwork("10.1.0.0/24"), window=IPNetwork("10.1.0.0/25"))
        )
        other = await ipam.request_pool(PoolRequest(space="t", subnet=IPNetwork("10.1.0.0/24")))
        await ipam.request_pool(PoolRequest(space="s", subnet=IPNetwork("fd00:1::/64"), family=6))
        await ipam.request_address(AddressRequest(pool=lab.id, kind=LeaseKind.GATEWAY))
        leases = [
            await ipam.request_address(AddressRequest(pool=lab.id, name=name))
            for name in ("", "ghost")
        ]
        self.clock = time.time
        await ipam.request_address(AddressRequest(pool=lab.id, name="young"))
        await ipam.request_address(AddressRequest(pool=other.id, address=IPAddress("10.1.0.2")))
        await ipam.request_address(AddressRequest(pool=other.id, address=IPAddress("10.1.0.9")))
        await state.put_network(a_network(subnets=(a_subnet(pool=lab.id),)))
        await state.put_endpoint(an_endpoint(leases=(leases[0].serial,)))
        self.engine.add_network(RED, "lab")
        self.engine.add_endpoint(FIRST, RED, "web")

    async def _stop(self, _app: web.Application) -> None:
        await self.ipam.close()
        await self.database.close()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path / "state.db")


@pytest.fixture
def host(case: Case, serve: Callable[[web.Application], Process]) -> Iterator[Case]:
    with serve(case.application()):
        yield case


def test_pools_show_range_network_and_how_full_they_are(shell: Shell, host: Case):
    heading, lab, other, six = shell("ipam", "pools").stdout.splitlines()
    assert heading.split()[:3] == ["SUBNET", "SPACE", "RANGE"]
    assert lab.split()[:9] == [
        *("10.1.0.0/24", "s", "10.1.0.0/25", "lab", "4/254", "[#.........]", "1%", "123", "typed")
    ]
    assert other.split()[3] == "(orphan)"
    assert six.split()[4:8] == ["0/2^64", "[..........]", "0%", "2^64"]


@pytest.mark.parametrize(
    ("which", "spaces"),
    [("", ["s", "t", "s"]), ("lab", ["s"]), (RED[:6], ["s"]), ("10.1.0.0/24", ["s", "t"])],
)
def test_pools_are_found_by_network_and_by_subnet(
    shell: Shell, host: Case, which: str, spaces: list[str]
):
    assert [each["pool"]["space"] for each in shell.json("ipam", "pools", which)] == spaces


def test_leases_say_who_holds_them_page_by_page(
    shell: Shell, host: Case, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(commands, "PAGE", 2)  # the last page is full, and one more is asked for
    rows = [line.split() for line in shell("ipam", "leases", "lab").stdout.splitlines()[1:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("10.1.0.1", "gateway", "-"),
        ("10.1.0.2", "endpoint", "web"),
        ("10.1.0.3", "endpoint", "ghost"),
        ("10.1.0.4", "endpoint", "young"),
    ]
    assert rows[0][2:4] == ["2023-11-14", "22:13:20"]


def test_leases_of_several_spaces_say_which(shell: Shell, host: Case):
    lines = shell("ipam", "leases").stdout.splitlines()
    assert lines[0].split() == ["ADDRESS", "KIND", "SINCE", "(UTC)", "SUBNET", "SPACE", "HOLDER"]
    assert [(row[0], row[-2]) for row in map(str.split, lines[1:])] == [
        *(("10.1.0.1", "s"), ("10.1.0.2", "s"), ("10.1.0.3", "s"), ("10.1.0.4", "s")),
        *(("10.1.0.2", "t"), ("10.1.0.9", "t")),
    ]
    assert lines[0].index("SPACE") == lines[1].index(" s ") + 1
    assert "SPACE" not in shell("ipam", "leases", "lab").stdout


def test_who_holds_one_address_is_told_in_each_space(shell: Shell, host: Case):
    lines = shell("ipam", "leases", "10.1.0.2").stdout.splitlines()
    assert [(row[0], row[-2]) for row in map(str.split, lines[1:])] == [
        ("10.1.0.2", "s"),
        ("10.1.0.2", "t"),
    ]
    (ghost,) = shell.json("ipam", "leases", "10.1.0.3")
    lease = ghost["lease"]
    assert (lease["address"], lease["name"], ghost["space"]) == ("10.1.0.3", "ghost", "s")
    (gateway,) = shell.json("ipam", "leases", "10.1.0.1")
    assert gateway["lease"]["kind"] == "gateway"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("10.1.0.0", "nobody holds 10.1.0.0 of 10.1.0.0/24 of space s, 10.1.0.0/24 of space t"),
        ("10.1.0.255", "nobody holds 10.1.0.255 of"),
        ("fd00:1::", "nobody holds fd00:1:: of fd00:1::/64 of space s"),
        ("10.9.0.1", "no pool here has the address 10.9.0.1; `ovsnet ipam pools` lists them"),
        ("10.1.0", "'10.1.0' is neither a pool nor a network with pools here"),
    ],
)
def test_an_address_that_nobody_holds_is_a_sentence(
    shell: Shell, host: Case, address: str, sentence: str
):
    result = shell("ipam", "leases", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert sentence in result.stderr


def test_leases_in_json_are_one_list_over_all_pools(shell: Shell, host: Case):
    found = shell.json("ipam", "leases")
    assert [each["lease"]["address"] for each in found] == [
        *("10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.2", "10.1.0.9")
    ]
    assert (found[1]["endpoint"], found[1]["container"]) == (FIRST, "web")
    assert [each["space"] for each in found] == [*"sssstt"]
    assert shell.json("ipam", "leases", "fd00:1::/64") == []


def test_without_docker_the_endpoint_is_named(shell: Shell, host: Case):
    host.engine.up = False
    rows = shell("ipam", "leases", "10.1.0.0/24").stdout.splitlines()
    assert rows[2].endswith(f"endpoint {FIRST[:12]}")


def test_a_holder_on_another_host_is_shown_with_it() -> None:
    lease = Lease(
        pool=PoolId("p"),
        address=IPAddress("10.1.0.2"),
        kind=LeaseKind.ENDPOINT,
        name="web",
        host="rack2",
    )
    use = LeaseUse(lease=lease, endpoint=None, container="", auxiliary=False)
    assert commands._who(use) == "web on rack2"


def test_an_address_without_holder_is_released(shell: Shell, host: Case):
    result = shell("ipam", "release", "10.1.0.3")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("which was held by container ghost\n")
    left = [each["lease"]["address"] for each in shell.json("ipam", "leases", "lab")]
    assert left == ["10.1.0.1", "10.1.0.2", "10.1.0.4"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("10.1.0.2", "--network", "lab"), "10.1.0.2 is held by container web"),
        (("10.1.0.1",), "10.1.0.1 is kept for network"),
        (("10.1.0.4",), "its container may just be starting"),
        (("10.1.0.9",), "no network of the driver ovsnet has"),
    ],
)
def test_what_may_be_in_use_is_released_by_force_only(
    shell: Shell, host: Case, typed: tuple[str, ...], sentence: str
):
    refused = shell("ipam", "release", *typed)
    assert refused.exit_code == 1
    assert sentence in refused.stderr
    assert "add --force" in refused.stderr
    released = shell.json("ipam", "release", *typed, "--force")["lease"]
    assert released["address"] == typed[0]
    assert "nobody holds" in shell("ipam", "release", *typed, "--force").stderr


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("release", "10.1.0.2", "--force"), "is held in several pools"),
        (("release", "10.1.0.77"), "nobody holds 10.1.0.77"),
        (("release", "10.9.0.1"), "no pool here has the address"),
        (("release", "10.9.0.1/24"), "write the address alone"),
        (("release", "10.1.0.2", "--pool", "x"), "pool 'x' is not known here"),
        (("release", "10.1.0.2", "--network", "x"), "ovsnet knows no network 'x'"),
        (("release", "10.1.0.2", "--network", "lab", "--pool", "fd00:1::/64"), "has no pool"),
        (("leases", "x"), "'x' is neither a pool nor a network"),
    ],
)
def test_what_is_not_there_or_not_clear_is_refused(
    shell: Shell, host: Case, typed: tuple[str, ...], sentence: str
):
    result = shell("ipam", *typed)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert result.stdout == ""


def test_without_a_process_it_is_said(shell: Shell):
    assert shell("ipam", "leases").exit_code == 3


@pytest.mark.parametrize("limit", [0, 5001])
def test_a_page_has_a_limit(host: Case, shell: Shell, limit: int):
    with pytest.raises(Refusal, match="not from 1 to 5000"):
        ask(Settings(run_dir=shell.run_dir), asks.ListLeases(pool="p", limit=limit))
