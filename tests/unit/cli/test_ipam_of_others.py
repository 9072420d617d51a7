"""Pools that networks of other drivers have, and pools that nobody has, at the shell."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from netaddr import IPNetwork

from ipam import PoolRequest
from ovsdriver.admin import asks
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.outcome import Refusal
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import NetworkId
from tests.builders import SECOND
from tests.unit.cli.conftest import Process, Shell
from tests.unit.cli.test_ipam import Case

DOCKERS = NetworkId("d0" * 32)


class WithBridge(Case):
    """The second pool, of space ``t``, is that of ``dockers``, with container ``db`` on .9."""

    async def _start(self, app: web.Application) -> None:
        await super()._start(app)
        self.engine.add_network(DOCKERS, "dockers")
        self.engine.add_subnet(
            DOCKERS, "10.1.0.0/24", options={"ipam.space": "t"}, kept=("10.1.0.1", "10.1.0.2")
        )
        self.engine.add_endpoint(SECOND, DOCKERS, "db", "10.1.0.9/24")
        await self.ipam.request_pool(PoolRequest(space="young", subnet=IPNetwork("10.9.0.0/24")))

    def id_of(self, space: str, family: int = 4) -> str:
        (found,) = [
            each.id
            for each in self.ipam.pools()
            if each.space == space and each.subnet.version == family
        ]
        return found


@pytest.fixture
def host(tmp_path: Path, serve: Callable[[web.Application], Process]) -> Iterator[WithBridge]:
    case = WithBridge(tmp_path / "state.db")
    with serve(case.application()):
        yield case


def test_pools_show_the_network_of_another_driver_and_orphans(shell: Shell, host: WithBridge):
    shown = [line.split()[3] for line in shell("ipam", "pools").stdout.splitlines()[1:]]
    assert shown == ["lab", "dockers", "(orphan)", "-"]
    assert [each["orphan"] for each in shell.json("ipam", "pools")] == [False, False, True, None]


def test_nobody_is_called_an_orphan_while_docker_does_not_answer(shell: Shell, host: WithBridge):
    host.engine.up = False
    found = shell.json("ipam", "pools")
    assert [each["orphan"] for each in found] == [False, None, None, None]
    assert [bool(each["network"]) for each in found] == [True, False, False, False]


def test_leases_of_another_drivers_network_name_their_containers(shell: Shell, host: WithBridge):
    two, nine = shell.json("ipam", "leases", "dockers")
    assert (nine["lease"]["address"], nine["container"], nine["endpoint"]) == (
        "10.1.0.9",
        "db",
        SECOND,
    )
    assert (two["lease"]["address"], two["container"], two["endpoint"]) == ("10.1.0.2", "", None)
    assert (two["auxiliary"], two["auxiliary_name"]) == (True, "host10.1.0.2")
    row = shell("ipam", "leases", "dockers").stdout.splitlines()[1].split()
    assert (row[1], row[-1]) == ("aux", "host10.1.0.2")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("10.1.0.9", "is held by container db"),
        ("10.1.0.2", "(--aux-address host10.1.0.2)"),
    ],
)
def test_addresses_that_docker_needs_are_released_by_force_only(
    shell: Shell, host: WithBridge, address: str, sentence: str
):
    refused = shell("ipam", "release", address, "--network", "dockers")
    assert refused.exit_code == 1
    assert sentence in refused.stderr
    assert "add --force" in refused.stderr
    assert shell("ipam", "release", address, "--network", "dockers", "--force").exit_code == 0


def test_an_address_that_docker_gave_away_just_now_is_not_released(shell: Shell, host: WithBridge):
    host.engine.remove_endpoint(SECOND)
    refused = shell("ipam", "release", "10.1.0.9")
    assert "its container may just be starting" in refused.stderr


def test_an_address_that_docker_forgot_is_released(shell: Shell, host: WithBridge):
    host.engine.remove_endpoint(SECOND)
    host.addresses._clock = lambda: 2e9  # long after it was given
    result = shell("ipam", "release", "10.1.0.9")
    assert result.exit_code == 0, result.stderr


def test_a_pool_without_a_network_is_released_by_its_id(shell: Shell, host: WithBridge):
    six = host.id_of("s", 6)
    result = shell("ipam", "release", six)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "released pool fd00:1::/64 of space s, with 0 addresses\n"
    assert six not in [each["pool"]["id"] for each in shell.json("ipam", "pools")]
    assert "ovsnet knows no pool" in shell("ipam", "release", six).stderr


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ("s", "is that of network lab; `docker network rm lab` releases it"),
        ("t", "may be that of network dockers, which Docker still has"),
        ("young", "its network may just be coming"),
    ],
)
def test_a_pool_that_a_network_has_or_may_have_is_released_by_force_only(
    shell: Shell, host: WithBridge, space: str, sentence: str
):
    pool = host.id_of(space)
    refused = shell("ipam", "release", pool)
    assert refused.exit_code == 1
    assert sentence in refused.stderr
    assert "add --force" in refused.stderr
    assert shell.json("ipam", "release", pool, "--force")["pool"]["id"] == pool


def test_without_docker_a_pool_is_released_by_force_only(shell: Shell, host: WithBridge):
    host.engine.up = False
    pool = host.id_of("t")
    assert "Docker does not answer" in shell("ipam", "release", pool).stderr
    assert shell.json("ipam", "release", pool, "--force")["addresses"] == 2


def test_the_pool_of_a_network_that_docker_forgot_goes_with_its_network(
    shell: Shell, host: WithBridge
):
    host.engine._networks.clear()
    refused = shell("ipam", "release", host.id_of("s"))
    assert "`ovsnet network rm " in refused.stderr


def test_a_pool_must_be_named(shell: Shell, host: WithBridge):
    with pytest.raises(Refusal, match="pool: missing"):
        ask(Settings(run_dir=shell.run_dir), asks.ReleasePool(pool="", force=True))


def test_a_pool_is_said_by_its_id_alone(shell: Shell, host: WithBridge):
    refused = shell("ipam", "release", host.id_of("t"), "--network", "dockers")
    assert refused.exit_code == 2
    assert "go with an address" in refused.stderr
