import asyncio
import io
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovsdriver import logs
from ovsdriver.logs import REQUEST, event


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a process that logs everything writes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


log = logging.getLogger("ovsdriver.test")


def test_an_event_is_one_line_with_time_level_name_and_fields(lines):
    event(log, "endpoint.attached", port="ovh1", took_ms=4.256, tries=3, first=True)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info endpoint\.attached "
        r"port=ovh1 took_ms=4\.26 tries=3 first=true\n",
        lines.getvalue(),
    )


def test_dockers_ids_are_cut_as_docker_shows_them(lines):
    event(log, "x.y", network="x" * 25, endpoint="e" * 64, other="a" * 64, text="a" * 63)
    assert lines.getvalue().endswith(
        f"network={'x' * 12} endpoint={'e' * 12} other={'a' * 12} text={'a' * 63}\n"
    )


def test_a_field_that_is_none_is_left_out(lines):
    event(log, "x.y", why=None)
    assert lines.getvalue().endswith("x.y\n")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain-1.2:3/4", "plain-1.2:3/4"),
        ("two words", '"two words"'),
        ("", '""'),
        ('say "x"', '"say \\"x\\""'),
        ("a=b", '"a=b"'),
        ("a\\b", '"a\\\\b"'),
        ("line\nlevel=error forged", '"line\\nlevel=error forged"'),
        ("\x1b[31mred", '"\\x1b[31mred"'),
        ("zero\u200bwidth", '"zero\\u200bwidth"'),
        ("grün", "grün"),
    ],
)
def test_a_value_never_breaks_its_line(lines, value, written):
    event(log, "x.y", value=value)
    assert lines.getvalue().endswith(f"x.y value={written}\n")


@given(st.text())
def test_any_text_stays_on_one_printable_line(value):
    record = logging.makeLogRecord({"msg": "x.y", "value": value})
    assert logs.LineFormatter().format(record).isprintable()


def test_the_request_is_on_every_line_of_its_task_and_of_those_that_it_starts(lines):
    async def inner() -> None:
        event(log, "inner.done")

    async def request(number: str) -> None:
        REQUEST.set(number)
        await asyncio.create_task(inner())

    async def both() -> None:
        await asyncio.gather(request("1"), request("2"))
        event(log, "outside.done")

    asyncio.run(both())
    found = [line.split(" ", 2)[2] for line in lines.getvalue().splitlines() if ".done" in line]
    assert sorted(found) == ["inner.done request=1", "inner.done request=2", "outside.done"]


def test_the_plain_way_of_logging_gives_the_same_line(lines):
    log.warning("bridge.adopted", extra={"bridge": "br 0", "network": "n" * 64})
    assert lines.getvalue().endswith(f'warning bridge.adopted bridge="br 0" network={"n" * 12}\n')


def test_a_librarys_prose_is_an_event_too(lines):
    logging.getLogger("asyncio").error("Task was %s\nbut pending", "destroyed")
    assert lines.getvalue().endswith(
        'error log.message logger=asyncio text="Task was destroyed\\nbut pending"\n'
    )


def test_a_fault_has_its_traceback_on_the_same_line(lines):
    try:
        int("boom")
    except ValueError as error:
        event(log, "request.crashed", level=logging.ERROR, method="X", fault=error)
    (line,) = lines.getvalue().splitlines()
    assert ' error request.crashed method=X traceback="Traceback' in line
    assert "ValueError: invalid literal" in line


def test_the_level_decides_what_is_written(lines):
    logs.configure("warning", stream=lines)
    event(log, "a.b")
    event(log, "c.d", level=logging.WARNING)
    assert [line.split()[2] for line in lines.getvalue().splitlines()] == ["c.d"]


def test_configuring_again_replaces_the_former_stream(lines):
    other = io.StringIO()
    logs.configure("info", stream=other)
    event(log, "a.b")
    assert lines.getvalue() == ""
    assert other.getvalue().count("a.b") == 1


def test_without_a_stream_events_go_to_stderr(lines, capsys: pytest.CaptureFixture[str]):
    logs.configure("info")
    event(log, "a.b")
    assert capsys.readouterr().err.endswith("info a.b\n")


def test_the_time_is_that_of_the_event():
    formatter = logs.LineFormatter()
    written = [
        formatter.format(logging.makeLogRecord({"msg": "a.b", "created": created}))
        for created in (1000.25, 1000.5, 1001.75, 1000.0)
    ]
    assert [line.split()[0] for line in written] == [
        "1970-01-01T00:16:40.250Z",
        "1970-01-01T00:16:40.500Z",
        "1970-01-01T00:16:41.750Z",
        "1970-01-01T00:16:40.000Z",
    ]
