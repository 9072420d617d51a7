"""``ovsnet check``: judgements over what was seen, and looks at small stand-ins."""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ovsdriver.cli.doctor import Finding, Level, docker, fleet, forwarding, host, openvswitch
from ovsdriver.cli.doctor.openvswitch import Kernel, SeenSwitch
from ovsdriver.cli.doctor.rpc import RpcError, ask
from ovsdriver.config import Settings
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Chassis
from tests.fakes.engine import FakeEngine
from tests.hosts.certificates import Authority
from tests.unit.cli.conftest import Shell

WELL = SeenSwitch(
    address="unix:/db.sock",
    version="3.5.0",
    taken=True,
    vswitchd=True,
    tso=True,
    kernel=Kernel.LOADED,
)


def levels(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.subject, each.level.value) for each in findings]


# Open vSwitch


def test_a_switch_that_works_is_ok():
    assert levels(openvswitch.judge(WELL, None)) == [
        ("Open vSwitch database", "ok"),
        ("ovs-vswitchd", "ok"),
        ("datapath", "ok"),
    ]


@pytest.mark.parametrize(
    ("change", "subject", "level", "words"),
    [
        pytest.param(
            {"fault": "No such file", "installed": False},
            "Open vSwitch database",
            "fail",
            "apt install openvswitch-switch",
            id="not-installed",
        ),
        pytest.param(
            {"fault": "Connection refused"},
            "Open vSwitch database",
            "fail",
            "systemctl start openvswitch-switch",
            id="not-running",
        ),
        pytest.param({"row": False}, "Open vSwitch database", "fail", "ovs-vsctl", id="empty"),
        pytest.param({"vswitchd": False}, "ovs-vswitchd", "fail", "systemctl", id="no-vswitchd"),
        pytest.param({"taken": False}, "ovs-vswitchd", "fail", "systemctl", id="never-ran"),
        pytest.param({"behind": True}, "ovs-vswitchd", "warn", "wait", id="behind"),
        pytest.param({"vswitchd": None}, "ovs-vswitchd", "ok", "", id="over-tcp"),
        pytest.param({"kernel": Kernel.MODULE}, "datapath", "warn", "modprobe", id="not-loaded"),
        pytest.param({"kernel": Kernel.NOTHING}, "datapath", "ok", "", id="no-module"),
        pytest.param(
            {"kernel": Kernel.NOTHING, "tso": False},
            "userspace TSO",
            "warn",
            "userspace-tso-enable=true",
            id="no-tso",
        ),
        pytest.param({"kernel": Kernel.NOTHING}, "userspace TSO", "ok", "", id="tso"),
        pytest.param(
            {"kernel": Kernel.NOTHING, "receive_buffer": 212992},
            "receive buffer",
            "warn",
            "sysctl -w net.core.rmem_default=4194304",
            id="small-buffer",
        ),
        pytest.param(
            {"kernel": Kernel.NOTHING, "receive_buffer": 1 << 20},
            "receive buffer",
            "ok",
            "",
            id="large-buffer",
        ),
    ],
)
def test_what_a_switch_lacks_is_said_with_what_to_type(
    change: dict[str, object], subject: str, level: str, words: str
):
    found = {each.subject: each for each in openvswitch.judge(replace(WELL, **change), None)}
    assert found[subject].level.value == level
    assert words in found[subject].remedy
    assert bool(found[subject].remedy) == (level != "ok")


@pytest.mark.parametrize(
    ("kernel", "receive_buffer"),
    [
        pytest.param(Kernel.LOADED, 212992, id="kernel"),
        pytest.param(Kernel.NOTHING, None, id="unknown"),
    ],
)
def test_no_receive_buffer_is_judged_on_the_kernels_datapath_or_unseen(
    kernel: Kernel, receive_buffer: int | None
):
    seen = replace(WELL, kernel=kernel, receive_buffer=receive_buffer)
    assert "receive buffer" not in dict(levels(openvswitch.judge(seen, None)))


def test_a_kernel_datapath_that_is_configured_and_not_there_fails():
    findings = openvswitch.judge(replace(WELL, kernel=Kernel.MODULE), Datapath.SYSTEM)
    assert levels(findings)[-1] == ("datapath", "fail")


