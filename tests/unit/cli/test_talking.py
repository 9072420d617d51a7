"""What commands say when the process answers well, badly or not at all."""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from ovsdriver.admin import asks
from ovsdriver.admin.views import Counts, DockerReport, MendedReport, RepairReport, SwitchReport
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.outcome import Refusal
from ovsdriver.config import Settings
from tests.unit.cli.conftest import WELL, Desk, Shell

HEALTHY = replace(
    WELL,
    open_vswitch=SwitchReport(connected=True, version="3.5.0", datapaths=("netdev",)),
    docker=DockerReport(answered=True, version="26.1.5", id="ABCD"),
    counts=Counts(networks=2, endpoints=1, pools=3, leases=5),
    repairs=RepairReport(at=1000.0),
)

AS_NOBODY = """
import os
import ovsdriver.cli.networks.status  # nobody may not be allowed to read it
from ovsdriver.__main__ import main
if os.geteuid() == 0:  # whom no permission stops
    os.setuid(65534)
main()
"""

ASKING = [
    pytest.param(("status",), id="status"),
    pytest.param(("network", "ls"), id="network-ls"),
    pytest.param(("network", "show", "lab"), id="network-show"),
    pytest.param(("network", "rm", "lab"), id="network-rm"),
    pytest.param(("endpoint", "ls"), id="endpoint-ls"),
    pytest.param(("endpoint", "show", "web"), id="endpoint-show"),
]


@pytest.mark.parametrize("command", ASKING)
def test_a_process_that_does_not_run_is_said_so_with_what_to_type(
    shell: Shell, command: tuple[str, ...]
):
    result = shell(*command)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("ovsnet: ovsnet is not running")
    assert "`systemctl start ovsnet`" in result.stderr
    assert str(shell.run_dir / "admin.sock") in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ASKING)
def test_a_socket_that_nobody_listens_on_is_a_process_that_does_not_run(
    shell: Shell, tmp_path: Path, command: tuple[str, ...]
):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "admin.sock"))
    assert shell(*command).exit_code == 3


def test_status_in_json_says_that_it_does_not_run(shell: Shell):
    result = shell("status", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["running"] is False
    assert "not running" in json.loads(result.stdout)["error"]


def test_status_of_a_healthy_process(shell: Shell, desk: Desk):
    desk.now = HEALTHY
    result = shell("status")
    assert result.exit_code == 0
    assert "ovsnet 0.1.0 is running, process 4711, for 1 h 2 min" in result.stdout
    assert "connected, version 3.5.0, bridges are netdev" in result.stdout
    assert "26.1.5" in result.stdout
    assert "2 networks, 1 endpoint, 3 pools, 5 leased addresses" in result.stdout
    assert "nothing to mend" in result.stdout


def test_status_in_json_has_every_member(shell: Shell, desk: Desk):
    desk.now = HEALTHY
    status = shell.json("status")
    assert status["running"] is True
    assert status["pid"] == 4711
    assert status["counts"] == {"networks": 2, "endpoints": 1, "pools": 3, "leases": 5}
    parts: dict[str, list[str]] = {"found": [], "mended": [], "failed": [], "beyond": []}
    assert status["repairs"] == {"at": 1000.0, **parts, "lately": [], "doubted": []}


def test_status_shows_repairs_and_warnings(shell: Shell, desk: Desk):
    desk.now = replace(
        HEALTHY,
        repairs=RepairReport(
            at=1000.0,
            failed=("port B",),
            beyond=("port C",),
            lately=tuple(MendedReport(at=time.time() - 65, what=f"port A{n}") for n in range(12)),
        ),
        warnings=("look at D",),
    )
    result = shell("status")
    assert result.exit_code == 0
    for text in ("port B", "port C", "look at D", "1 could not be mended", "and 2 more"):
        assert text in result.stdout
    assert "1 min 5 s ago: port A9\n" in result.stdout
    assert "port A10" not in result.stdout


def test_status_of_a_degraded_process_fails_and_says_why(shell: Shell, desk: Desk):
    desk.now = replace(WELL, degraded="the store /s/state.db is corrupt")
    result = shell("status")
    assert result.exit_code == 1
    assert "degraded: the store /s/state.db is corrupt" in result.stdout
    assert "cannot be read" in result.stdout
    assert shell("status", "--json").exit_code == 1


def test_status_without_open_vswitch_fails(shell: Shell, desk: Desk):
    desk.now = replace(HEALTHY, open_vswitch=SwitchReport(), docker=DockerReport())
    result = shell("status")
    assert result.exit_code == 1
    assert "not connected; `ovsnet check` says why" in result.stdout
    assert "does not answer, so names are not known" in result.stdout


def test_an_answer_that_is_not_ours_is_a_sentence(
    shell: Shell, serve: Callable[[web.Application], object]
):
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_post("/ask/show-status", page)
    with serve(app):
        result = shell("status")
    assert result.exit_code == 1
    assert "gave an answer that cannot be read" in result.stderr
    assert "is that ovsnet?" in result.stderr


def test_an_answer_that_is_no_object_is_a_sentence(
    shell: Shell, serve: Callable[[web.Application], object]
):
    async def numbers(request: web.Request) -> web.Response:
        return web.json_response([1, 2])

    app = web.Application()
    app.router.add_post("/ask/show-status", numbers)
    with serve(app):
        assert "a list, not an object" in shell("status").stderr


async def test_a_process_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asks.ShowStatus, "SECONDS", 0.075)

    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    async with await asyncio.start_unix_server(hang, tmp_path / "admin.sock"):
        settings = Settings(run_dir=tmp_path)
        with pytest.raises(Refusal, match=r"did not answer in 0\.1 s"):
            await asyncio.to_thread(ask, settings, asks.ShowStatus())
        await left.wait()


def test_a_socket_that_may_not_be_opened_asks_for_root():
    with tempfile.TemporaryDirectory(prefix="store-") as name:
        folder = Path(name)
        folder.chmod(0)
        try:
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, "status", "--run-dir", name],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            folder.chmod(0o700)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"ovsnet: no permission to open {name}/admin.sock; try it as root: sudo ovsnet …\n"
    )


def test_status_says_when_the_configuration_became_wrong(shell: Shell, desk: Desk, tmp_path: Path):
    file = tmp_path / "ovsnet.toml"
    file.write_text('brigde = "br1"\n')
    result = shell("status", "--config", str(file))
    assert "the next start will serve nothing" in result.stdout
    assert "`bridge`" in result.stdout


def test_status_of_a_process_with_a_wrong_configuration_says_it_once(
    shell: Shell, desk: Desk, tmp_path: Path
):
    file = tmp_path / "ovsnet.toml"
    file.write_text('brigde = "br1"\n')
    sentence = f"{file}: brigde: no such setting; did you mean `bridge`?"
    desk.now = replace(WELL, degraded=f"the configuration is wrong: {sentence}")
    result = shell("status", "--config", str(file))
    assert result.exit_code == 1
    assert result.stdout.count(sentence) == 1
