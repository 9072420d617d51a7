"""What the role ovn changes in units, as systemd itself judges it. No systemd runs for it."""

import os
import subprocess
from pathlib import Path

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[2] / "ansible/roles/ovn/templates"
UNITS = {"nb": "ovn-ovsdb-server-nb", "sb": "ovn-ovsdb-server-sb", "northd": "ovn-northd"}
UNITS["controller"] = "ovn-controller"
CTL = "/usr/share/ovn/scripts/ovn-ctl"
DISTRIBUTION = "[Service]\nType=forking\nExecStart=/bin/true\nExecStop=/bin/false\n"


def rendered(template: str, daemon: str = "") -> str:
    """Return a template as the role writes it."""
    environment = jinja2.Environment(  # noqa: S701 - units are no HTML
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    values = {
        "ansible_managed": "Ansible managed",
        "item": daemon,
        "_ovn_commands": {each: f"{CTL} start_{each} --option=1\n" for each in UNITS},
        "_ovn_ctl": CTL,
        "_ovn_folder": "/var/lib/ovn",
        "_ovn_firewall_file": "/etc/ovn/fleet/firewall.nft",
        "_ovn_table": "ovsnet_fleet",
    }
    return environment.from_string((TEMPLATES / template).read_text()).render(values)


def faults(folder: Path, unit: str) -> list[str]:
    """Return what systemd says of our lines of a unit."""
    found = subprocess.run(
        ["systemd-analyze", "--no-pager", "verify", f"./{unit}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    return [
        line for line in found.stderr.splitlines() if "fleet.conf" in line or "firewall" in line
    ]


def written(folder: Path, daemon: str, drop_in: str) -> str:
    """Write a unit of the distribution with a drop-in, and return its name."""
    unit = f"{UNITS[daemon]}.service"
    (folder / unit).write_text(DISTRIBUTION)
    (folder / f"{unit}.d").mkdir()
    (folder / f"{unit}.d/fleet.conf").write_text(drop_in)
    return unit


@pytest.mark.parametrize("daemon", UNITS)
def test_systemd_finds_no_fault_with_a_drop_in(tmp_path: Path, daemon: str):
    unit = written(tmp_path, daemon, rendered("drop-in.conf.j2", daemon))
    assert faults(tmp_path, unit) == []


def test_systemd_does_find_faults_in_a_drop_in(tmp_path: Path):
    wrong = rendered("drop-in.conf.j2", "nb").replace("RestartSec=", "RestartSecs=")
    assert "RestartSecs" in faults(tmp_path, written(tmp_path, "nb", wrong))[0]


def test_systemd_finds_no_fault_with_the_firewall(tmp_path: Path):
    (tmp_path / "ovn-firewall.service").write_text(rendered("ovn-firewall.service.j2"))
    # nft itself need not be on the machine that the test runs on.
    assert [
        each for each in faults(tmp_path, "ovn-firewall.service") if "not executable" not in each
    ] == []


def test_the_stop_of_a_controller_keeps_its_flows():
    lines = rendered("drop-in.conf.j2", "controller").splitlines()
    stops = [line for line in lines if line.startswith("ExecStop=")]
    # The first takes the distribution's own stop away, which removes all flows.
    assert stops == ["ExecStop=", f"ExecStop={CTL} stop_controller --no-monitor --restart"]


@pytest.mark.parametrize("database", ["nb", "sb"])
def test_a_database_without_its_file_does_not_start_a_cluster_of_its_own(database: str):
    text = rendered("drop-in.conf.j2", database)
    assert f"AssertPathExists=/var/lib/ovn/ovn{database}_db.db" in text.splitlines()
