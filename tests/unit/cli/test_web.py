"""``ovsnet web``: how it is started, and what is refused. Its server: tests/unit/web."""

import socket
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Shell


def test_a_port_in_use_is_refused_with_what_to_type(shell: Shell):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell("web", "--port", str(port))
    assert done.exit_code == 1
    assert f"another program listens on port {port}; name another one with --port" in done.stderr


@pytest.mark.parametrize("words", [("--socket", "/x"), ("--host", "lab.example.org")])
def test_a_proxys_socket_and_name_go_together(shell: Shell, words: tuple[str, ...]):
    done = shell("web", *words)
    assert done.exit_code == 2
    assert "--socket and --host go together" in done.stderr


def test_a_socket_that_cannot_be_had_is_refused(shell: Shell):
    done = shell("web", "--socket", "/proc/no/web.sock", "--host", "lab.example.org")
    assert done.exit_code == 1
    assert "/proc/no/web.sock cannot be made" in done.stderr


def test_a_file_that_is_no_socket_stays(shell: Shell, tmp_path: Path):
    file = tmp_path / "notes"
    file.write_text("mine")
    done = shell("web", "--socket", str(file), "--host", "lab.example.org")
    assert done.exit_code == 1
    assert file.read_text() == "mine"
