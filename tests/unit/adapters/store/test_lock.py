import subprocess
import sys
from pathlib import Path

import pytest

from ovsdriver.adapters.store.lock import StateLock
from ovsdriver.errors import ConflictError, UnavailableError

HOLDER = """
import sys
from pathlib import Path
from ovsdriver.adapters.store.lock import StateLock
lock = StateLock.take(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_told_which_process_has_the_directory(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        with pytest.raises(ConflictError, match=rf"pid {holder.pid}\b.*{tmp_path}"):
            StateLock.take(tmp_path)
        holder.kill()
    StateLock.take(tmp_path).release()


def test_a_released_directory_can_be_taken_again(tmp_path: Path):
    lock = StateLock.take(tmp_path / "made")
    lock.release()
    lock.release()
    StateLock.take(tmp_path / "made").release()


def test_a_directory_that_cannot_be_made_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="--state-dir"):
        StateLock.take(tmp_path / "file" / "state")
