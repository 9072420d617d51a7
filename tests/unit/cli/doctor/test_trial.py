"""``ovsnet test``: which cases, how they are judged, and how that is written."""

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from netaddr import EUI, IPAddress

from ovsdriver.cli.doctor.trial import frames, report, this_host
from ovsdriver.cli.doctor.trial.attempts import Attempts
from ovsdriver.cli.doctor.trial.cases import (
    CASES,
    RATE,
    FailedError,
    NotTriedError,
    Outcome,
    Result,
    chosen,
    good,
    mixed,
    rate,
)
from ovsdriver.cli.doctor.trial.played import PlayedDocker
from ovsdriver.cli.doctor.trial.stage import BASE4, BASE6, subnets
from ovsdriver.cli.doctor.trial.talk import Echo
from ovsdriver.config import Settings
from tests.unit.cli.conftest import Shell


def result(name: str, outcome: Outcome, text: str = "") -> Result:
    return Result(name=name, title="a title", outcome=outcome, text=text, seconds=0.25)


def test_every_case_has_something_that_tries_it():
    with Echo() as echo:
        attempts = Attempts(Settings(), PlayedDocker(Settings()), echo, ())
        assert list(attempts.by_name) == [case.name for case in CASES]


def test_each_trial_attaches_first_and_looks_last_whether_all_is_clean():
    assert [each.name for each in chosen(["published"])] == [
        "attach",
        "published-host",
        "published-loopback",
        "published-other",
        "clean",
    ]
    assert chosen([]) == list(CASES)


def test_a_case_that_is_unknown_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"no such case; did you mean `rate`"):
        chosen(["rats"])


@pytest.mark.parametrize(
    ("outcomes", "only", "well"),
    [
        pytest.param({"attach": "ok", "rate": "ok"}, [], True, id="all well"),
        pytest.param({"attach": "ok", "rate": "fail"}, [], False, id="one failed"),
        pytest.param({"attach": "ok", "rate": "not tried"}, [], True, id="one not tried"),
        pytest.param({"attach": "ok", "rate": "not tried"}, ["rate"], False, id="that one named"),
        pytest.param(
            {"outside-v4": "ok", "outside-v6": "not tried"}, ["outside"], True, id="one of a word"
        ),
        pytest.param(
            {"outside-v4": "ok", "rate": "not tried"}, ["outside", "rate"], False, id="two words"
        ),
    ],
)
def test_what_was_named_and_not_tried_is_no_success(
    outcomes: dict[str, str], only: list[str], well: bool
):
    results = [result(name, Outcome(outcome)) for name, outcome in outcomes.items()]
    assert good(results, only) is well


@pytest.mark.parametrize(
    ("sent", "got", "error"),
    [
        (1.6, 1.0, None),
        (1.6, 0.81, None),
        (1.6, 1.19, None),
        (1.6, 1.21, FailedError),
        (1.6, 0.79, FailedError),
        (1.1, 0.5, NotTriedError),
        (1.1, 1.3, FailedError),
    ],
)
def test_a_rate_holds_within_a_fifth(sent: float, got: float, error: type[Exception] | None):
    if error is None:
        assert "mbit into it" in rate("into it", sent_bits=sent * RATE, got_bits=got * RATE)
        return
    with pytest.raises(error):
        rate("into it", sent_bits=sent * RATE, got_bits=got * RATE)


def test_a_case_of_parts_is_tried_if_one_of_them_was():
    assert mixed(["192.0.2.1"], ["no IPv6"]) == "192.0.2.1; not tried: no IPv6"
    with pytest.raises(NotTriedError, match="no IPv4; no IPv6"):
        mixed([], ["no IPv4", "no IPv6"])


def test_subnets_are_of_a_range_of_their_own_and_do_not_meet():
    offered = list(subnets((4, 6)))
    assert len(offered) > 4
    for four, six in offered:
        assert four in BASE4
        assert six in BASE6
        assert (four.prefixlen, six.prefixlen) == (24, 64)
    fours = [four for four, _ in offered]
    assert not any(one in other for one, other in combinations(fours, 2))
    assert [len(each) for each in subnets((4,))] == [1] * len(offered)


def test_lines_say_why_and_the_last_one_counts():
    results = [
        result("attach", Outcome.OK),
        result("rate", Outcome.FAIL, "only 3mbit"),
        result("names", Outcome.NOT_TRIED, "no server"),
    ]
    assert [report.line(each).plain for each in results] == [
        "ok        attach              a title",
        "fail      rate                only 3mbit",
        "not tried names               no server",
    ]
    assert report.last_line(results).startswith("1 of 2 cases failed, 1 not tried; ")
    assert report.last_line(results[:1]) == "1 case passed"


def test_junit_has_failures_and_skips_with_their_reasons():
    results = [
        result("attach", Outcome.OK),
        result("rate", Outcome.FAIL, 'only <3mbit> & "less"\x00'),
        result("names", Outcome.NOT_TRIED, "no server"),
    ]
    suite = ElementTree.fromstring(report.junit(results))  # noqa: S314 - our own
    assert dict(suite.attrib) == {
        "name": "ovsnet test",
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "time": "0.750",
    }
    assert [each.get("name") for each in suite] == ["attach", "rate", "names"]
    (failure,), (skipped,) = list(suite[1]), list(suite[2])
    assert (failure.tag, failure.get("message")) == ("failure", 'only <3mbit> & "less" ')
    assert (skipped.tag, skipped.get("message")) == ("skipped", "no server")


def test_a_datagram_is_what_a_kernel_would_send():
    frame = frames.datagram(
        source=EUI("02-00-00-00-00-01"),
        to=EUI("02-00-00-00-00-02"),
        sender=IPAddress("198.18.0.2"),
        receiver=IPAddress("198.18.0.3"),
        payload=b"said",
    )
    assert frame[:14].hex() == "020000000002" + "020000000001" + "0800"
    assert frames.checksum(frame[14:34]) == 0
    assert frame[26:34] == IPAddress("198.18.0.2").packed + IPAddress("198.18.0.3").packed
    assert frame.endswith(b"said")


def test_who_has_an_address_is_heard_from_its_answer_alone():
    mac, asked, sender = EUI("02-00-00-00-00-01"), IPAddress("10.0.0.1"), IPAddress("10.0.0.9")
    question = frames.arp_request(mac=mac, sender=sender, asked=asked)
    assert frames.arp_answer(question, asked) is None
    answer = question[:20] + b"\0\2" + mac.packed + asked.packed + question[32:]
    assert frames.arp_answer(answer, asked) == mac
    assert frames.arp_answer(answer, IPAddress("10.0.0.2")) is None
    assert frames.arp_answer(b"short", asked) is None


@pytest.fixture
def resolvers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(this_host, "RESOLVERS", file)
    return file


def test_name_servers_are_those_that_can_be_read(resolvers: Path):
    assert this_host.name_servers() == []
    resolvers.write_text("# nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver fe80::1%eth0\n")
    assert this_host.name_servers() == [IPAddress("192.0.2.2"), IPAddress("fe80::1")]


def test_the_list_of_cases_needs_nobody(shell: Shell):
    listed = shell("test", "--list")
    assert listed.exit_code == 0
    assert all(case.name in listed.stdout for case in CASES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "rats"), "no such case; did you mean `rate`?"),
        (("--target", "somewhere"), "somewhere"),
    ],
)
def test_a_wrong_word_is_a_wrong_command_line(shell: Shell, words: tuple[str, ...], said: str):
    done = shell("test", *words)
    assert done.exit_code == 2
    assert said in done.stderr