def test_a_userspace_datapath_that_is_configured_is_no_fault():
    findings = openvswitch.judge(WELL, Datapath.NETDEV)
    assert levels(findings)[-2:] == [("datapath", "ok"), ("userspace TSO", "ok")]


Answer = Callable[[dict[str, object]], bytes]
Serve = Callable[[str, Answer], AbstractAsyncContextManager[str]]


@pytest.fixture
def rpc(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def serving(name: str, answer: Answer) -> AsyncIterator[str]:
        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            text = ""
            while chunk := await reader.read(1000):
                text += chunk.decode()
                try:
                    writer.write(answer(json.loads(text)))
                except ValueError:
                    continue
                await writer.drain()
            writer.close()

        async with await asyncio.start_unix_server(one, tmp_path / name):
            yield f"unix:{tmp_path / name}"

    return serving


def result(value: object) -> Answer:
    return lambda asked: json.dumps({"id": asked["id"], "result": value, "error": None}).encode()


ROW = {
    "cur_cfg": 3,
    "next_cfg": 3,
    "ovs_version": "3.5.0",
    "datapath_types": ["set", ["netdev", "system"]],
    "other_config": ["map", [["userspace-tso-enable", "true"]]],
}


async def test_the_database_and_the_daemon_beside_it_are_asked(rpc: Serve):
    async with (
        rpc("db.sock", result([{"rows": [ROW]}])) as address,
        rpc("ovs-vswitchd.12.ctl", result("ovs-vswitchd (Open vSwitch) 3.5.0")),
    ):
        assert await openvswitch.look(address, loaded=True, receive_buffer=212992) == SeenSwitch(
            address=address,
            installed=True,
            version="3.5.0",
            taken=True,
            tso=True,
            vswitchd=True,
            behind=False,
            kernel=Kernel.LOADED,
            receive_buffer=212992,
        )


async def test_columns_that_are_not_set_yet_are_read(rpc: Serve):
    row = ROW | {
        "ovs_version": ["set", []],
        "datapath_types": ["set", []],
        "other_config": ["map", []],
        "next_cfg": 4,
    }
    async with rpc("db.sock", result([{"rows": [row]}])) as address:
        seen = await openvswitch.look(address, loaded=True)
    assert (seen.version, seen.taken, seen.tso, seen.behind) == ("", False, False, True)
    assert seen.vswitchd is None


async def test_a_control_socket_that_a_killed_daemon_left_is_no_daemon(rpc: Serve, tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "ovs-vswitchd.99.ctl"))
    async with rpc("db.sock", result([{"rows": [ROW]}])) as address:
        assert (await openvswitch.look(address, loaded=True)).vswitchd is False
        async with rpc("ovs-vswitchd.98.ctl", result("yes")):
            assert (await openvswitch.look(address, loaded=True)).vswitchd is True


async def test_an_empty_database_is_seen_as_such(rpc: Serve):
    async with rpc("db.sock", result([{"rows": []}])) as address:
        assert not (await openvswitch.look(address, loaded=True)).row


@pytest.mark.parametrize(
    "value", [None, [], [{"error": "no such table"}], "text"], ids=["null", "none", "error", "text"]
)
async def test_another_server_is_no_open_vswitch(rpc: Serve, value: object):
    async with rpc("db.sock", result(value)) as address:
        assert "no Open_vSwitch database" in (await openvswitch.look(address, loaded=True)).fault


async def test_a_database_that_is_not_there_is_a_fault(tmp_path: Path):
    seen = await openvswitch.look(f"unix:{tmp_path}/db.sock", loaded=True)
    assert "No such file" in seen.fault


async def test_an_answer_in_pieces_behind_another_message_is_read(tmp_path: Path):
    async def pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        echo = '{"id":"echo","method":"echo","params":[]}'
        text = f'{echo}{{"id":"check","result":[1,2],"error":null}}'
        for index in range(0, len(text), 7):
            writer.write(text[index : index + 7].encode())
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_unix_server(pieces, tmp_path / "s"):
        assert await ask(f"unix:{tmp_path}/s", "x", []) == [1, 2]


