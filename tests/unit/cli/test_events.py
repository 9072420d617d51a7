"""``ovsnet events``, as far as it tells what is past; following is tried with a real process."""

import json
from dataclasses import replace

import pytest

from ovsdriver.admin import asks
from ovsdriver.admin.events.views import EventPage, EventReport
from tests.unit.cli.conftest import Desk, Shell

ATTACHED = EventReport(
    id=7,
    time="2026-11-29T10:05:00.123Z",
    type="endpoint",
    action="attached",
    network="lab",
    container="web",
    endpoint="e1" * 32,
    network_id="a1" * 32,
    cause="docker",
    attributes={"address": "10.0.0.5/24"},
)
CHANGED = replace(
    ATTACHED,
    id=8,
    action="changed",
    container="",
    cause="user",
    attributes={"by": "ann as root", "options": "ovs.rate=1m"},
)


class Asked:
    """Answers with pages, and remembers what was asked."""

    def __init__(self, desk: Desk, *pages: EventPage) -> None:
        self.asked: list[asks.ListEvents] = []
        self._pages = list(pages)
        desk.also({asks.ListEvents: self._answer})

    async def _answer(self, ask: asks.ListEvents) -> EventPage:
        self.asked.append(ask)
        return self._pages.pop(0)


def test_each_event_is_a_line_for_people(desk: Desk, shell: Shell):
    Asked(desk, EventPage(events=(ATTACHED, CHANGED), last=8))
    result = shell("events")
    assert result.exit_code == 0
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "2026-11-29 10:05:00.123 endpoint attached lab/web address=10.0.0.5/24 (docker)",
        "2026-11-29 10:05:00.123 endpoint changed lab endpoint=e1e1e1e1e1e1 options=ovs.rate=1m "
        "(user ann as root)",
    ]


def test_each_event_is_an_object_on_a_line_for_programs(desk: Desk, shell: Shell):
    Asked(desk, EventPage(events=(ATTACHED, CHANGED), last=8))
    lines = shell("events", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [7, 8]
    assert json.loads(lines[0])["attributes"] == {"address": "10.0.0.5/24"}


def test_pages_are_asked_for_until_there_are_no_more(desk: Desk, shell: Shell):
    asked = Asked(
        desk,
        EventPage(events=(ATTACHED,), last=7, more=True),
        EventPage(events=(CHANGED,), last=8),
    )
    result = shell("events", "--type", "endpoint,link.down", "--network", "lab", "--initial-state")
    assert len(result.stdout.splitlines()) == 2
    first, second = asked.asked
    assert (first.types, first.network) == (("endpoint", "link.down"), "lab")
    assert (first.after, second.after) == (0, 7)
    assert (first.initial_state, second.initial_state) == (True, False)


@pytest.mark.parametrize(
    ("said", "epoch_s"),
    [("2026-11-29T10:05", 1795946700.0), ("2026-11-29T11:05+01:00", 1795946700.0)],
)
def test_a_time_is_utc_unless_it_says_otherwise(
    desk: Desk, shell: Shell, said: str, epoch_s: float
):
    asked = Asked(desk, EventPage())
    assert shell("events", "--since", said).exit_code == 0
    assert asked.asked[0].since == epoch_s


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--since", "soon"), 2, '"soon" is not 90s, 15m, 1h, 2d'),
        (("--type", "lnik"), 1, '"lnik" is no type of events: network, endpoint'),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(
    shell: Shell, words: tuple[str, ...], code: int, sentence: str
):
    result = shell("events", *words)
    assert result.exit_code == code
    assert sentence in result.stderr


def test_words_of_others_do_not_steer_the_terminal(desk: Desk, shell: Shell):
    bad = replace(ATTACHED, container="a\x1b[31mb", attributes={"what": "line\nbreak"})
    Asked(desk, EventPage(events=(bad,), last=7))
    (line,) = shell("events").stdout.splitlines()
    assert line.isprintable()


def test_without_a_process_it_says_how_to_start_it(shell: Shell):
    result = shell("events", "-f")
    assert result.exit_code == 3
    assert "systemctl start ovsnet" in result.stderr
