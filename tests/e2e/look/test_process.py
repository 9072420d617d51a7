"""The process itself: a broken store, a second one beside it, sockets that cannot be made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.bed import PLUGIN_DIR, Bed
from tests.e2e.stage import Stage
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

CREATE = ("network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"this is no database" * 1000, id="garbage"),
        pytest.param(b"", id="empty"),
        pytest.param(None, id="cut"),
    ],
)
def test_docker_starts_and_says_why_when_the_store_is_corrupt(
    make_bed: Callable[..., Bed], content: bytes | None
) -> None:
    bed = make_bed()
    stage = Stage(bed)
    network = stage.network("one", subnet="10.77.1.0/24")
    stage.container("ann", network)
    bed.dockerd.stop()
    bed.plugin.stop()
    store = bed.state_dir / "state.db"
    if content is None:
        content = store.read_bytes()[:5000]
    for extra in bed.state_dir.glob("state.db-*"):
        extra.unlink()
    store.write_bytes(content)
    bed.start_plugin()
    bed.start_docker()
    text = bed.docker_refuses("start", "ann")
    assert str(store) in text
    text = bed.docker_refuses(*CREATE, "two")
    assert str(store) in text
    assert store.read_bytes() == content, "the file is kept as it is"
    stage.container("elsewhere", "bridge")


def test_a_second_process_with_the_same_folders_is_refused(bed: Bed) -> None:
    second = bed.attempt(*bed.serve())
    assert second.code not in (0, 124)
    assert "Traceback" not in second.err
    assert "another ovsnet" in second.err + second.out
    assert bed.plugin.running
    assert bed.activates("ovsnet")
    assert bed.activates("ovsipam")


def test_a_second_process_on_the_same_sockets_is_refused(bed: Bed) -> None:
    other = {"state_dir": str(bed.home / "other"), "run_dir": "/run/other"}
    second = bed.attempt(*bed.serve(**other))
    assert second.code not in (0, 124)
    assert "Traceback" not in second.err
    assert PLUGIN_DIR in second.err + second.out
    assert bed.activates("ovsnet")
    bed.run("rm", "-rf", *other.values())


@pytest.mark.parametrize(
    ("flag", "serves"),
    [
        pytest.param("plugin_dir", False, id="plugins: Docker could not call"),
        pytest.param("run_dir", True, id="admin: Docker comes first"),
    ],
)
def test_a_folder_in_which_no_socket_can_be_made_is_named(
    bed: Bed, flag: str, serves: bool
) -> None:
    folders = {name: f"{bed.home}/other/{name}" for name in ("plugin_dir", "run_dir", "state_dir")}
    blocked = bed.home / "a-file"
    blocked.write_text("not a folder")
    folders[flag] = str(blocked / "below")
    try:
        result = bed.attempt(*bed.serve(**folders), timeout_s=10)
    finally:
        blocked.unlink()
        bed.run("rm", "-rf", f"{bed.home}/other")
    timed_out = result.code == 124  # it ran until the test ended it
    assert timed_out is serves
    assert result.code != 0
    assert str(blocked) in result.err + result.out
    assert "Traceback" not in result.err


def test_an_unknown_key_in_the_configuration_is_served_degraded(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed()
    bed.plugin.stop()
    bed.settings.write_text('brigde = "br0"\n')
    bed.start_plugin()
    text = bed.docker_refuses(*CREATE, "no")
    assert "brigde" in text
    assert "bridge" in text
    bed.settings.write_text("")
    bed.restart_plugin()
    Stage(bed).network("yes", subnet="10.77.1.0/24")


def test_two_processes_serve_side_by_side_on_one_switch(bed: Bed, stage: Stage) -> None:
    """Own folders, own bridge and marks: what one makes the other does not touch."""
    one = stage.network("one", subnet="10.77.1.0/24")
    a, b = stage.container("ann", one), stage.container("bob", one)
    before = bed.ovs_vsctl("list-ports", "br-ovsnet")
    folders = {
        "config": f"{bed.home}/second.toml",
        "plugin_dir": "/run/second/plugins",
        "run_dir": "/run/second/run",
        "state_dir": f"{bed.home}/second",
    }
    Path(folders["config"]).write_text('instance = "second"\nbridge = "br-second"\n')
    socket = f"{folders['plugin_dir']}/ovsnet.sock"
    spec = "/etc/docker/plugins/second.spec"
    bed.run("mkdir", "-p", folders["plugin_dir"], str(Path(spec).parent))
    bed.run("sh", "-c", f"echo unix://{socket} >{spec}")
    second = Program(bed, "second", *bed.serve(**folders))
    second.start()
    try:
        until(
            lambda: bed.attempt("test", "-S", socket).code == 0,
            lambda: f"the second one serves\n{second.said()}",
        )
        two = stage.network("two", subnet="10.77.2.0/24", driver="second", ipam="second")
        c, d = stage.container("cat", two), stage.container("dan", two)
        c.reaches(d.address(two), who="dan")
        a.reaches(b.address(one), who="bob")
        c.never_reaches(a.address(one))
        a.never_reaches(c.address(two))
        assert bed.ovs_vsctl("list-br").split() == ["br-ovsnet", "br-second"]
        bed.docker("rm", "--force", "cat", "dan")
        bed.docker("network", "rm", "two")
        assert second.stop() == 0
        a.reaches(b.address(one), who="bob")
        assert bed.ovs_vsctl("list-ports", "br-ovsnet") == before
    finally:
        second.stop()
        second.log.unlink()
        bed.run("rm", "-rf", "/run/second", spec, folders["state_dir"], folders["config"])
