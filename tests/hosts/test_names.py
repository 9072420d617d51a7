"""Containers of a segment are found by name from every host."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovsdriver.domain.records.segments import NAME_SERVER
from tests.e2e.stage import Container, Stage
from tests.e2e.world import Program, until
from tests.hosts import name_server, resolve
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.segments import SUBNET6, made

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

WITH_GLIBC = (
    *("--volume", "/usr:/usr:ro", "--volume", "/usr/lib:/lib:ro"),
    *("--volume", "/usr/lib64:/lib64:ro"),
)
"""The machine's own programs, for they ask as most images do."""


OUTSIDE = "127.0.0.153"
"""Where a host's own name server is, on the host."""

Asked = Callable[[], str]


@pytest.fixture
def outside(fleet: Fleet) -> Iterator[Asked]:
    """A name server of the first host's own, behind one that is dead; gives what it was asked."""
    host = fleet.host(1)
    before = host.run("cat", "/etc/resolv.conf")
    said = (sys.executable, str(Path(name_server.__file__)), OUTSIDE, "53")
    program = Program(host, "name-server", *said)
    program.start()
    resolvers(host, "169.254.53.53", OUTSIDE)
    yield program.said
    resolvers(host, *(line.split()[1] for line in before.splitlines()))
    program.stop()


def resolvers(host: Host, *servers: str) -> None:
    """Let a host ask these servers."""
    text = "".join(f"nameserver {each}\n" for each in servers)
    host.run("sh", "-c", 'printf %s "$0" >/etc/resolv.conf', text)


