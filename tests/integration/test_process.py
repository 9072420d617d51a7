"""The process itself, in a namespace of its own, when what it needs is broken."""

import fcntl
import grp
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.netns import Sandbox
from tests.integration.ovs import PrivateOvs
from tests.integration.process import PATIENCE_S, Process, made

pytestmark = pytest.mark.netns

POOL = {"Pool": "10.77.0.0/24", "Options": {}}


@pytest.fixture
def process() -> Iterator[Process]:
    with Sandbox() as netns, made(netns.path) as alone:
        yield alone


@pytest.fixture
def plugged(ovs: PrivateOvs) -> Iterator[Process]:
    """One that has an Open vSwitch."""
    with made(f"/run/netns/{ovs.namespace}", ovs.address) as beside:
        yield beside


def activates(process: Process) -> bool:
    return (
        process.ask("Plugin.Activate")[0] == 200
        and process.ask("NetworkDriver.GetCapabilities")[0] == 200
        and process.ask("IpamDriver.GetDefaultAddressSpaces", name="ovsipam")[0] == 200
    )


def refused(process: Process) -> str:
    status, answer = process.ask("IpamDriver.RequestPool", POOL)
    assert status == 503, answer
    return str(answer["Err"])


def degraded(process: Process) -> str:
    status, answer = process.admin("show-status")
    assert status == 200
    return str(answer["degraded"])


def test_a_wrong_configuration_is_served_with_a_sentence(process: Process):
    process.config.write_text('brigde = "br1"\nspaces = ["blue"]\n')
    process.start()
    assert activates(process)
    assert process.ask("Plugin.Activate", name="ovsipam-blue")[0] == 200
    for text in (refused(process), degraded(process)):
        assert f"{process.config}: brigde: no such setting; did you mean `bridge`?" in text
    assert "process.degraded" in process.said()
    shown = process.command("status", *process.flags("run-dir"))
    assert shown.returncode == 1
    assert "degraded: ovsnet cannot work: the configuration is wrong" in shown.stdout
    status, answer = process.admin("purge")
    assert status == 500
    assert "nothing was removed" in answer["error"]
    assert not process.state_dir.exists(), "whose directory it is may be what is wrong"
    assert process.stop() == 0


def test_a_state_directory_that_cannot_be_used_is_served_until_it_can(process: Process):
    process.state_dir.write_text("a file is in the way")
    process.start()
    assert activates(process)
    process.until(lambda: degraded(process) != "", "it is degraded")
    assert str(process.state_dir) in refused(process)
    process.state_dir.unlink()
    process.until(lambda: degraded(process) == "", "it is ready by itself")
    assert process.ask("IpamDriver.RequestPool", POOL)[0] == 200
    assert process.stop() == 0


