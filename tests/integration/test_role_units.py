"""The role's systemd units, rendered, as systemd itself judges them. No systemd runs for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[2] / "ansible/roles/ovsnet/templates"
NAMES = ("ovsnet.service", "ovsnet.socket", "ovsnet-down.service")

EXPOSURE = {"ovsnet.service": 27, "ovsnet-down.service": 20}
"""At most, of 100 (systemd-analyze(1), ``security``)."""


@pytest.fixture(params=["", "nogroup"], ids=["root alone looks", "a group looks"])
def units(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with the units, as the role makes them."""
    environment = jinja2.Environment(  # noqa: S701 - units are no HTML
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["regex_replace"] = lambda text, what, by: re.sub(what, by, text)
    environment.tests["match"] = lambda text, what: re.match(what, text) is not None
    # What is started must be there.
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/ovsnet").symlink_to(Path(sys.executable).parent / "ovsnet")
    values = {
        "ansible_managed": "Ansible managed",
        "ovsnet_plugin_dir": "/run/docker/plugins",
        "ovsnet_python": "python3",
        "ovsnet_run_dir": "/run/ovsnet",
        "ovsnet_state_dir": "/var/lib/ovsnet",
        "ovsnet_view_group": request.param,
        "_ovsnet_config": "/etc/ovsnet/ovsnet.toml",
        "_ovsnet_refusal": str(TEMPLATES.parent / "files/refuse.py"),
        "_ovsnet_sockets": ["/run/docker/plugins/ovsnet.sock", "/run/docker/plugins/ovsipam.sock"],
        "_ovsnet_venv": str(venv),
    }
    for name in NAMES:
        template = environment.from_string((TEMPLATES / f"{name}.j2").read_text())
        (tmp_path / name).write_text(template.render(values))
    return tmp_path


def analyze(units: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        cwd=units,
        capture_output=True,
        text=True,
        check=False,
    )


def test_systemd_finds_no_fault_with_the_units(units: Path):
    found = analyze(units, "verify", *(f"./{name}" for name in NAMES))
    # Others, of the machine that the test runs on, are not ours to mend.
    assert [line for line in found.stderr.splitlines() if "ovsnet" in line] == []


def test_systemd_does_find_faults(units: Path):
    unit = units / "ovsnet.service"
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHome=perhaps\nProtct=yes"))
    found = analyze(units, "verify", "./ovsnet.service").stderr
    assert "perhaps" in found
    assert "Protct" in found


@pytest.mark.parametrize("name", EXPOSURE)
def test_a_unit_exposes_no_more_than_it_must(units: Path, name: str):
    how = ("security", "--offline=true", f"--threshold={EXPOSURE[name]}")
    found = analyze(units, *how, f"./{name}")
    assert found.returncode == 0, found.stdout


def test_what_the_unit_leaves_open_is_what_ovsnet_needs(units: Path):
    found = analyze(units, "security", "--offline=true", "--json=short", "./ovsnet.service")
    open_ = {each["name"] for each in json.loads(found.stdout) if each["set"] is False}
    assert open_ == {
        # The host's own network, links and rules, published ports, and questions to segments.
        "PrivateNetwork=",
        "RestrictAddressFamilies=~AF_PACKET",
        "RestrictAddressFamilies=~AF_NETLINK",
        "RestrictAddressFamilies=~AF_UNIX",
        "RestrictAddressFamilies=~AF_(INET|INET6)",
        "CapabilityBoundingSet=~CAP_NET_ADMIN",
        "CapabilityBoundingSet=~CAP_NET_(BIND_SERVICE|BROADCAST|RAW)",
        "IPAddressDeny=",
        # Containers' network namespaces, and which processes are in them.
        "CapabilityBoundingSet=~CAP_SYS_ADMIN",
        "RestrictNamespaces=~net",
        "ProtectProc=",
        "ProcSubset=",
        # Root's sockets and root's records. Capabilities, not the user, are what it may do.
        "User=/DynamicUser=",
        "PrivateUsers=",
        "RootDirectory=/RootImage=",
        # What ProtectClock= gives away, a clock to read.
        "DeviceAllow=",
    }


def test_a_crash_alone_starts_nothing_that_closes_the_sockets(units: Path):
    """systemd starts what OnFailure= names at every crash, unless a restart is direct."""
    service, down = (settings(units / name) for name in ("ovsnet.service", "ovsnet-down.service"))
    assert service["OnFailure"] == "ovsnet-down.service"
    assert settings(units / "ovsnet.socket")["OnFailure"] == "ovsnet-down.service"
    assert "ovsnet.socket" in down["Conflicts"].split()
    assert service["RestartMode"] == "direct"


def test_docker_does_not_wait_for_ever_for_a_start_that_is_tried_again_and_again(units: Path):
    service = settings(units / "ovsnet.service")
    assert int(service["TimeoutStartSec"]) < int(service["JobRunningTimeoutSec"])


def settings(unit: Path) -> dict[str, str]:
    """Settings of a unit by name; of those that come several times, the last."""
    lines = unit.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
