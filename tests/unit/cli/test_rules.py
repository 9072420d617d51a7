"""``ovsnet rules`` at the shell."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress

from ovsdriver.admin import api, asks
from ovsdriver.admin.access.views import (
    JudgedEnd,
    RuleMet,
    RulesChanged,
    RulesReport,
    RulesUse,
    RulesUser,
)
from ovsdriver.domain.records.options.access import Side
from ovsdriver.errors import ConflictError
from ovsdriver.ports import Verdict
from tests.builders import FIRST, RED
from tests.unit.cli.conftest import Desk, Process, Shell

WEB = RulesUser(network=RED, network_name="lab", endpoint=FIRST, container="web")
AGENT = RulesUse(
    name="agent",
    configured=False,
    allow=("to example.com tcp/443",),
    deny=("to 10.0.0.0/8",),
    users=(WEB,),
)
END = JudgedEnd(
    network=RED,
    network_name="lab",
    endpoint=FIRST,
    container="web",
    addresses=(IPAddress("10.1.0.2"),),
    policy="0123456789ab",
    shared=2,
    rules=(
        RuleMet(
            side=Side.TO,
            verdict=Verdict.DENIED,
            rule="to 10.0.0.0/8",
            said_by="rules agent",
            packets=3,
            octets=180,
        ),
        RuleMet(
            side=Side.TO,
            verdict=Verdict.ALLOWED,
            rule="to container:db",
            said_by="ovs.allow",
            nobody=True,
        ),
        RuleMet(side=Side.TO, verdict=Verdict.CLOSED, packets=7, octets=420),
    ),
)


class Rules:
    def __init__(self) -> None:
        self.report = RulesReport(ends=(END,))
        self.said: list[object] = []
        self.pending = ""

    async def ls(self, _ask: asks.ListRules) -> tuple[RulesUse, ...]:
        return (AGENT, RulesUse(name="base", configured=True))

    async def show(self, ask: asks.ShowRules) -> RulesReport:
        self.said.append(ask)
        return self.report

    async def put(self, ask: asks.SetRules) -> RulesChanged:
        self.said.append(ask)
        return RulesChanged(set=AGENT, containers=(WEB,), pending=self.pending)

    async def remove(self, ask: asks.RemoveRules) -> str:
        if ask.name == "agent":
            raise ConflictError("rules agent: lab/web has ovs.rules=agent")
        return ask.name


@pytest.fixture
def rules(shell: Shell) -> Iterator[Rules]:
    there = Rules()
    desk = Desk().also(
        {
            asks.ListRules: there.ls,
            asks.ShowRules: there.show,
            asks.SetRules: there.put,
            asks.RemoveRules: there.remove,
        }
    )
    with Process(api.application(desk), shell.run_dir / "admin.sock"):
        yield there


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.usefixtures("rules")
def test_sets_are_listed(shell: Shell) -> None:
    assert lines(shell("rules", "ls").stdout) == [
        ["NAME", "FROM", "ALLOW", "DENY", "USED", "BY"],
        ["agent", "command", "1", "1", "lab/web"],
        ["base", "configuration", "0", "0", "-"],
    ]
    assert shell.json("rules", "ls")[0]["allow"] == ["to example.com tcp/443"]


def test_a_containers_rules_are_shown_with_what_they_met(shell: Shell, rules: Rules) -> None:
    shown = lines(shell("rules", "show", "web").stdout)
    assert rules.said == [asks.ShowRules(target="web")]
    assert shown == [
        ["Container", "web", "on", "lab"],
        ["Addresses", "10.1.0.2"],
        [*["Counted", "with", "2", "other", "containers", "whose", "rules", "say", "the", "same"]],
        ["SIDE", "RULE", "DOES", "SAID", "BY", "PACKETS", "BYTES"],
        ["to", "10.0.0.0/8", "drop", "rules", "agent", "3", "180"],
        [
            *[
                "to",
                "container:db",
                "(nobody",
                "has",
                "that",
                "name",
                "now)",
                "pass",
                "ovs.allow",
                "0",
                "0",
            ]
        ],
        [*["to", "everything", "else", "drop", "any", "ovs.allow", "7", "420"]],
    ]
    (end,) = shell.json("rules", "show", "web")["ends"]
    assert end["rules"][-1]["packets"] == 7


def test_a_set_is_shown_with_its_containers(shell: Shell, rules: Rules) -> None:
    rules.report = RulesReport(set=AGENT, ends=(replace(END, shared=0),))
    text = shell("rules", "show", "agent").stdout
    assert "Allow\n  to example.com tcp/443" in text
    assert "lab/web" in text
    assert "Counted with" not in text


def test_who_has_no_rules_is_told_so(shell: Shell, rules: Rules) -> None:
    rules.report = RulesReport()
    assert "web has no access rules" in shell("rules", "show", "web").stdout


def test_a_set_is_made_of_options_and_a_file(shell: Shell, rules: Rules, tmp_path: Path) -> None:
    file = tmp_path / "agent.rules"
    file.write_text(
        "# what it needs\n\nallow to example.com tcp/443, 10.1.0.5 # both\ndeny  from any udp\n"
    )
    result = shell(
        *("rules", "set", "agent", "--add", "--file", str(file)),
        *("--allow", "*.Example.org", "--deny", "10.0.0.0/8"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == "rules agent: 2 rules; now in force for lab/web\n"
    assert rules.said == [
        asks.SetRules(
            name="agent",
            allow=("to *.example.org", "to example.com tcp/443", "to 10.1.0.5"),
            deny=("to 10.0.0.0/8", "from any udp"),
            add=True,
        )
    ]
    rules.pending = "the kernel is away"
    text = shell("rules", "set", "agent", "--allow", "any").stdout
    assert "not in force yet: the kernel is away" in text


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"allow any\npermit any\n", "line 2: write `allow RULE` or `deny RULE`"),
        (b"allow web\n", 'line 1: "web" names nobody'),
        (b"allow\n", 'line 1: "" is no rule'),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"#" * (1 << 20) + b"#", "are no file of rules"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    shell: Shell, tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "agent.rules"
    file.write_bytes(content)
    result = shell("rules", "set", "agent", "--file", str(file))
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.usefixtures("rules")
def test_a_wrong_rule_or_none_is_refused_before_anything_is_asked(shell: Shell) -> None:
    assert "names nobody" in shell("rules", "set", "agent", "--allow", "web").stderr
    assert "cannot be used here" in shell("rules", "set", "a b", "--allow", "any").stderr
    empty = shell("rules", "set", "agent")
    assert empty.exit_code == 2
    assert "--allow RULE" in empty.stderr


@pytest.mark.usefixtures("rules")
def test_a_set_is_removed_unless_it_is_in_use(shell: Shell) -> None:
    assert shell("rules", "rm", "base").stdout == "rules base: removed\n"
    refused = shell("rules", "rm", "agent")
    assert refused.exit_code == 1
    assert "lab/web has ovs.rules=agent" in refused.stderr
