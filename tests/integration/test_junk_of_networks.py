"""Junk in the network driver's calls and on the admin socket, with a real Open vSwitch behind."""

import json
import os
import pwd
import resource
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration import junk
from tests.integration.bystander import SECONDS, Good, harms_nobody, open_files
from tests.integration.ovs import PrivateOvs
from tests.integration.process import PATIENCE_S, Process, Unix, made

pytestmark = [pytest.mark.netns, pytest.mark.ovs]

NETWORK = "ab" * 32
ENDPOINT = "cd" * 32
SUBNET = "10.98.0.0/24"

CROWD = 1000
SLOW = 50

SHORT = tuple(value for value in junk.VALUES if value is None or len(value) < 1000)
"""The long ones are for the IPAM's calls, which are read in the same way."""


@pytest.fixture
def process(shared_ovs: PrivateOvs) -> Iterator[Process]:
    with made(f"/run/netns/{shared_ovs.namespace}", shared_ovs.address) as beside:
        beside.start()
        yield beside
        if beside.running is not None:
            beside.until(lambda: "process.ready" in beside.said(), "it has started")
            status, told = beside.admin("purge")
            assert status == 200, told


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as at_the_end:
        yield at_the_end


class Caller:
    """Calls on one connection, which must not break."""

    def __init__(self, path: Path) -> None:
        self._connection = Unix(path)
        self.refused = 0

    def tell(self, call: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self._connection.request("POST", f"/{call}", body)
        answer = self._connection.getresponse()
        told = json.loads(answer.read())
        if answer.status != 200:
            self.refused += 1
            assert told["Err"] == told["Error"]
            assert told["Err"].isprintable(), (call, body[:200])
            assert len(told["Err"]) < 1000, (call, body[:200])
        return answer.status, told

    def must(self, call: str, **members: object) -> dict[str, Any]:
        status, told = self.tell(call, json.dumps(members).encode())
        assert status == 200, told
        return told

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def caller(process: Process, stack: ExitStack) -> Caller:
    return stack.enter_context(closing(Caller(process.plugin_dir / "ovsnet.sock")))


@pytest.fixture
def attached(process: Process, caller: Caller, shared_ovs: PrivateOvs) -> Iterator[None]:
    """A network with a joined endpoint, which is as it was at the end."""
    pool = caller.must("IpamDriver.RequestPool", Pool=SUBNET, Options={})
    space, address = "ovsnet", f"{SUBNET.removesuffix('0/24')}5/24"
    caller.must("IpamDriver.RequestAddress", PoolID=pool["PoolID"], Address=address[:-3])
    caller.must(
        "NetworkDriver.CreateNetwork",
        NetworkID=NETWORK,
        Options={"com.docker.network.generic": {"ovs.mode": "isolated"}},
        IPv4Data=[{"AddressSpace": space, "Pool": SUBNET}],
    )
    caller.must(
        "NetworkDriver.CreateEndpoint",
        NetworkID=NETWORK,
        EndpointID=ENDPOINT,
        Interface={"Address": address},
    )
    caller.must(
        "NetworkDriver.Join", NetworkID=NETWORK, EndpointID=ENDPOINT, SandboxKey="/proc/self/ns/net"
    )
    process.until(lambda: "flows.attended" in process.said(), "its last connection is there")
    before = (there(process), ports(shared_ovs))
    yield
    assert (there(process), ports(shared_ovs)) == before


def ports(ovs: PrivateOvs) -> set[str]:
    return {each["name"] for each in ovs.rows("Port", "name")}


def there(process: Process) -> dict[str, Any]:
    """Return what there is, as far as junk should not change it."""
    status, told = process.admin("show-state")
    assert status == 200
    return {
        "networks": {each["network"]["id"]: each["state"] for each in told["networks"]},
        "endpoints": {
            each["endpoint"]["id"]: (each["state"], each["fault"]) for each in told["endpoints"]
        },
    }


def unhurt(process: Process) -> None:
    bad = [line for line in process.said().splitlines() if "crashed" in line or "Trace" in line]
    assert bad == []
    assert all(line.isprintable() for line in process.said().splitlines())


def test_every_member_of_a_network_call_wrong_in_turn(
    process: Process, caller: Caller, stack: ExitStack, attached: None
):
    good = stack.enter_context(closing(Good(process)))
    undo = {
        "NetworkDriver.CreateNetwork": "NetworkDriver.DeleteNetwork",
        "NetworkDriver.CreateEndpoint": "NetworkDriver.DeleteEndpoint",
    }
    accepted: dict[str, int] = {}
    values = SHORT if SECONDS else SHORT[::4]
    calls = junk.wrong_members(junk.NETWORK, values, NETWORK=NETWORK, ENDPOINT=ENDPOINT)
    with good.at_work():
        for call, body in calls:
            status, told = caller.tell(call, body)
            assert status != 500, (call, body[:300], told)
            if status == 200:
                accepted[call] = accepted.get(call, 0) + 1
                if call in undo:
                    assert caller.tell(undo[call], body)[0] == 200, body[:300]
    assert caller.refused > 1000
    assert undo.keys() <= accepted.keys(), "some of it makes sense"
    consistent_with(process, good)


def consistent_with(process: Process, good: Good) -> None:
    unhurt(process)
    status, told = process.admin("list-leases", pool=good.pool)
    assert status == 200
    assert {each["lease"]["address"] for each in told["leases"]} == good.held


def test_generated_junk_on_the_network_drivers_socket(
    process: Process, caller: Caller, stack: ExitStack, attached: None
):
    good = stack.enter_context(closing(Good(process)))
    always = {"NetworkID": "9" * 64, "EndpointID": "8" * 64, "SandboxKey": "/run/x"}
    path = process.plugin_dir / "ovsnet.sock"
    with good.at_work():
        harms_nobody(process, junk.Junk(path, junk.NETWORK, 2, always))
    # Some of it makes sense.
    for network in there(process)["networks"].keys() - {NETWORK}:
        caller.must("NetworkDriver.DeleteNetwork", NetworkID=network)
    consistent_with(process, good)


PAGES = (
    *("/healthz", "/metrics", "/ask/{}", "/ask/list-pools?of={}", "/ask/../{}"),
    *("/ask/show-state/{}", "/{}", "/../{}"),
)
LINE = 8000
"""Bytes of a request's first line that are surely read."""
WORDS = (
    *("", "x", "%00", "%1b%5b2J", "%0d%0aX:%20y", "..%2f..%2fetc", "%ff%fe", "%F0%9F%A6%86", "%"),
    *(
        "9" * 30,
        "-1",
        "1e9",
        "9" * 5000,
        "a" * 6000,
        "10.98.0.9",
        "::",
        "true",
        "'%3b--",
        "%5Bred%5D",
    ),
)


def test_junk_on_the_admin_socket(process: Process, stack: ExitStack, attached: None):
    good = stack.enter_context(closing(Good(process)))
    values = SHORT if SECONDS else SHORT[::4]
    with good.at_work(), closing(Unix(process.run_dir / "admin.sock")) as connection:

        def tell(method: str, path: str, body: bytes | None) -> int:
            connection.request(method, path, body)
            answer = connection.getresponse()
            raw = answer.read()
            # What is too long for a request line is told by the HTTP library, in its words.
            if answer.status != 200 and method != "HEAD" and len(path) < LINE:
                assert json.loads(raw)["error"], (method, path)
            return answer.status

        for page in PAGES:
            for word in WORDS:
                path = page.replace("{}", word)
                for method in ("GET", "DELETE", "POST", "PUT", "PATCH", "HEAD"):
                    assert tell(method, path, None) < 500, (method, path)
        accepted: dict[str, int] = {}
        for word, body in junk.wrong_members(junk.ADMIN, values, POOL=good.pool):
            status = tell("POST", f"/{word}", body)
            assert status < 500, (word, body[:300])
            accepted[word] = accepted.get(word, 0) + (status == 200)
        path = process.run_dir / "admin.sock"
        harms_nobody(process, junk.Junk(path, junk.ADMIN, 3, {"space": "s"}))
    assert "ask/reserve" in {word for word, count in accepted.items() if count}
    consistent_with(process, good)
    # Some of it makes sense.
    for each in process.admin("list-reservations")[1]:
        kept = each["reservation"]
        gone = process.admin("unreserve", address=kept["address"], space=kept["space"])
        assert gone[0] == 200, (each, gone)
    assert process.admin("list-reservations") == (200, [])


# Many at once, slow ones, and halves


@contextmanager
def many_files() -> Iterator[None]:
    """This process may open enough of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(stack: ExitStack, path: Path, count: int) -> list[socket.socket]:
    found = []
    for _ in range(count):
        sock = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
        sock.connect(str(path))  # waits where the queue is full, since it has no timeout yet
        sock.settimeout(PATIENCE_S)
        found.append(sock)
    return found


def answers(connections: list[socket.socket]) -> list[bytes]:
    """Return what comes on each, to the end of its first answer."""
    got = {sock.fileno(): b"" for sock in connections}
    waiting = select.poll()
    for descriptor in got:
        waiting.register(descriptor, select.POLLIN)
    left = set(got)
    by_number = {sock.fileno(): sock for sock in connections}
    while left:
        ready = waiting.poll(PATIENCE_S * 1000)
        assert ready, f"{len(left)} of {len(got)} are not answered"
        for descriptor, _ in ready:
            data = by_number[descriptor].recv(65536)
            got[descriptor] += data
            if not data or got[descriptor].endswith(b"}"):
                waiting.unregister(descriptor)
                left.discard(descriptor)
    return list(got.values())


@pytest.mark.parametrize("name", ["ovsnet", "ovsipam"])
def test_a_thousand_connections_at_once_are_all_served(
    process: Process, stack: ExitStack, attached: None, name: str
):
    stack.enter_context(many_files())
    good = stack.enter_context(closing(Good(process)))
    path = process.plugin_dir / f"{name}.sock"
    files = open_files(process)
    request = junk.post("Plugin.Activate", b"")
    with good.at_work(), ExitStack() as crowd:
        silent = connected(crowd, path, CROWD // 2)
        begun = connected(crowd, path, CROWD // 2)
        for sock in begun:
            sock.sendall(request[:20])
        whole = connected(crowd, path, CROWD)
        for sock in whole:
            sock.sendall(request)
        assert all(b" 200 OK\r\n" in each for each in answers(whole))
        for sock in begun:
            sock.sendall(request[20:])
        for sock in silent:
            sock.sendall(request)
        assert all(b" 200 OK\r\n" in each for each in answers([*begun, *silent]))
    process.until(lambda: open_files(process) <= files, "they are closed")
    consistent_with(process, good)


def test_slow_callers_and_halves_hold_up_nobody(process: Process, stack: ExitStack, attached: None):
    good = stack.enter_context(closing(Good(process)))
    path = process.plugin_dir / "ovsipam.sock"
    body = json.dumps({"PoolID": good.pool, "Address": "10.77.0.0"}).encode()
    files = open_files(process)
    for request, status in (
        (junk.post("IpamDriver.GetCapabilities", b"{}"), b" 200 "),
        (junk.post("IpamDriver.RequestAddress", body), b" 409 "),
        (
            b"POST /IpamDriver.GetCapabilities HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            b" 200 ",
        ),
    ):
        before = good.calls
        with good.at_work(), ExitStack() as crowd:
            slow = connected(crowd, path, SLOW)
            for at in range(len(request)):
                for sock in slow:
                    sock.sendall(request[at : at + 1])
            assert [each for each in answers(slow) if status not in each] == [], request
            # Callers who have said all, and only listen.
            halves = connected(crowd, path, SLOW)
            for sock in halves:
                sock.sendall(request)
                sock.shutdown(socket.SHUT_WR)
            assert [each for each in answers(halves) if status not in each] == [], request
            # And some who go away in the middle of a word.
            for at in range(1, len(request), 7):
                (gone,) = connected(crowd, path, 1)
                gone.sendall(request[:at])
                gone.shutdown(socket.SHUT_WR)
                assert gone.recv(65536) == b""
        assert good.calls > before
    process.until(lambda: open_files(process) <= files, "they are closed")
    consistent_with(process, good)


# Whoever is not root


@pytest.fixture
def in_the_open(process: Process) -> Process:
    """One whose folders anybody may enter, so that only its sockets guard it."""
    process.home.chmod(0o755)
    process.run_dir.chmod(0o755)
    return process


@pytest.mark.parametrize(
    "how",
    [
        pytest.param((), id="nobody"),
        # Root among itself, and nobody to us.
        pytest.param(("unshare", "--user", "--map-root-user"), id="root-of-a-namespace"),
    ],
)
def test_ordinary_users_cannot_speak_to_any_socket(in_the_open: Process, how: tuple[str, ...]):
    process = in_the_open
    nobody = pwd.getpwnam("nobody")
    script = (
        "import socket, sys\n"
        "for path in sys.argv[1:]:\n"
        "    sock = socket.socket(socket.AF_UNIX)\n"
        "    try: sock.connect(path)\n"
        "    except PermissionError: print('refused')\n"
        "    else: print('let in')\n"
    )
    paths = [process.run_dir / "admin.sock", *sorted(process.plugin_dir.glob("*.sock"))]
    assert len(paths) == 3
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    told = subprocess.run(
        [*how, python, "-c", script, *map(str, paths)],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if how and "unshare" in told.stderr:  # they may not even have a namespace here
        assert told.returncode != 0
        assert not told.stdout
    else:
        assert told.stdout.split() == ["refused"] * len(paths), told.stderr


def test_what_is_written_is_its_owners_alone(process: Process, attached: None):
    for folder in (process.run_dir, process.state_dir):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
        for path in folder.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
    for path in process.plugin_dir.glob("*.sock"):
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert os.getuid() == process.state_dir.stat().st_uid == 0