async def test_tcp_addresses_are_understood():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b'{"id":"check","result":7,"error":null}')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ask(f"tcp:127.0.0.1:{port}", "x", []) == 7


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(b"", "no answer in", id="silence"),
        pytest.param(b'{"id":"check","result":null,"error":"no"}', "it said no", id="refusal"),
        pytest.param(b'{"id":"check","resu', "no answer in", id="half"),
    ],
)
async def test_what_is_no_answer_is_an_error(rpc: Serve, reply: bytes, words: str):
    async with rpc("s", lambda asked: reply) as address:
        with pytest.raises(RpcError, match=words):
            await ask(address, "x", [], timeout_s=0.2)


async def test_a_server_that_hangs_up_is_an_error(tmp_path: Path):
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.close()

    async with await asyncio.start_unix_server(leave, tmp_path / "s"):
        with pytest.raises(RpcError, match="closed"):
            await ask(f"unix:{tmp_path}/s", "x", [])


@pytest.mark.parametrize("address", ["", "unix:", "tcp:6640", "tcp:host:", "ssl:h:1", "/db.sock"])
async def test_what_is_no_address_is_an_error(address: str):
    with pytest.raises(RpcError, match="not an address"):
        await ask(address, "x", [])


# Docker


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("29.0.0", "ok"),
        ("26.1.5+dfsg1", "ok"),
        ("25.0.0", "warn"),
        ("20.10.24", "warn"),
        ("dev", "ok"),
    ],
)
async def test_a_docker_that_answers_is_judged_by_its_version(version: str, level: str):
    engine = FakeEngine(version=version)
    found, about_names = await docker.examine(engine, address="unix:///d.sock", installed=True)
    assert about_names.subject == "names in access rules"
    assert found.level.value == level
    assert version in found.text


@pytest.mark.parametrize(
    ("installed", "words"), [(True, "systemctl start docker"), (False, "apt install docker.io")]
)
async def test_a_docker_that_does_not_answer_fails(installed: bool, words: str):
    engine = FakeEngine()
    engine.up = False
    (found,) = await docker.examine(engine, address="unix:///d.sock", installed=installed)
    assert found.level is Level.FAIL
    assert words in found.remedy


# This host


def test_only_root_may_do_what_we_do():
    assert host.user(0).level is Level.OK
    assert host.user(1000).level is Level.FAIL
    assert "sudo" in host.user(1000).remedy


def test_a_state_directory_that_can_be_made_or_written_is_ok(tmp_path: Path):
    assert host.state(tmp_path).level is Level.OK
    assert host.state(tmp_path / "a" / "b").level is Level.OK
    assert not (tmp_path / "a").exists()


def test_a_state_directory_below_a_file_fails(tmp_path: Path):
    (tmp_path / "file").write_text("")
    found = host.state(tmp_path / "file" / "state")
    assert found.level is Level.FAIL
    assert f"{tmp_path / 'file'} is not a directory" in found.text


LOOKER = """
import os, sys
from pathlib import Path
from ovsdriver.cli.doctor import host
if os.geteuid() == 0:  # whom no permission stops
    os.setuid(65534)
found = host.state(Path(sys.argv[1]))
print(found.level.value, found.text, found.remedy)
"""


def test_a_state_directory_that_cannot_be_written_fails():
    with tempfile.TemporaryDirectory(prefix="store-") as name:
        Path(name).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", LOOKER, f"{name}/state"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        Path(name).chmod(0o755)
    assert done.stdout.startswith(f"fail {name} is not writable")
    assert "--state-dir" in done.stdout


def test_a_library_that_is_missing_fails():
    found = host.nftables("libnothing.so.0")
    assert found.level is Level.FAIL
    assert "apt install libnftables1" in found.remedy


