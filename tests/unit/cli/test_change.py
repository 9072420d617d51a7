"""``ovsnet set``, over the real admin page."""

from collections.abc import Callable

import pytest
from aiohttp import web

from ovsdriver.admin import api, asks
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.views import AffectedContainer, Changed, ChangedOption
from ovsdriver.errors import ConflictError
from tests.unit.cli.conftest import Desk, Process, Shell


class ChangeDesk:
    def __init__(self) -> None:
        self.wishes: list[tuple[str, dict[str, str]]] = []
        self.pending: tuple[str, ...] = ()
        self.containers = (AffectedContainer(endpoint="cd" * 32, container="web"),)

    def answers(self) -> Answers:
        return {asks.SetOptions: self.change}

    async def change(self, ask: asks.SetOptions) -> Changed:
        self.wishes.append((ask.target, dict(ask.options)))
        if ask.target == "taken":
            raise ConflictError("VLAN 5 carries another network; choose another")
        return Changed(
            kind="network",
            id="ab" * 32,
            name="lab",
            network="ab" * 32,
            options=tuple(
                ChangedOption(option=name, old=None, new=text or None)
                for name, text in ask.options.items()
            ),
            containers=self.containers,
            pending=self.pending,
        )


@pytest.fixture
def changes(serve: Callable[[web.Application], Process]):
    desk = ChangeDesk()
    with serve(api.application(Desk().also(desk.answers()))):
        yield desk


def test_old_and_new_values_are_shown_and_who_is_concerned(shell: Shell, changes: ChangeDesk):
    done = shell("set", "lab", "ovs.icc=false", "ovs.mtu=")
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["OPTION", "BEFORE", "NOW"],
        ["ovs.icc", "-", "false"],
        ["ovs.mtu", "-", "-"],
        [],
        ["In", "force", "for:", "web"],
    ]
    assert changes.wishes == [("lab", {"ovs.icc": "false", "ovs.mtu": ""})]


def test_a_program_gets_all_of_it(shell: Shell, changes: ChangeDesk):
    done = shell.json("set", "lab", "ovs.vlan=5")
    assert done["options"] == [{"option": "ovs.vlan", "old": None, "new": "5"}]
    assert done["containers"] == [{"endpoint": "cd" * 32, "container": "web"}]
    assert (done["kind"], done["name"], done["pending"]) == ("network", "lab", [])


def test_a_value_may_contain_an_equals_sign(shell: Shell, changes: ChangeDesk):
    shell("set", "lab", "ovs.trunks=5=6")
    assert changes.wishes == [("lab", {"ovs.trunks": "5=6"})]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["ovs.icc"], "write OPTION=VALUE"),
        (["=false"], "write OPTION=VALUE"),
        (["ovs.vlan=5", "ovs.vlan=6"], "ovs.vlan is given twice"),
        ([], "Missing argument"),
    ],
)
def test_a_wrong_command_line_is_not_sent(
    shell: Shell, changes: ChangeDesk, typed: list[str], words: str
):
    done = shell("set", "lab", *typed)
    assert (done.exit_code, changes.wishes) == (2, [])
    assert words in done.stderr


def test_a_refusal_is_a_sentence(shell: Shell, changes: ChangeDesk):
    done = shell("set", "taken", "ovs.vlan=5")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "ovsnet: VLAN 5 carries another network; choose another\n"


def test_what_is_not_in_force_yet_is_said(shell: Shell, changes: ChangeDesk):
    changes.pending = ("Open vSwitch did not answer",)
    done = shell("set", "lab", "ovs.vlan=5")
    assert done.exit_code == 1
    assert "recorded, but not all of it is in force yet" in done.stderr
    assert "Open vSwitch did not answer" in done.stderr


def test_who_is_not_concerned_is_not_named(shell: Shell, changes: ChangeDesk):
    changes.containers = ()
    assert "No port of a running container changes." in shell("set", "lab", "ovs.ifprefix=x").stdout


def test_help_has_examples(shell: Shell):
    text = shell("set", "--help").stdout
    assert "ovsnet set lab ovs.icc=false" in text
