"""What every ``Southbound`` does: the fake in memory, and OVN's database of its real schema."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from ovsdriver.adapters.ovn import OvnSouthbound
from ovsdriver.adapters.ovsdb import Certificates
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Chassis, Southbound
from tests.fakes.northbound import FakeCentral
from tests.fakes.southbound import FakeSouthbound
from tests.hosts.certificates import Authority, Identity
from tests.integration.ovn import Cluster, southbound

OVN = [pytest.mark.ovs, pytest.mark.ovn]
PATIENCE_S = 30.0
AT = 1795957463.25


class Fleet(Protocol):
    """Hosts ``one`` and ``two``, and a host's way to the database that knows them."""

    @property
    def host(self) -> Southbound: ...

    def answer(self, name: str) -> None:
        """Call all hosts; this one answers, at ``AT``."""

    def stop(self) -> None: ...


class FakeFleet:
    def __init__(self) -> None:
        self._central = FakeCentral()
        self.host = FakeSouthbound(self._central, now=AT)
        self.host.register("one", "two")

    def answer(self, name: str) -> None:
        self.host.dead = {"one", "two"} - {name}
        self._central.called += 1

    def stop(self) -> None:
        self.host.available = False


class OvnFleet:
    """ovn-sbctl plays northd and the controllers."""

    def __init__(self, database: Cluster, timeout_s: float) -> None:
        self._database = database
        self._called = 0
        self.host = OvnSouthbound(lambda: ", ".join(database.addresses), timeout_s=timeout_s)
        database.sbctl("set", "SB_Global", ".", "nb_cfg=0")
        for number, name in enumerate(("one", "two"), 1):
            database.sbctl("chassis-add", name, "geneve", f"192.0.2.{number}")
            database.sbctl("create", "Chassis_Private", f"name={name}")

    def answer(self, name: str) -> None:
        self._called += 1
        now = (f"nb_cfg={self._called}", f"nb_cfg_timestamp={AT * 1000:.0f}")
        self._database.sbctl("set", "SB_Global", ".", f"nb_cfg={self._called}")
        self._database.sbctl("set", "Chassis_Private", name, *now)

    def stop(self) -> None:
        self._database.members[0].kill()


@pytest.fixture(scope="module")
def database() -> Iterator[Cluster]:
    with southbound() as database:
        database.sbctl("init")
        yield database


@pytest.fixture(params=["fake", pytest.param("ovn", marks=OVN)])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    if request.param == "fake":
        yield FakeFleet()
        return
    database = request.getfixturevalue("database")
    yield OvnFleet(database, PATIENCE_S)
    if not database.members[0].ask("version"):
        database.members[0].kill()
        database.members[0].start()
    database.sbctl("--all", "destroy", "Chassis", "--", "--all", "destroy", "Chassis_Private")


async def test_hosts_are_told_with_their_tunnels_and_no_sign_of_life_at_first(fleet: Fleet) -> None:
    view = await fleet.host.read()
    assert (view.called, view.chassis) == (
        0,
        (Chassis(name="one", address="192.0.2.1"), Chassis(name="two", address="192.0.2.2")),
    )


async def test_a_host_that_answered_is_told_with_the_call_and_the_time(fleet: Fleet) -> None:
    fleet.answer("two")
    fleet.answer("one")
    view = await fleet.host.read()
    assert view.called == 2
    assert [(each.name, each.heard, each.at) for each in view.chassis if each.heard == 2] == [
        ("one", 2, AT)
    ]


async def test_a_host_is_forgotten_once_and_for_all(fleet: Fleet) -> None:
    assert await fleet.host.forget("two")
    assert await fleet.host.forget("two")
    assert [each.name for each in (await fleet.host.read()).chassis] == ["one"]


async def test_servers_are_named_in_their_order(fleet: Fleet) -> None:
    assert fleet.host.servers()


async def test_without_an_answer_everything_is_refused(fleet: Fleet) -> None:
    fleet.stop()
    with pytest.raises(UnavailableError, match="southbound"):
        await fleet.host.read()
    with pytest.raises(UnavailableError, match="southbound"):
        await fleet.host.forget("one")


async def test_a_switch_that_does_not_know_the_servers_is_told_what_to_set() -> None:
    with pytest.raises(UnavailableError, match="ovn-remote"):
        await OvnSouthbound(lambda: "").read()


@pytest.fixture
def issue(tmp_path: Path) -> Callable[[str], Identity]:
    authority = Authority(tmp_path / "ca")
    return lambda name: authority.issue(name, "127.0.0.1")


@pytest.mark.ovs
@pytest.mark.ovn
async def test_a_database_with_roles_lets_no_host_forget_another(
    issue: Callable[[str], Identity],
) -> None:
    own = issue("one")
    with southbound(tls=issue("central")) as database:
        database.sbctl("init")
        database.sbctl("chassis-add", "two", "geneve", "192.0.2.2")
        (member,) = database.members
        port = int(member.address.rpartition(":")[2])
        # what it listens on is now said in the database itself, with the role of who connects there
        database.sbctl("set-connection", "role=ovn-controller", f"pssl:{port}:127.0.0.1")
        member.ask("ovsdb-server/remove-remote", f"pssl:{port}:127.0.0.1")
        member.ask("ovsdb-server/add-remote", "db:OVN_Southbound,SB_Global,connections")
        certificates = Certificates(
            private_key=own.key, certificate=own.certificate, ca=own.authority
        )
        host = OvnSouthbound(
            lambda: member.address, certificates=certificates, timeout_s=PATIENCE_S
        )
        assert not await host.forget("two")
        assert [each.name for each in (await host.read()).chassis] == ["two"]