@contextmanager
def listening(*paths: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(str(path))
            made.listen()
        yield


def places(tmp_path: Path) -> Settings:
    return Settings(run_dir=tmp_path / "run", plugin_dir=tmp_path / "plugins", spaces=("team",))


async def test_a_process_that_does_not_run_is_one_warning(tmp_path: Path):
    assert levels(await host.sockets(places(tmp_path))) == [("ovsnet", "warn")]


async def test_a_process_with_all_its_sockets_is_ok(tmp_path: Path):
    names = ("run/admin", "plugins/ovsnet", "plugins/ovsipam", "plugins/ovsipam-team")
    with listening(*(tmp_path / f"{name}.sock" for name in names)):
        assert levels(await host.sockets(places(tmp_path))) == [
            ("ovsnet", "ok"),
            ("plugin sockets", "ok"),
        ]


async def test_a_running_process_without_a_plugin_socket_fails(tmp_path: Path):
    with listening(tmp_path / "run/admin.sock"):
        _, found = await host.sockets(places(tmp_path))
    assert found.level is Level.FAIL
    assert "ovsipam-team.sock" in found.text


async def test_a_dead_plugin_socket_fails_since_dockerd_would_wait_for_it(tmp_path: Path):
    (tmp_path / "plugins").mkdir()
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "plugins/ovsnet.sock"))
    _, found = await host.sockets(places(tmp_path))
    assert found.level is Level.FAIL
    assert f"rm {tmp_path}/plugins/ovsnet.sock" in found.remedy


# Other people's rules


async def findings(*texts: str) -> tuple[str, ...]:
    return texts


async def test_each_foreign_chain_that_drops_is_a_warning():
    found = await forwarding.examine(findings("chain a drops", "chain b drops"))
    assert [each.text for each in found] == ["chain a drops", "chain b drops"]
    assert {each.level for each in found} == {Level.WARN}


async def test_no_foreign_chain_that_drops_is_ok():
    assert levels(await forwarding.examine(findings())) == [("forwarding", "ok")]


async def test_rules_that_cannot_be_read_are_a_warning():
    async def refuse() -> tuple[str, ...]:
        raise UnavailableError("nftables refused: Operation not permitted")

    (found,) = await forwarding.examine(refuse())
    assert found.level is Level.WARN
    assert "Operation not permitted" in found.text


# The command


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[str, ...]:
    return (
        *("--ovsdb", f"unix:{tmp_path}/db.sock", "--docker", f"unix://{tmp_path}/docker.sock"),
        *("--plugin-dir", f"{tmp_path}/plugins", "--run-dir", f"{tmp_path}/run"),
        *("--state-dir", f"{tmp_path}/state"),
    )


def test_a_host_that_lacks_things_is_told_what_to_type(shell: Shell, elsewhere: tuple[str, ...]):
    done = shell("check", *elsewhere)
    assert done.exit_code == 1
    assert "fail  Open vSwitch database" in done.stdout
    assert "-> " in done.stdout
    assert "to mend before ovsnet can work" in done.stdout
    assert done.stderr == ""


def test_findings_are_json_on_request(shell: Shell, elsewhere: tuple[str, ...]):
    done = shell("check", *elsewhere, "--json")
    assert done.exit_code == 1
    found = {each["subject"]: each for each in json.loads(done.stdout)}
    assert found["Open vSwitch database"]["level"] == "fail"
    assert found["Open vSwitch database"]["remedy"]
    assert set(found["Docker"]) == {"subject", "level", "text", "remedy"}


def test_foreign_chains_are_part_of_the_check(shell: Shell, elsewhere: tuple[str, ...]):
    shell.findings = ("chain FORWARD of ip filter drops",)
    assert "chain FORWARD of ip filter drops" in shell("check", *elsewhere).stdout


# The fleet

WELL_IN_FLEET = fleet.SeenFleet(
    ids={"system-id": "host1", "ovn-remote": "ssl:192.0.2.1:6642", "ovn-encap-ip": "192.0.2.1"},
    controller="25.03.0",
    connected="connected",
    servers=(
        fleet.SeenServer(address="ssl:192.0.2.1:6641", leads=True),
        fleet.SeenServer(address="ssl:192.0.2.2:6641"),
        fleet.SeenServer(address="ssl:192.0.2.3:6641"),
    ),
    named="host1",
    chassis=(Chassis(name="host1", address="192.0.2.1"),),
    mtus={"192.0.2.1": 1500},
)


def test_a_host_that_is_well_in_its_fleet_is_ok():
    assert levels(fleet.judge(WELL_IN_FLEET)) == [
        ("name in the fleet", "ok"),
        ("ovn-controller", "ok"),
        ("northbound database", "ok"),
        ("certificate", "ok"),
        ("underlay", "ok"),
    ]


