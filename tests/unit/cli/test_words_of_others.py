"""Names and texts that others chose, as Docker's users and the owners of bridges, on a terminal."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, get_type_hints

import pytest

from ovsdriver.admin.views import RepairReport, Report, UplinkReport
from ovsdriver.cli import show
from ovsdriver.cli.outcome import Refusal
from ovsdriver.domain.records.model import PortMapping, Transport
from ovsdriver.errors import ConflictError
from ovsdriver.service.forgotten.purge import Purged
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import LAB, WEB, endpoint, network

HOSTILE = (
    "lab\x1b[2J\x1b]0;title\x07\r\nroot# \x9b31m\u202e\u2028 [red]x[/red] {0} %s $(reboot) ' \" \\"
)

KEPT = frozenset(
    {"id", "network", "version", "cidr", "gateway", "state", "addresses", "host", "vlan_mode"}
)
"""Fields that are read, and not only shown."""


def hostile(record: Any) -> Any:
    """Return a report with hostile words wherever it has words."""
    changed: dict[str, object] = {}
    hints = get_type_hints(type(record))
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, Enum) or (each.name in KEPT and not is_dataclass(value)):
            continue
        if isinstance(value, str):
            changed[each.name] = HOSTILE
        elif is_dataclass(value):
            changed[each.name] = hostile(value)
        elif isinstance(value, Mapping):
            changed[each.name] = {HOSTILE: HOSTILE}
        elif hints[each.name] == tuple[str, ...]:
            changed[each.name] = (HOSTILE, HOSTILE)
    return replace(record, **changed)


@pytest.fixture
def desk(desk: Desk) -> Desk:
    uplink = UplinkReport(port="eth1", vlans=(1,), fault="x")
    asked = PortMapping(protocol=Transport.TCP, port=80)
    desk.there = Report(
        networks=(replace(hostile(network("lab", LAB)), uplink=hostile(uplink)),),
        endpoints=(
            replace(
                hostile(endpoint("web", WEB)),
                fault=HOSTILE,
                unpublished=(asked,),
            ),
        ),
    )
    desk.now = replace(
        hostile(desk.now),
        repairs=RepairReport(mended=(HOSTILE,), failed=(HOSTILE,), beyond=(HOSTILE,)),
        warnings=(HOSTILE,),
    )
    desk.purged = Purged(networks=(HOSTILE,), failed=(HOSTILE,))
    desk.refusals[HOSTILE] = ConflictError(f"network {HOSTILE} is in use")
    return desk


COMMANDS = (
    ("status",),
    ("network", "ls"),
    ("network", "show", LAB),
    ("network", "rm", HOSTILE),
    ("network", "show", HOSTILE),
    ("endpoint", "ls"),
    ("endpoint", "show", WEB),
    ("endpoint", "show", HOSTILE),
    ("ports",),
    ("purge", "--yes"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words)[:20])
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_no_command_lets_them_at_the_terminal(
    shell: Shell, desk: Desk, words: tuple[str, ...], more: tuple[str, ...]
):
    result = shell(*words, *more)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for line in (result.stdout + result.stderr).split("\n"):
        assert line.isprintable(), line
    assert "reboot" in result.stdout + result.stderr, "they are shown all the same"
    assert "[red]x[/red]" in result.stdout + result.stderr, "and are no markup"


def test_json_has_the_very_words(shell: Shell, desk: Desk):
    assert shell.json("network", "show", LAB)["name"] == HOSTILE
    assert json.loads(show.json_text([HOSTILE, "ü", "\ud800"])) == [HOSTILE, "ü", "\ud800"]


def test_a_refusal_of_several_lines_stays_one(capsys: pytest.CaptureFixture[str]):
    Refusal(f"line 1: {HOSTILE!r}\nline 2: \x1b[2J").show()
    assert capsys.readouterr().err.split("\n")[1:] == ["line 2: \\x1b[2J", ""]
