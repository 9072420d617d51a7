"""``ovsnet serve``, and how settings get there."""

from pathlib import Path

import click
import pytest

from ovsdriver import config
from ovsdriver.cli import command
from ovsdriver.config import Settings
from ovsdriver.errors import ConflictError
from tests.unit.cli.conftest import Shell


def test_flags_become_settings(shell: Shell):
    result = shell(
        *("serve", "--plugin-dir", "/p", "--run-dir", "/r", "--state-dir", "/s"),
        *("--ovsdb", "tcp:127.0.0.1:6640", "--docker", "unix:///d.sock"),
    )
    assert result.exit_code == 0, result.output
    assert shell.served == [
        Settings(
            plugin_dir=Path("/p"),
            run_dir=Path("/r"),
            state_dir=Path("/s"),
            ovsdb="tcp:127.0.0.1:6640",
            docker="unix:///d.sock",
        )
    ]


def test_a_flag_beats_a_variable_and_that_the_file(shell: Shell, tmp_path: Path):
    file = tmp_path / "ovsnet.toml"
    file.write_text('bridge = "file"\nmtu = 1400\ninstance = "file"\n')
    env = {"OVSNET_BRIDGE": "variable", "OVSNET_INSTANCE": "variable"}
    assert shell("serve", "--config", str(file), "--bridge", "flag", env=env).exit_code == 0
    (settings,) = shell.served
    assert (settings.bridge, settings.instance, settings.mtu) == ("flag", "variable", 1400)


def test_every_setting_has_a_flag(shell: Shell):
    serve = command.get_command(click.Context(command), "serve")
    assert serve is not None
    flags = {name for each in serve.params for name in each.opts}
    assert {row.flag for row in config.SETTINGS} <= flags


def test_the_process_gives_the_exit_code(shell: Shell):
    shell.serve_result = 1
    assert shell("serve").exit_code == 1


def test_what_the_process_refuses_is_a_sentence(shell: Shell):
    shell.serve_result = ConflictError("another ovsnet, pid 7, uses the state directory /s")
    result = shell("serve")
    assert result.exit_code == 1
    assert result.stderr == "ovsnet: another ovsnet, pid 7, uses the state directory /s\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b'brigde = "br1"\nmtu = 1400\n', ["`bridge`"], id="an unknown key"),
        pytest.param(b"vlans = [0, 5]\nmtu = 1400\n", ["vlans", "100-199"], id="a bad value"),
        pytest.param(b"mtu = = 5", ["is not TOML"], id="no TOML"),
        pytest.param(b"\xff", ["is not UTF-8"], id="no text"),
        pytest.param(None, ["there is no such file"], id="no file"),
    ],
)
def test_a_wrong_file_is_served_with_what_is_right_of_it(
    shell: Shell, tmp_path: Path, content: bytes | None, words: list[str]
):
    file = tmp_path / "ovsnet.toml"
    if content is not None:
        file.write_bytes(content)
    result = shell("serve", "--config", str(file), "--plugin-dir", "/p")
    assert result.exit_code == 0, result.output
    (settings,), (fault,) = shell.served, shell.faults
    assert settings.plugin_dir == Path("/p")
    assert settings.mtu == (1400 if content and b"1400" in content else 1500)
    assert str(file) in fault
    assert all(word in fault for word in words)


def test_a_right_configuration_has_no_fault(shell: Shell):
    assert shell("serve").exit_code == 0
    assert shell.faults == [""]


def test_a_wrong_variable_is_served_with_the_others(shell: Shell):
    assert shell("serve", env={"OVSNET_BRIGDE": "br0", "OVSNET_MTU": "1400"}).exit_code == 0
    assert "OVSNET_BRIDGE" in shell.faults[0]
    assert shell.served[0].mtu == 1400


def test_a_wrong_value_of_a_flag_is_for_who_typed_it(shell: Shell):
    result = shell("serve", "--mtu", "67")
    assert result.exit_code == 2
    assert "--mtu" in result.stderr
    assert result.stderr.count("\n") == 1
    assert shell.served == []


@pytest.mark.parametrize("name", ["check", "status", "purge"])
def test_a_wrong_setting_is_a_sentence_and_nothing_starts(shell: Shell, name: str):
    result = shell(name, env={"OVSNET_BRIGDE": "br0"})
    assert result.exit_code == 1
    assert "OVSNET_BRIGDE" in result.stderr
    assert "OVSNET_BRIDGE" in result.stderr
    assert result.stderr.count("\n") == 1
    assert shell.served == []


def test_a_wrong_flag_is_a_usage_error(shell: Shell):
    result = shell("serve", "--brigde", "br0")
    assert result.exit_code == 2
    assert "--bridge" in result.stderr


def every_command(group: click.Group = command, path: tuple[str, ...] = ()):
    context = click.Context(group)
    for name in group.list_commands(context):
        each = group.get_command(context, name)
        assert each is not None
        yield (*path, name), each
        if isinstance(each, click.Group):
            yield from every_command(each, (*path, name))


@pytest.mark.parametrize(
    ("path", "each"), [pytest.param(p, c, id=" ".join(p)) for p, c in every_command()]
)
def test_every_command_explains_itself(shell: Shell, path: tuple[str, ...], each: click.Command):
    result = shell(*path, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    if not isinstance(each, click.Group):
        assert f"ovsnet {' '.join(path)}" in result.stdout.split("Examples:")[1]
    # what is served and what is captured has a form of its own
    if path not in (("serve",), ("capture",), ("web",)) and not isinstance(each, click.Group):
        assert "--json" in result.stdout


def test_the_help_lists_commands_in_the_order_of_use(shell: Shell):
    text = shell("--help").stdout.split("Commands:")[1]
    words = [
        line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " "
    ]
    assert words[:25] == [
        *("serve", "check", "test", "status", "reconcile", "network", "endpoint", "ports", "top"),
        *("graph", "events", "metrics", "web", "set", "rules", "plan", "trace", "capture"),
        *("ipam", "segment", "host", "options", "firewalld", "support", "purge"),
    ]
    assert "Exit codes:" in text


def test_options_are_listed_for_people_programs_and_readme(shell: Shell):
    from ovsdriver.words import options

    text = shell("options").stdout
    rows = shell.json("options")
    for row in options.rows():
        assert row.name in text
        assert row.name in {each["name"] for each in rows}
    assert shell("options", "--markdown").stdout == options.markdown()
