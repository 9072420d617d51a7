import fcntl
import grp
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovsdriver.errors import ConfigurationError, ConflictError, UnavailableError
from ovsdriver.http import sockets
from ovsdriver.http.sockets import ListeningSocket


@pytest.fixture
def made() -> Iterator[list[ListeningSocket]]:
    """Sockets to be closed at the end."""
    listening: list[ListeningSocket] = []
    yield listening
    for each in listening:
        each.sock.close()


@pytest.fixture
def umask_077() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def listen(path: Path, made: list[ListeningSocket], passed=None) -> ListeningSocket:
    made.append(sockets.listen(path, passed))
    return made[-1]


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def left_over(path: Path) -> None:
    """Leave a socket file whose process has ended."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))


def test_a_socket_queues_calls_from_the_moment_it_is_made(tmp_path: Path, made):
    listening = listen(tmp_path / "a.sock", made)
    assert not listening.adopted
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(listening.path))
        client.sendall(b"early")
        accepted, _ = listening.sock.accept()
        with accepted:
            accepted.settimeout(30)
            assert accepted.recv(10) == b"early"


def test_only_the_owner_may_speak_to_a_socket(tmp_path: Path, made):
    listening = listen(tmp_path / "a.sock", made)
    assert stat.S_IMODE(listening.path.lstat().st_mode) == 0o600


def test_the_mode_does_not_hang_on_the_umask(tmp_path: Path, made):
    before = os.umask(0)
    try:
        listening = listen(tmp_path / "a.sock", made)
    finally:
        os.umask(before)
    assert stat.S_IMODE(listening.path.lstat().st_mode) == 0o600


def test_a_group_may_speak_to_a_socket_of_its_own(tmp_path: Path, made, umask_077: None):
    made.append(sockets.listen(tmp_path / "a.sock", group=os.getgid()))
    found = made[-1].path.lstat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())


def test_a_group_is_let_into_the_directory_and_no_further(tmp_path: Path):
    sockets.prepare(tmp_path / "run", sockets.RUN_DIR_MODE)
    own = grp.getgrgid(os.getgid())
    assert sockets.admit(tmp_path / "run", own.gr_name) == own.gr_gid
    found = (tmp_path / "run").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o710, own.gr_gid)


def test_a_directory_that_a_group_may_enter_already_is_left_as_it_is(tmp_path: Path):
    tmp_path.chmod(0o755)
    sockets.admit(tmp_path, grp.getgrgid(tmp_path.stat().st_gid).gr_name)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_group_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"there is no group no-such.*groupadd --system"):
        sockets.admit(tmp_path, "no-such")


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path, made):
    path = tmp_path / "a.sock"
    left_over(path)
    assert not answers(path)
    listen(path, made)
    assert answers(path)


def test_a_socket_that_another_process_answers_on_is_left_to_it(tmp_path: Path, made):
    first = listen(tmp_path / "a.sock", made)
    with pytest.raises(ConflictError) as caught:
        sockets.listen(first.path)
    assert str(caught.value) == (
        f"another process (pid {os.getpid()}) answers on {first.path}; stop it, or start this one "
        "with a --plugin-dir and --run-dir of its own"
    )
    assert answers(first.path)


def test_a_process_whose_queue_is_full_counts_as_answering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sockets, "_ANSWER_S", 0.05)
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
            waiting.connect(str(path))
            with pytest.raises(ConflictError, match="another process answers on"):
                sockets.listen(path)
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str):
    path = tmp_path / "a.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"a\.sock is there and is not a socket; remove"):
        sockets.listen(path)
    assert path.lstat()


def test_a_path_that_is_too_long_for_a_socket_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="has more than 107 bytes"):
        sockets.listen(tmp_path / ("x" * 110))


def test_a_directory_that_is_missing_is_told(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="cannot be made: No such file or directory"):
        sockets.listen(tmp_path / "missing" / "a.sock")


def test_a_path_that_is_not_writable_is_told():
    # /proc takes no new files from anybody, root included.
    with pytest.raises(ConfigurationError) as caught:
        sockets.listen(Path("/proc/sys/a.sock"))
    assert str(caught.value).startswith("/proc/sys/a.sock cannot be made: ")
    assert str(caught.value).endswith("; run ovsnet as root, or name another directory")
    with pytest.raises(ConfigurationError, match="/proc/plugins cannot be made: "):
        sockets.prepare(Path("/proc/plugins"), sockets.PLUGIN_DIR_MODE)


def test_no_socket_is_left_open_by_a_path_that_cannot_be_used(tmp_path: Path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(ConfigurationError):
            sockets.listen(Path("/proc/sys/a.sock"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_directories_are_made_with_their_mode_whatever_the_umask(tmp_path: Path, umask_077):
    plugins = tmp_path / "docker" / "plugins"
    sockets.prepare(plugins, sockets.PLUGIN_DIR_MODE)
    sockets.prepare(tmp_path / "ovsnet", sockets.RUN_DIR_MODE)
    assert stat.S_IMODE(plugins.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "ovsnet").stat().st_mode) == 0o700


def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path):
    tmp_path.chmod(0o711)
    sockets.prepare(tmp_path, sockets.PLUGIN_DIR_MODE)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path: Path):
    (tmp_path / "plugins").write_text("")
    with pytest.raises(ConfigurationError, match="plugins is not a directory; remove it"):
        sockets.prepare(tmp_path / "plugins", sockets.PLUGIN_DIR_MODE)


def test_our_socket_is_removed_once(tmp_path: Path, made):
    listening = listen(tmp_path / "a.sock", made)
    assert listening.remove()
    assert not listening.path.exists()
    assert not listening.remove()


def test_a_socket_that_another_process_has_put_in_the_place_of_ours_stays(tmp_path: Path, made):
    first = listen(tmp_path / "a.sock", made)
    first.path.unlink()
    second = listen(tmp_path / "a.sock", made)
    assert not first.remove()
    assert answers(second.path)


def test_removing_from_a_directory_that_is_gone_is_quiet(tmp_path: Path, made):
    (tmp_path / "d").mkdir()
    listening = listen(tmp_path / "d" / "a.sock", made)
    listening.path.unlink()
    (tmp_path / "d").rmdir()
    assert not listening.remove()


def test_of_many_that_start_at_once_one_gets_the_socket(tmp_path: Path, made):
    path = tmp_path / "a.sock"
    left_over(path)
    refused = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        try:
            listen(path, made)
        except ConflictError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 7)
    assert answers(path)
    assert made[0].remove()


def test_a_directory_that_stays_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockets, "_LOCK_S", 0.05)
    holder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match=f"keeps {tmp_path} locked; see `fuser -v"):
            sockets.listen(tmp_path / "a.sock")
    finally:
        os.close(holder)


def pass_on(*wanted: socket.socket, first: int = 200) -> int:
    """Put sockets where systemd would; returns the first descriptor."""
    for index, sock in enumerate(wanted):
        os.dup2(sock.fileno(), first + index)
    return first


def passed_environment(count: int, **more: str) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), **more}


def test_sockets_that_systemd_passes_are_taken_by_their_addresses(tmp_path: Path, made):
    units = [listen(tmp_path / name, made) for name in ("b.sock", "a.sock")]
    first = pass_on(*(unit.sock for unit in units))
    passed = sockets.passed_by_systemd(passed_environment(2, LISTEN_FDNAMES="x:x"), first=first)
    assert set(passed) == {tmp_path / "a.sock", tmp_path / "b.sock"}
    taken = listen(tmp_path / "a.sock", made, passed)
    listen(tmp_path / "b.sock", made, passed)
    assert taken.adopted
    assert taken.sock.fileno() == first + 1
    assert not os.get_inheritable(first)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(tmp_path / "a.sock"))
        accepted, _ = taken.sock.accept()
        accepted.close()


def test_a_socket_of_systemds_is_never_removed(tmp_path: Path, made):
    unit = listen(tmp_path / "a.sock", made)
    passed = sockets.passed_by_systemd(passed_environment(1), first=pass_on(unit.sock))
    taken = listen(unit.path, made, passed)
    taken.sock.close()
    assert not taken.remove()
    assert answers(unit.path)


def test_a_socket_is_found_behind_a_link_to_its_directory(tmp_path: Path, made):
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "run")
    unit = listen(tmp_path / "run" / "a.sock", made)
    passed = sockets.passed_by_systemd(passed_environment(1), first=pass_on(unit.sock))
    assert listen(tmp_path / "var" / "a.sock", made, passed).adopted


def test_what_systemd_does_not_pass_is_made(tmp_path: Path, made):
    unit = listen(tmp_path / "a.sock", made)
    passed = sockets.passed_by_systemd(passed_environment(1), first=pass_on(unit.sock))
    assert not listen(tmp_path / "b.sock", made, passed).adopted
    listen(tmp_path / "a.sock", made, passed)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid())},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
    ],
)
def test_descriptors_that_are_for_another_process_are_not_touched(environ):
    assert sockets.passed_by_systemd(environ) == {}


def test_a_passed_descriptor_that_is_no_socket_is_told(tmp_path: Path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ConfigurationError, match=r"passed descriptor \d+ \(plugin\), which is"):
            sockets.passed_by_systemd(
                passed_environment(1, LISTEN_FDNAMES="plugin"), first=descriptor
            )
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["tcp", "datagram", "not-listening"])
def test_a_passed_socket_of_the_wrong_kind_is_told(tmp_path: Path, kind: str):
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    way = socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM
    with socket.socket(family, way) as sock:
        sock.bind(("127.0.0.1", 0) if kind == "tcp" else str(tmp_path / "a.sock"))
        if kind == "tcp":
            sock.listen()
        with pytest.raises(ConfigurationError, match="socket number 1, which is not a listening"):
            sockets.passed_by_systemd(passed_environment(1), first=sock.fileno())


@pytest.mark.slow
def test_a_process_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path, made):
    path = tmp_path / "a.sock"
    script = (
        "import os, sys; from pathlib import Path; from ovsdriver.http import sockets; "
        "sockets.listen(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, path], check=False, timeout=60)
    assert ended.returncode == -9
    assert path.is_socket()
    listen(path, made)
    assert answers(path)
