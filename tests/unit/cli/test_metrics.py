import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovsdriver.admin import api
from tests.unit.cli.conftest import Desk, Process, Shell


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Desk]:
    """The process runs, and one may look."""
    desk = Desk()
    with Process(api.view(desk), tmp_path / "view.sock"):
        yield desk


@pytest.mark.usefixtures("watched")
def test_metrics_are_printed_as_prometheus_reads_them(shell: Shell):
    result = shell("metrics")
    assert result.exit_code == 0
    assert "# TYPE ovsnet_calls_total counter\n" in result.stdout


@pytest.mark.usefixtures("watched")
def test_metrics_are_json_for_programs(shell: Shell):
    rows = json.loads(shell("metrics", "--json").stdout)
    assert {"name": "ovsnet_open_calls", "labels": {}, "value": 0.0} in rows


def test_without_a_process_there_are_none_and_it_is_said(shell: Shell):
    result = shell("metrics")
    assert result.exit_code == 3
    assert "ovsnet is not running" in result.stderr
    assert "view.sock" in result.stderr