@pytest.fixture(scope="session")
def with_musl(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options of a container that has a program of musl's, which asks as Alpine's do."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("musl-gcc is not there: apt install musl-tools")
    folder = tmp_path_factory.mktemp("musl")
    source = Path(__file__).with_name("getaddrinfo.c")
    said = (compiler, "-static", "-o", str(folder / "find"), str(source))
    subprocess.run(said, check=True)
    folder.chmod(0o755)
    return ("--volume", f"{folder}:/musl:ro")


def ask(
    place: Container,
    name: str,
    kind: str = "A",
    transport: str = "udp",
    server: str = "127.0.0.11",
) -> str:
    """Return what a server answers a container, mostly Docker's own."""
    said = (str(Path(resolve.__file__)), server, name, kind, transport)
    return place.world.run(sys.executable, *said, netns=place.netns)


def knows(place: Container, name: str, *addresses: str, kind: str = "A") -> None:
    """Wait until a container finds a name."""
    wanted = " ".join(("NOERROR", *addresses))
    last: list[str] = []

    def found() -> bool:
        last[:] = [ask(place, name, kind)]
        return last == [wanted]

    until(found, lambda: f"{place.name} finds {name} {kind} as {wanted}: {last}", timeout_s=30)


def misses(place: Container, name: str, address: str) -> None:
    """Wait until a container does not find a name any more."""
    gone = f"{place.name} does not find {name} any more"
    until(lambda: address not in ask(place, name), gone, timeout_s=30)


@pytest.mark.core
def test_containers_are_found_by_name_and_alias_from_every_host(
    fleet: Fleet, stages: list[Stage]
) -> None:
    networks = made(stages, "blue")
    containers = [
        stage.container(f"Web{n}", network, "--network-alias", f"alias{n}", *WITH_GLIBC)
        for n, (stage, network) in enumerate(zip(stages, networks, strict=True), 1)
    ]
    for number, there in enumerate(containers, 1):
        address = there.address("blue")
        for here in containers:
            if here is not there:
                knows(here, f"web{number}", address)
                knows(here, f"alias{number}", address)
                assert address in here.execute("getent", "ahosts", f"web{number}")
    last = containers.pop()
    address = last.address("blue")
    stages[-1].bed.docker("rm", "--force", last.name)
    for here in containers:
        misses(here, "web3", address)


def test_a_container_on_two_segments_asks_on_both(fleet: Fleet, stages: list[Stage]) -> None:
    blue = made(stages[:2], "blue")
    red = made(stages[:2], "red", subnet4="10.51.0.0/24")
    both = stages[0].container("both", blue[0])
    stages[0].bed.docker("network", "connect", "red", "both")
    one, other = (
        stages[1].container(name, net[1]) for name, net in (("one", blue), ("other", red))
    )
    knows(both, "one", one.address("blue"))
    routes = {each["dst"] for each in both.sees("route", "show") if each["dst"].startswith("169")}
    assert routes == {"169.254.53.53", "169.254.53.52/31"}
    stages[0].bed.docker("network", "disconnect", "blue", "both")
    knows(both, "other", other.address("red"))


def test_a_family_that_a_name_has_not_is_no_other_name(
    fleet: Fleet, stages: list[Stage], with_musl: tuple[str, ...]
) -> None:
    networks = made(stages[:2], "blue")
    here = stages[0].container("here", networks[0], *WITH_GLIBC, *with_musl)
    there = stages[1].container("there", networks[1])
    knows(here, "there", there.address("blue"))
    knows(here, "there", kind="AAAA")
    knows(here, "there", kind="MX")
    assert here.execute("/musl/find", "there").split() == [there.address("blue")]
    assert there.address("blue") in here.execute("getent", "ahosts", "there")
    assert there.address("blue") in here.execute("nslookup", "there")


def test_names_of_containers_with_both_families_have_both(
    fleet: Fleet, stages: list[Stage], with_musl: tuple[str, ...]
) -> None:
    networks = made(stages[:2], "blue", subnet6=SUBNET6)
    here = stages[0].container("here", networks[0], *WITH_GLIBC, *with_musl)
    there = stages[1].container("there", networks[1])
    addresses = {there.address("blue"), there.address("blue", 6)}
    knows(here, "there", there.address("blue"))
    knows(here, "there", there.address("blue", 6), kind="AAAA")
    assert set(here.execute("/musl/find", "there").split()) == addresses
    for address in addresses:
        assert address in here.execute("getent", "ahosts", "there")


def test_names_of_the_outside_are_those_of_the_host(
    fleet: Fleet, stages: list[Stage], outside: Asked
) -> None:
    (network,) = made(stages[:1], "blue")
    web = stages[0].container("web", network)
    knows(web, "example.test", name_server.ADDRESS)
    knows(web, "EXAMPLE.test", kind="AAAA")
    assert ask(web, "nowhere.test") == "NXDOMAIN"
    assert ask(web, "big.test", transport="tcp").split() == ["NOERROR", *sorted(name_server.MANY)]
    resolvers(fleet.host(1), "169.254.53.53")
    assert ask(web, "example.test") == "SERVFAIL"
    resolvers(fleet.host(1), "192.0.2.53", "192.0.2.54", OUTSIDE)
    knows(web, "example.test", name_server.ADDRESS)
    fleet.host(1).restart_plugin()
    knows(web, "example.test", name_server.ADDRESS)
    assert "web" not in outside().split()


def test_internal_segments_have_names_and_a_host_that_is_cut_off_keeps_them(
    fleet: Fleet, stages: list[Stage], outside: Asked
) -> None:
    networks = made(stages[:2], "blue", "--internal")
    here, there = (
        stage.container(name, network)
        for stage, name, network in zip(stages, ("here", "there"), networks, strict=False)
    )
    knows(here, "there", there.address("blue"))
    knows(here, "example.test", name_server.ADDRESS)
    fleet.cut(fleet.host(1))
    try:
        knows(here, "there", there.address("blue"))
        knows(here, "there", kind="AAAA")
        stages[0].bed.docker("rm", "--force", "here")
    finally:
        fleet.heal()
    misses(there, "here", "10.50.0.2")


def test_a_container_on_two_segments_finds_the_names_of_both_at_once(
    fleet: Fleet, stages: list[Stage]
) -> None:
    blue = made(stages[:2], "blue")
    red = made(stages[:2], "red", subnet4="10.51.0.0/24")
    both = stages[0].container("both", blue[0], "--network", "red")
    one, other = (
        stages[1].container(name, net[1]) for name, net in (("one", blue), ("other", red))
    )
    knows(both, "one", one.address("blue"))
    knows(both, "other", other.address("red"))
    misses(one, "other", other.address("red"))


def test_a_name_server_that_lost_its_link_is_mended(
    fleet: Fleet, stages: list[Stage], outside: Asked
) -> None:
    (network,) = made(stages[:1], "blue")
    web = stages[0].container("web", network)
    knows(web, "example.test", name_server.ADDRESS)
    host = fleet.host(1)
    (port,) = [each for each in host.ovs_vsctl("list-ports", "br-int").split() if "ovd" in each]
    host.ip("link", "delete", port)
    knows(web, "example.test", name_server.ADDRESS)
    host.ovs_vsctl("del-port", "br-int", port)
    knows(web, "example.test", name_server.ADDRESS)


def test_containers_of_other_networks_are_told_that_no_name_server_is_there(
    fleet: Fleet, stages: list[Stage]
) -> None:
    stage = stages[0]
    stage.bed.docker("network", "create", "plain")
    others = [
        stage.container("routed", stage.network("home", subnet="10.60.0.0/24")),
        stage.container("bridged", "plain"),
    ]
    for each in others:
        assert ask(each, "example.test", server=str(NAME_SERVER)) == "UNREACHABLE"


def test_the_first_container_of_a_name_keeps_it_and_the_next_one_has_it_after_it(
    fleet: Fleet, stages: list[Stage]
) -> None:
    networks = made(stages, "blue")
    one = stages[0].container("same", networks[0])
    here = stages[2].container("here", networks[2])
    knows(here, "same", one.address("blue"))
    two = stages[1].container("same", networks[1], "--network-alias", "other")
    knows(here, "other", two.address("blue"))
    knows(here, "same", one.address("blue"))
    said = "name same on segment blue is the container's with"
    until(lambda: said in fleet.host(2).try_ovsnet("status").out, "host2 says so")
    stages[0].bed.docker("rm", "--force", "same")
    knows(here, "same", two.address("blue"))