@pytest.mark.parametrize(
    ("change", "subject", "level", "words"),
    [
        pytest.param(
            {"ids": {"ovn-remote": "x", "ovn-encap-ip": "y"}},
            "name in the fleet",
            "fail",
            "external_ids:system-id=NAME",
            id="no-name",
        ),
        pytest.param(
            {"chassis": (Chassis(name="old", address="192.0.2.1"),)},
            "name in the fleet",
            "fail",
            "external_ids:system-id=old",
            id="another-name",
        ),
        pytest.param(
            {"ids": {"system-id": "host1", "ovn-encap-ip": "192.0.2.1"}},
            "Open vSwitch for OVN",
            "fail",
            "external_ids:ovn-remote=ssl:",
            id="no-remote",
        ),
        pytest.param({"controller": None}, "ovn-controller", "fail", "systemctl", id="not-running"),
        pytest.param({"controller": "21.12.0"}, "ovn-controller", "fail", "upgrade", id="too-old"),
        pytest.param(
            {"connected": "not connected"}, "ovn-controller", "warn", "ovn-remote", id="cut-off"
        ),
        pytest.param(
            {"servers": (fleet.SeenServer(address="tcp:a:1", fault="refused"),)},
            "northbound database",
            "fail",
            "ovn-central",
            id="nobody-leads",
        ),
        pytest.param(
            {"servers": WELL_IN_FLEET.servers[:2]},
            "northbound database",
            "warn",
            "third",
            id="two-centrals",
        ),
        pytest.param({"chassis": None}, "southbound database", "warn", "ovn-remote", id="no-south"),
        pytest.param(
            {"certificate": "/c ends within 14 days"}, "certificate", "fail", "anew", id="ends"
        ),
        pytest.param({"named": "host7"}, "certificate", "warn", "host1", id="of-another"),
        pytest.param({"mtus": {"192.0.2.1": 1450}}, "underlay", "warn", "ovs.mtu=1392", id="mtu"),
        pytest.param({"mtus": {"192.0.2.9": 1500}}, "underlay", "fail", "encap-ip", id="no-link"),
    ],
)
def test_what_a_host_of_a_fleet_lacks_is_said_with_what_to_type(
    change: dict[str, object], subject: str, level: str, words: str
):
    found = fleet.judge(replace(WELL_IN_FLEET, **change))
    fitting = [e for e in found if e.subject == subject and e.level.value == level]
    assert any(words in each.remedy for each in fitting), found


def test_a_host_that_is_in_no_fleet_is_not_asked_about_one(shell: Shell):
    subjects = {each["subject"] for each in json.loads(shell("check", "--json").stdout)}
    assert subjects.isdisjoint({"name in the fleet", "ovn-controller", "northbound database"})


async def test_servers_that_do_not_answer_are_told_with_the_reason(tmp_path: Path):
    settings = Settings(
        ovsdb=f"unix:{tmp_path}/none", ovn_northbound=("tcp:127.0.0.1:1", "ssl:127.0.0.1:1")
    )
    seen = await fleet.look(settings)
    assert [bool(each.fault) for each in seen.servers] == [True, True]
    assert "certificate" in seen.servers[1].fault
    assert "fail" in {each.level.value for each in fleet.judge(seen)}


@pytest.fixture
def identity(tmp_path: Path) -> Settings:
    made = Authority(tmp_path / "fleet").issue("host1", "192.0.2.1")
    return Settings(
        ovn_private_key=made.key, ovn_certificate=made.certificate, ovn_ca=made.authority
    )


async def test_a_certificate_of_the_fleet_is_ok(identity: Settings):
    seen = await fleet.look(identity)
    assert (seen.certificate, seen.named) == ("", "host1")


async def test_a_certificate_of_another_authority_is_told(identity: Settings, tmp_path: Path):
    other = Authority(tmp_path / "others").issue("host1", "192.0.2.1")
    seen = await fleet.look(replace(identity, ovn_ca=other.authority))
    assert "is not of the CA" in seen.certificate


async def test_a_certificate_that_ends_soon_is_told(
    identity: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fleet, "DAYS", 31)
    assert "ends within 31 days" in (await fleet.look(identity)).certificate
