"""The role's alert rules and dashboard: Prometheus' own judgement, and names that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.netns import Sandbox
from tests.integration.process import Process, made

HERE = Path(__file__).parent / "monitoring"
FILES = Path(__file__).parents[2] / "ansible/roles/ovsnet/files/monitoring"
RULES, DASHBOARD = FILES / "ovsnet-rules.yml", FILES / "ovsnet-dashboard.json"


@pytest.fixture
def process() -> Iterator[Process]:
    with Sandbox() as netns, made(netns.path) as alone:
        yield alone


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_prometheus_finds_no_fault_with_the_rules() -> None:
    found = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert found.returncode == 0, found.stdout + found.stderr


def test_each_rule_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    tried = shutil.copy(HERE / "rules-test.yml", tmp_path)
    shutil.copy(RULES, tmp_path)
    found = promtool("test", "rules", tried)
    assert found.returncode == 0, found.stdout + found.stderr
    rules = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    assert rules == set(re.findall(r"alertname: (\w+)", Path(tried).read_text()))


@pytest.mark.netns
@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_every_metric_that_is_asked_for_is_told(process: Process, file: Path) -> None:
    process.start()
    process.until(lambda: "process.ready" in process.said(), "the store is open")
    typed = process.command("metrics", *process.flags("run-dir"))
    told = set(re.findall(r"^# TYPE (\w+)", typed.stdout, re.MULTILINE))
    asked = {
        re.sub("_(bucket|count|sum)$", "", name)
        for name in re.findall(r"ovsnet_[a-z_]+", file.read_text())
    }
    assert len(asked) > 5
    assert asked - told == set()


def test_the_dashboards_panels_are_apart_and_say_what_no_series_means() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for each in panels:
        place = each["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, each["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert "does Prometheus scrape ovsnet" in each["fieldConfig"]["defaults"]["noValue"]
    assert len({each["id"] for each in panels}) == len(panels)