def test_a_store_that_another_holds_is_opened_when_it_is_let_go(process: Process):
    process.start()
    assert process.ask("IpamDriver.RequestPool", POOL)[0] == 200
    process.stop()
    holder = sqlite3.connect(process.store, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    process.log.unlink()
    process.start()
    assert activates(process)
    process.until(lambda: "is locked" in degraded(process), "it is degraded")
    before = process.store.stat().st_ino
    holder.close()
    process.until(lambda: degraded(process) == "", "it is ready by itself")
    assert process.store.stat().st_ino == before
    status, answer = process.ask("IpamDriver.RequestPool", POOL)
    assert status == 409, "the pool that was held before still is"
    assert "10.77.0.0/24" in answer["Err"]
    assert process.said().count("process.degraded") == 1


def test_a_second_process_on_the_same_state_ends_with_a_sentence(process: Process):
    process.state_dir.mkdir()
    lock = os.open(process.state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process.start(wait=False)
        assert process.running is not None
        assert process.running.wait(PATIENCE_S) == 1
    finally:
        os.close(lock)
    assert "another ovsnet" in process.said()
    assert "Traceback" not in process.said()
    process.running = None


def test_a_run_directory_that_cannot_be_used_keeps_nobody_from_docker(process: Process):
    process.run_dir.write_text("a file is in the way")
    process.start()
    assert activates(process)
    assert process.ask("IpamDriver.RequestPool", POOL)[0] == 200
    assert "process.socket-failed" in process.said()
    assert str(process.run_dir) in process.said()
    assert process.stop() == 0


def test_one_socket_that_cannot_be_made_keeps_nobody_from_the_others(process: Process):
    process.plugin_dir.mkdir()
    (process.plugin_dir / "ovsipam-blue.sock").write_text("a file is in the way")
    process.config.write_text('spaces = ["blue"]\n')
    process.start()
    assert activates(process)
    _, status = process.admin("show-status")
    (warning,) = [each for each in status["warnings"] if "ovsipam-blue.sock" in each]
    assert "is not a socket" in warning


LOOK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.sendall(b"GET /ask/show-status HTTP/1.0\\r\\n\\r\\n")
    print(sock.recv(100).decode().split("\\r")[0])
"""


def looked(path: Path, **who: int | list[int]) -> str:
    """Return how a process of another user is answered on a socket."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOOK, str(path)],
        capture_output=True,
        text=True,
        check=False,
        **who,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_a_member_of_the_group_may_look_and_nobody_else(process: Process):
    nobody, group = 65534, grp.getgrnam("nogroup").gr_gid
    process.home.chmod(0o711)
    process.config.write_text('view_group = "nogroup"\n')
    process.start()
    member = {"user": nobody, "group": 65533, "extra_groups": [group]}
    stranger = {"user": nobody, "group": 65533, "extra_groups": []}
    view, admin = process.run_dir / "view.sock", process.run_dir / "admin.sock"
    assert looked(view, **member) == "HTTP/1.0 200 OK"
    for path, who in ((admin, member), (view, stranger), (admin, stranger)):
        assert "Permission denied" in looked(path, **who)
    assert process.stop() == 0
    assert not view.exists()


def test_a_member_of_the_group_types_commands_that_change_nothing(process: Process):
    process.home.chmod(0o711)
    process.config.write_text('view_group = "nogroup"\n')
    process.start()

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ovsdriver", *words, *process.flags("run-dir")],
            capture_output=True,
            text=True,
            check=False,
            user=65534,
            group=65533,
            extra_groups=[grp.getgrnam("nogroup").gr_gid],
        )

    state = typed("network", "ls", "--json")
    assert (state.returncode, json.loads(state.stdout)) == (0, []), state.stderr
    assert "ovsnet_build_info{" in typed("metrics").stdout
    refused = typed("reconcile")
    assert refused.returncode == 1
    assert "no permission to open" in refused.stderr


def test_metrics_are_told_over_tcp_where_the_configuration_says_so(process: Process):
    process.config.write_text('metrics_listen = "127.0.0.1:9821"\n')
    process.start()
    code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9821/{}').status)"

    def asked(path: str) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={process.netns}", sys.executable, "-I", "-c", code.format(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    assert asked("metrics") == "200\n"
    assert "404" in asked("ask/show-status")
    assert process.stop() == 0


def test_a_port_in_use_is_a_sentence_and_stops_nobody(process: Process):
    process.config.write_text('metrics_listen = "127.0.0.1:9821"\n')
    code = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 9821)); print(1, flush=True)"
    )
    holder = subprocess.Popen(
        ["nsenter", f"--net={process.netns}", sys.executable, "-c", f"{code}; time.sleep(600)"],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        process.start()
        assert activates(process)
        _, status = process.admin("show-status")
        (warning,) = [each for each in status["warnings"] if "metrics_listen" in each]
        assert "127.0.0.1 port 9821: Address already in use" in warning
    finally:
        holder.kill()
        holder.communicate()


def test_without_its_group_the_view_socket_is_roots_and_the_process_says_so(process: Process):
    process.config.write_text('view_group = "no-such"\n')
    process.start()
    _, status = process.admin("show-status")
    assert "there is no group no-such" in " ".join(status["warnings"])
    assert looked(process.run_dir / "view.sock") == "HTTP/1.0 200 OK"
    assert process.run_dir.stat().st_mode & 0o777 == 0o700
    assert (process.run_dir / "view.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.ovs
@pytest.mark.parametrize("running", [True, False], ids=["running", "not running"])
def test_a_purge_with_a_corrupt_store_goes_by_the_marks_and_leaves_the_store(
    ovs: PrivateOvs, plugged: Process, running: bool
):
    mark = ("external_ids:ovsnet-owner=ovsnet",)
    for bridge in ("br-ours", "br-theirs"):
        ovs.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
    ovs.vsctl("set", "bridge", "br-ours", *mark)
    for port in ("ovh1", "theirs1"):
        ovs.add_veth(port, f"{port}c")
        ovs.vsctl("add-port", "br-theirs", port)
    ovs.vsctl("set", "port", "ovh1", *mark, "--", "set", "interface", "ovh1", *mark)
    ovs.ip("link", "set", "ovh1", "alias", f"ovsnet endpoint {'e' * 64}")
    for table in ("ovsnet", "theirs"):
        ovs.run("nft", "add", "table", "inet", table)
    plugged.state_dir.mkdir()
    plugged.store.write_bytes(b"no database" * 1000)
    if running:
        plugged.start()
        plugged.until(lambda: "corrupt" in degraded(plugged), "it is degraded")
    done = plugged.command(
        "purge", "--yes", "--json", *plugged.flags("run-dir", "state-dir", "ovsdb")
    )
    purged = json.loads(done.stdout)
    assert purged["failed"] == []
    assert (purged["ports"], purged["bridges"], purged["links"]) == (
        ["ovh1"],
        ["br-ours"],
        ["ovh1"],
    )
    assert str(plugged.store) in purged["left"][0]
    assert "forwarding" in purged["left"][1]
    assert done.returncode == 1
    assert str(plugged.store) in done.stderr
    assert plugged.store.read_bytes() == b"no database" * 1000
    assert ovs.vsctl("list-br").split() == ["br-theirs"]
    assert ovs.vsctl("list-ports", "br-theirs").split() == ["theirs1"]
    assert "theirs1" in ovs.links()
    assert "ovh1" not in ovs.links()
    assert ovs.run("nft", "list", "tables").split() == ["table", "inet", "theirs"]


def test_a_purge_without_a_state_directory_says_what_failed(process: Process):
    process.state_dir.write_text("a file is in the way")
    done = process.command("purge", "--yes", *process.flags("run-dir", "state-dir", "ovsdb"))
    assert done.returncode == 1
    assert "Open vSwitch" in done.stderr
    assert str(process.state_dir) in done.stderr
    assert "Traceback" not in done.stderr
