import json
from pathlib import Path

from ovsdriver.errors import ConflictError
from ovsdriver.service.forgotten.purge import Purged
from tests.unit.cli.conftest import Desk, Shell

DONE = Purged(ports=("a", "b"), bridges=("br",), links=("c",), networks=("n",), pools=())


def test_purging_asks_first_and_does_nothing_on_no(shell: Shell, desk: Desk):
    result = shell("purge", stdin="n\n")
    assert result.exit_code == 1
    assert "marked 'ovsnet'" in result.stderr
    assert desk.purges == 0
    assert shell.purged_offline == []


def test_purging_without_an_answer_does_nothing(shell: Shell, desk: Desk):
    assert shell("purge").exit_code == 1
    assert desk.purges == 0


def test_purging_after_a_yes_says_what_went(shell: Shell, desk: Desk):
    desk.purged = DONE
    result = shell("purge", stdin="y\n")
    assert result.exit_code == 0
    assert result.stdout == "removed 2 ports, 1 bridge, 1 link, 1 network record\n"
    assert desk.purges == 1


def test_yes_does_not_ask(shell: Shell, desk: Desk):
    result = shell("purge", "--yes")
    assert result.stdout == "ovsnet had made nothing here\n"
    assert result.stderr == ""
    assert desk.purges == 1


def test_json_lists_everything_that_went(shell: Shell, desk: Desk):
    desk.purged = DONE
    assert shell.json("purge", "--yes") == {
        "ports": ["a", "b"],
        "bridges": ["br"],
        "links": ["c"],
        "networks": ["n"],
        "pools": [],
        "failed": [],
        "left": [],
    }


def test_a_running_process_does_it_itself(shell: Shell, desk: Desk):
    shell("purge", "--yes")
    assert shell.purged_offline == []


def test_without_a_process_it_is_done_here(shell: Shell, tmp_path: Path):
    shell.purge_result = DONE
    result = shell("purge", "--yes", "--instance", "lab", "--state-dir", str(tmp_path))
    assert result.exit_code == 0
    assert "2 ports" in result.stdout
    (settings,) = shell.purged_offline
    assert (settings.instance, settings.state_dir) == ("lab", tmp_path)


def test_what_could_not_be_removed_fails_with_the_reason(shell: Shell):
    shell.purge_result = Purged(ports=("a",), failed=("Open vSwitch is not reachable",))
    result = shell("purge", "--yes")
    assert result.exit_code == 1
    assert result.stdout == "removed 1 port\n"
    assert "Open vSwitch is not reachable. Some of it is still there" in result.stderr
    assert json.loads(shell("purge", "--yes", "--json").stdout)["ports"] == ["a"]


def test_what_was_left_is_said_and_is_no_success(shell: Shell):
    shell.purge_result = Purged(ports=("a",), left=("the store /s/state.db is corrupt",))
    result = shell("purge", "--yes")
    assert result.exit_code == 1
    assert result.stdout == "removed 1 port\n"
    assert "Left as they are: the store /s/state.db is corrupt\n" in result.stderr
    assert "again" not in result.stderr


def test_a_refusal_is_a_sentence(shell: Shell):
    shell.purge_result = ConflictError("another ovsnet, pid 7, uses the state directory")
    result = shell("purge", "--yes")
    assert result.exit_code == 1
    assert result.stderr == "ovsnet: another ovsnet, pid 7, uses the state directory\n"
