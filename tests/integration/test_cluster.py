"""The OVSDB client against a cluster of three: leaders die, hang and are cut off; TLS."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import pytest

from ovsdriver.adapters.ovsdb import Certificates, Operation, OvsdbClient, Replica, Servers
from tests.hosts.certificates import Authority, Identity
from tests.integration.ovn import NORTHBOUND, Cluster, Member, northbound
from tests.integration.ovs import eventually

pytestmark = [pytest.mark.ovs, pytest.mark.ovn]

WATCHED = {"Logical_Switch": ("name",)}
PATIENCE_S = 30.0
ADDRESS = "127.0.0.1"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with northbound(members=3) as cluster:
        yield cluster


@asynccontextmanager
async def client_of(
    addresses: Sequence[str], *, tls: Certificates | None = None
) -> AsyncIterator[OvsdbClient]:
    servers = Servers.parse(addresses, clustered=True, certificates=tls)
    client = OvsdbClient(
        servers, WATCHED, on_change=lambda _: None, database=NORTHBOUND, probe_s=0.5
    )
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def adding(name: str) -> Callable[[Replica], Sequence[Operation]]:
    """Return a plan that makes a switch, if there is none of that name.

    Its uuid follows from its name: a server that hung may yet pass on what it was sent.
    """
    uuid = str(uuid5(NAMESPACE_OID, name))
    row = {"op": "insert", "table": "Logical_Switch", "uuid": uuid, "row": {"name": name}}
    return lambda replica: [] if replica.row("Logical_Switch", uuid) else [row]


async def added(client: OvsdbClient, *names: str) -> None:
    """Make switches, however long it takes."""
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(client.submit(adding(each), subject=each) for each in names))


def switches(cluster: Cluster) -> list[str]:
    return sorted(line.split()[1].strip("()") for line in cluster.nbctl("ls-list").splitlines())


async def test_the_leader_is_found_wherever_one_begins(cluster: Cluster) -> None:
    for number, order in enumerate(itertools.permutations(cluster.addresses)):
        async with client_of(order) as client:
            await added(client, f"ls{number}")

            assert client.connections == 1
    assert len(switches(cluster)) == 6


async def test_after_the_death_of_the_leader_the_next_one_is_found(cluster: Cluster) -> None:
    async with client_of(cluster.addresses) as client:
        await added(client, "before")

        copy = client.replica
        cluster.leader().kill()
        cluster.leader()  # the next one
        cluster.nbctl("ls-add", "by-another")
        await added(client, "after")

        assert client.connections == 2
        # the one that it had, with what is new: not the whole of it again
        assert client.replica is copy
        assert client.replica is not None
        assert client.replica.named("Logical_Switch", "by-another")
    assert switches(cluster) == ["after", "before", "by-another"]


async def test_another_database_in_its_place_is_read_afresh() -> None:
    with northbound() as first, northbound() as second:
        first.nbctl("ls-add", "old")
        second.nbctl("ls-add", "new")
        async with client_of([*first.addresses, *second.addresses]) as client:
            await eventually(lambda: client.replica, "one of them has us")
            assert client.replica is not None
            [row] = client.replica.rows("Logical_Switch")
            one, other = (first, second) if row["name"] == "old" else (second, first)

            one.members[0].kill()
            await eventually(lambda: client.connections == 2, "the other one has us")

            assert client.replica is not None
            [row] = client.replica.rows("Logical_Switch")
            assert switches(other) == [row["name"]]


async def test_a_leader_that_hangs_is_left(cluster: Cluster) -> None:
    async with client_of(cluster.addresses) as client:
        await added(client, "before")

        with cluster.leader().frozen():
            await added(client, "after")

    assert switches(cluster) == ["after", "before"]


async def test_a_leader_that_is_cut_off_from_the_others_is_left(cluster: Cluster) -> None:
    async with client_of(cluster.addresses) as client:
        await added(client, "before")

        cluster.leader().cut_off()
        await added(client, "after")

        assert client.connections >= 2


async def test_a_leader_that_hands_over_is_left(cluster: Cluster) -> None:
    async with client_of(cluster.addresses) as client:
        await added(client, "before")
        first = cluster.leader()

        first.ask("cluster/failure-test", "transfer-leadership")
        await eventually(lambda: client.connections == 2, "the new leader is found")
        await added(client, "after")

    assert switches(cluster) == ["after", "before"]


async def test_without_a_majority_there_is_nobody_until_it_is_back(cluster: Cluster) -> None:
    async with client_of(cluster.addresses) as client:
        await added(client, "before")
        others = [each for each in cluster.members if not each.leads]

        with both_frozen(others):
            waiting = client.submit(adding("after"), subject="after")
            await eventually(lambda: client.replica is None, "it is noticed")
            await eventually(
                lambda: (
                    "no contact to its cluster" in client.last_error
                    or "does not lead" in client.last_error
                ),
                "it is said",
            )
            assert not waiting.done()

        async with asyncio.timeout(PATIENCE_S):
            await waiting
    assert switches(cluster) == ["after", "before"]


@contextmanager
def both_frozen(members: Sequence[Member]) -> Iterator[None]:
    first, second = members
    with first.frozen(), second.frozen():
        yield


async def test_what_was_asked_while_leaders_died_is_there_once(cluster: Cluster) -> None:
    names = [f"ls{number:03}" for number in range(60)]
    async with client_of(cluster.addresses) as client:
        await added(client, *names[:20])
        asked = asyncio.create_task(added(client, *names[20:40]))
        await asyncio.sleep(0)
        first = cluster.leader()
        first.kill()
        await asked
        first.start()
        await eventually(lambda: first.belongs, "the first is back")
        asked = asyncio.create_task(added(client, *names[40:]))
        await asyncio.sleep(0)
        cluster.leader().kill()
        await asked

    assert switches(cluster) == names


async def test_a_database_alone_leads_itself() -> None:
    with northbound() as alone:
        async with client_of(alone.addresses) as client:
            await added(client, "ls")

        assert switches(alone) == ["ls"]


def files(identity: Identity) -> Certificates:
    """Return what the client is told of an identity."""
    return Certificates(
        private_key=identity.key, certificate=identity.certificate, ca=identity.authority
    )


async def test_servers_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    mine = files(authority.issue("host1", ADDRESS))
    with northbound(members=3, tls=authority.issue("central", ADDRESS)) as cluster:
        async with client_of(cluster.addresses, tls=mine) as client:
            await added(client, "before")
            cluster.leader().kill()
            await added(client, "after")


async def test_a_certificate_of_another_ca_is_refused_by_either_side(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    foreign = files(other.issue("host2", ADDRESS))
    known = replace(foreign, ca=files(authority.issue("host1", ADDRESS)).ca)
    with northbound(tls=authority.issue("central", ADDRESS)) as cluster:
        async with client_of(cluster.addresses, tls=foreign) as client:
            sentence = f"its certificate is not of the CA in {foreign.ca}"
            await eventually(lambda: sentence in client.last_error, "we refuse the server")
        async with client_of(cluster.addresses, tls=known) as client:
            sentence = f"it refuses {foreign.certificate}"
            await eventually(lambda: sentence in client.last_error, "the server refuses us")

            assert client.connections == 0


async def test_certificates_that_come_later_are_taken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    mine = files(authority.issue("host1", ADDRESS))
    hidden = mine.certificate.rename(tmp_path / "hidden")
    with northbound(tls=authority.issue("central", ADDRESS)) as cluster:
        async with client_of(cluster.addresses, tls=mine) as client:
            sentence = f"{mine.certificate} cannot be read"
            await eventually(lambda: sentence in client.last_error, "it is said")

            hidden.rename(mine.certificate)

            await added(client, "ls")


async def test_a_server_that_speaks_no_tls_is_left(tmp_path: Path) -> None:
    mine = files(Authority(tmp_path).issue("host1", ADDRESS))

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello, hello")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as listener:
        address = f"ssl:127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with client_of([address], tls=mine) as client:
            await eventually(lambda: "no TLS" in client.last_error, "it is said")
