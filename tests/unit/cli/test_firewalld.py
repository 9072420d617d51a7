"""``ovsnet firewalld``: files in its folder, and a stand-in for firewall-cmd."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Shell

NAMES = ["policies/ovsnet-in.xml", "policies/ovsnet-out.xml", "zones/ovsnet.xml"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "firewalld"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have a script be firewall-cmd; it notes its words."""

    def install(script: str) -> Path:
        path, notes = tmp_path / "firewall-cmd", tmp_path / "said"
        path.write_text(f'#!/bin/sh\necho "$1" >>{notes}\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setattr(shutil, "which", lambda name, path=None: str(tmp_path / name))
        return notes

    return install


def there(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*.xml"))


def test_zone_and_policies_are_written_and_read(shell: Shell, folder: Path, program) -> None:
    notes = program("")
    done = shell("firewalld", "--folder", str(folder))
    assert done.exit_code == 0, done.output
    assert there(folder) == NAMES
    assert "firewalld has read it" in done.stdout
    assert notes.read_text().split() == ["--state", "--reload"]
    incoming, outgoing, zone = ((folder / each).read_text() for each in NAMES)
    assert '<interface name="ovg+"/>' in zone
    assert "target" not in zone, "containers do not reach the host's services by it"
    for policy, (ingress, egress) in ((incoming, ("ANY", "ovsnet")), (outgoing, ("ovsnet", "ANY"))):
        assert '<policy target="ACCEPT">' in policy
        assert f'<ingress-zone name="{ingress}"/>' in policy
        assert f'<egress-zone name="{egress}"/>' in policy


def test_what_is_there_stays_as_it_is(shell: Shell, folder: Path, program) -> None:
    notes = program("")
    shell("firewalld", "--folder", str(folder))
    (folder / NAMES[2]).write_text("<zone><service name='dns'/></zone>")
    notes.unlink()
    assert shell.json("firewalld", "--folder", str(folder)) == {"changed": [], "reloaded": False}
    assert "dns" in (folder / NAMES[2]).read_text()
    assert not notes.exists(), "there is nothing to read again"
    assert "all of it is there" in shell("firewalld", "--folder", str(folder)).stdout


def test_all_of_it_is_removed_again(shell: Shell, folder: Path, program) -> None:
    program("")
    shell("firewalld", "--folder", str(folder))
    done = shell.json("firewalld", "--remove", "--folder", str(folder))
    assert (there(folder), done["reloaded"], len(done["changed"])) == ([], True, 3)
    again = shell("firewalld", "--remove", "--folder", str(folder))
    assert "none of it is there" in again.stdout


def test_a_firewalld_that_does_not_run_reads_it_later(shell: Shell, folder: Path, program) -> None:
    notes = program('[ "$1" != --state ]')
    assert "when it starts" in shell("firewalld", "--folder", str(folder)).stdout
    assert (there(folder), notes.read_text().split()) == (NAMES, ["--state"])


def test_what_firewalld_says_against_it_is_said(shell: Shell, folder: Path, program) -> None:
    program('[ "$1" = --state ] || { echo "INVALID_ZONE: x" >&2; exit 1; }')
    done = shell("firewalld", "--folder", str(folder))
    assert done.exit_code == 1
    assert "INVALID_ZONE: x" in done.stderr


def test_without_firewalld_nothing_is_written(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    done = shell("firewalld", "--folder", str(folder))
    assert (done.exit_code, there(folder)) == (1, [])
    assert "firewalld is not installed" in done.stderr
    assert shell("firewalld", "--remove", "--folder", str(folder)).exit_code == 0


def test_a_folder_that_may_not_be_written_is_named(shell: Shell, program) -> None:
    program("")
    assert "/proc" in shell("firewalld", "--folder", "/proc/firewalld").stderr
