"""What answers Docker while ovsnet does not start: by itself, with nothing of the product."""

import asyncio
import json
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ovsdriver.docker import methods
from ovsdriver.http.server import Call
from ovsdriver.words.fields import Fields
from tests.integration.dockerd_client import DockerdClient
from tests.integration.process import PATIENCE_S

SCRIPT = Path(__file__).parents[2] / "ansible/roles/ovsnet/files/refuse.py"
NAMES = ("ovsnet", "ovsipam", "ovsipam-blue")


def table(name: str) -> Mapping[str, Call]:
    """Return what ovsnet itself answers on a socket of that name."""
    backend = methods.Backend()
    if name == "ovsnet":
        return methods.both_kinds(backend)
    space = name.removeprefix("ovsipam").removeprefix("-")
    return methods.ipam_only(backend, *([methods.named_spaces(space)] if space else []))


def constants(name: str) -> dict[str, Any]:
    """Return the calls that ovsnet answers always, and how."""
    none = Fields({})
    found = {
        call: asyncio.run(_answer(each, none))
        for call, each in table(name).items()
        if not each.arguments
    }
    assert "Plugin.Activate" in found
    return found


async def _answer(call: Call, body: Fields) -> Any:
    return json.loads(json.dumps(await call.answer(body)))


@contextmanager
def refusing(*paths: Path) -> Iterator[subprocess.Popen[bytes]]:
    # The Python of the system, which has nothing of ours.
    running = subprocess.Popen(["/usr/bin/python3", "-I", str(SCRIPT), *map(str, paths)])
    try:
        yield running
    finally:
        running.kill()
        running.wait(PATIENCE_S)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edg-") as made:
        yield Path(made)


def test_it_says_what_ovsnet_says_of_itself_and_refuses_all_else(folder: Path):
    paths = {name: folder / f"{name}.sock" for name in NAMES}
    paths["ovsnet"].symlink_to(folder / "nowhere")  # whatever is left there is replaced
    with refusing(*paths.values()) as running:
        for name, path in paths.items():
            with closing(DockerdClient(path)) as dockerd:
                # Twice: the calls come on one connection.
                for call, told in [*constants(name).items()] * 2:
                    assert dockerd.call(call, {}) == (200, told), call
                for call in table("ovsnet"):
                    if call in constants(name):
                        continue
                    status, answer = dockerd.call(call, {"NetworkID": "x" * 64})
                    assert status == 503, call
                    assert answer["Err"] == answer["Error"]
                    assert "journalctl -u ovsnet" in answer["Err"]
            assert path.stat().st_mode & 0o777 == 0o600
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE_S) == 0
    assert list(folder.iterdir()) == []


def test_it_leaves_a_socket_alone_that_somebody_serves(folder: Path):
    path = folder / "ovsnet.sock"
    with closing(socket.socket(socket.AF_UNIX)) as served:
        served.bind(str(path))
        served.listen()
        with refusing(path) as running:
            assert running.wait(PATIENCE_S) == 1
        with closing(socket.socket(socket.AF_UNIX)) as caller:
            caller.connect(str(path))
