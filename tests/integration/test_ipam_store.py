"""``ovsnet ipam check | backup | restore | export | import`` beside the process, and without it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.netns import Sandbox
from tests.integration.process import PATIENCE_S, Process, made
from tests.unit.adapters.store.hosts import changed, rows, used

pytestmark = pytest.mark.netns


@pytest.fixture
def pair() -> Iterator[tuple[Process, Process]]:
    """Two hosts."""
    with Sandbox() as netns, made(netns.path) as one, made(netns.path) as other:
        yield one, other


@pytest.fixture
def process(pair: tuple[Process, Process]) -> Process:
    return pair[0]


def pool(process: Process, subnet: str, **options: str) -> str:
    body = {"Pool": subnet, "Options": options, "V6": ":" in subnet}
    status, answer = process.ask("IpamDriver.RequestPool", body, name="ovsipam")
    assert status == 200, answer
    return str(answer["PoolID"])


def address(process: Process, pool_id: str, wanted: str = "", **options: str) -> str:
    body = {"PoolID": pool_id, "Address": wanted, "Options": options}
    status, answer = process.ask("IpamDriver.RequestAddress", body, name="ovsipam")
    assert status == 200, answer
    return str(answer["Address"]).split("/")[0]


def release(process: Process, pool_id: str, held: str) -> None:
    body = {"PoolID": pool_id, "Address": held}
    assert process.ask("IpamDriver.ReleaseAddress", body, name="ovsipam")[0] == 200


GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}


def occupy(process: Process) -> str:
    """Use a host for a while; return the pool that has more than the others."""
    large = pool(process, "10.77.0.0/16")
    blue = pool(process, "10.77.0.0/24", **{"ipam.space": "blue", "ipam.quarantine": "60s"})
    six = pool(process, "fd00:77::/64")
    for each in (large, blue, six):
        address(process, each, **GATEWAY)
        held = [address(process, each) for _ in range(5)]
        release(process, each, held[2])
    release(process, large, address(process, large, "10.77.9.9"))
    address(process, six, "fd00:77::ffff:ffff:ffff:1")
    return large


def ask(process: Process, *words: str) -> subprocess.CompletedProcess[str]:
    places = ("state-dir", "run-dir") if words[0] == "check" else ("state-dir",)
    return process.command("ipam", *words, *process.flags(*places))


def leases(process: Process) -> list[dict[str, Any]]:
    shown = process.command("ipam", "leases", "--json", *process.flags("run-dir"))
    assert shown.returncode == 0, shown
    return list(json.loads(shown.stdout))


def ready(process: Process) -> None:
    process.start()
    process.until(lambda: process.admin("show-status")[1]["degraded"] == "", "it works")
    process.until(lambda: "process.ready" in process.said(), "it is ready")


@contextmanager
def load(process: Process, pool_id: str) -> Iterator[list[int]]:
    """Take and release addresses all the while; gives how often that was done."""
    stop = threading.Event()
    rounds = [0]

    def work() -> None:
        while not stop.is_set():
            release(process, pool_id, address(process, pool_id))
            rounds[0] += 1

    workers = [threading.Thread(target=work) for _ in range(3)]
    for each in workers:
        each.start()
    try:
        yield rounds
    finally:
        stop.set()
        for each in workers:
            each.join(PATIENCE_S)


def test_the_store_of_a_busy_process_is_looked_at_copied_and_exported(process: Process):
    ready(process)
    large = occupy(process)
    with load(process, large) as rounds:
        process.until(lambda: rounds[0] > 10, "there is load")
        for command in (
            ("check",),
            ("backup", str(process.home / "copy.db")),
            ("export", str(process.home / "pools.jsonl")),
        ):
            before = rounds[0]
            done = ask(process, *command)
            assert done.returncode == 0, done
            process.until(lambda before=before: rounds[0] > before, "the load goes on")
    assert ask(process, "check").stdout.endswith("all is well\n")
    last = json.loads((process.home / "pools.jsonl").read_text().splitlines()[-1])
    assert last["pools"] == 3
    assert len(rows(process.home / "copy.db")["ipam_pool"]) == 3
    assert process.stop() == 0


def test_a_damaged_store_is_replaced_by_a_backup_and_the_process_goes_on(process: Process):
    ready(process)
    large = occupy(process)
    held = leases(process)
    copy = str(process.home / "copy.db")
    assert ask(process, "backup", copy).returncode == 0
    assert "nothing was changed: another ovsnet, pid" in ask(process, "restore", copy).stderr
    assert process.running is not None
    process.running.kill()
    process.running.wait(PATIENCE_S)
    process.store.write_bytes(b"junk" * 5000)
    process.log.unlink()
    process.start()
    process.until(lambda: "process.degraded" in process.said(), "it is degraded")
    check = ask(process, "check")
    assert check.returncode == 1
    assert "is corrupt" in check.stderr
    refused = ask(process, "restore", copy)
    assert refused.returncode == 1
    assert "systemctl stop ovsnet" in refused.stderr
    assert process.stop() == 0
    done = ask(process, "restore", copy)
    assert done.returncode == 0, done
    process.log.unlink()
    ready(process)
    assert leases(process) == held
    assert ask(process, "check").returncode == 0
    assert address(process, large) == "10.77.0.4", "the lowest that was free then"
    assert pool(process, "10.78.0.0/24").rpartition("/")[2].startswith("10")
    assert process.stop() == 0


def test_a_store_restored_after_a_kill_keeps_what_was_acknowledged_under_another_name(
    process: Process,
):
    ready(process)
    large = occupy(process)
    copy = str(process.home / "copy.db")
    assert ask(process, "backup", copy).returncode == 0
    late = address(process, large)
    assert process.running is not None
    process.running.kill()
    process.running.wait(PATIENCE_S)
    assert process.store.with_name("state.db-wal").stat().st_size
    done = json.loads(ask(process, "restore", copy, "--json").stdout)
    (kept,) = done["kept"]
    process.log.unlink()
    ready(process)
    assert late not in {each["lease"]["address"] for each in leases(process)}
    assert process.stop() == 0
    assert ask(process, "restore", kept).returncode == 0
    process.log.unlink()
    ready(process)
    assert late in {each["lease"]["address"] for each in leases(process)}
    assert ask(process, "check").returncode == 0
    assert process.stop() == 0


def test_an_export_imported_into_an_empty_host_gives_the_same_leases(
    pair: tuple[Process, Process],
):
    used_host, empty_host = pair
    ready(used_host)
    large = occupy(used_host)
    held = leases(used_host)
    assert len(held) == 16
    text = str(used_host.home / "pools.jsonl")
    assert ask(used_host, "export", text).returncode == 0
    taken = ask(empty_host, "import", text)
    assert taken.returncode == 0, taken
    ready(empty_host)
    assert leases(empty_host) == held
    assert ask(empty_host, "check").returncode == 0
    assert [address(each, large) for each in pair] == ["10.77.0.4", "10.77.0.4"]
    assert "nothing was changed: another ovsnet, pid" in ask(empty_host, "import", text).stderr
    for each in pair:
        assert each.stop() == 0


@pytest.mark.parametrize("there", [False, True], ids=["no-store", "store"])
def test_an_import_that_is_killed_leaves_the_store_as_it_was(tmp_path: Path, there: bool):
    store = tmp_path / "state" / "state.db"
    header = '{"type":"ovsnet-ipam","version":1,"epoch":5,"exported":1.0,"program":"ovsnet"}'
    large = json.dumps(
        {
            "type": "pool",
            "id": "x/1.1",
            "space": "x",
            "subnet": "10.0.0.0/8",
            "range": None,
            "automatic": False,
            "exclude": [],
            "quarantine": 0,
            "limit": None,
            "probe": False,
            "created": 1.0,
        }
    )
    lease = (
        '{{"type":"lease","pool":"x/1.1","address":"10.0.{}.{}","kind":"endpoint",'
        '"wanted":false,"name":"","serial":{},"created":1.0}}\n'
    )
    if there:
        used(store)
        before = rows(store)
    command = (sys.executable, "-m", "ovsdriver", "ipam", "import", "-")
    with subprocess.Popen(
        [*command, "--state-dir", str(store.parent)], stdin=subprocess.PIPE, text=True
    ) as importing:
        assert importing.stdin is not None
        importing.stdin.write(f"{header}\n{large}\n")
        for number in range(20_000):  # more than what fits into the pipe and the caches
            importing.stdin.write(lease.format(number // 250, number % 250 + 1, number + 1))
        importing.stdin.flush()
        importing.kill()
    if there:
        assert rows(store) == before
    check = subprocess.run(
        [sys.executable, "-m", "ovsdriver", "ipam", "check", "--state-dir", str(store.parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={"OVSNET_RUN_DIR": str(tmp_path)},
    )
    assert check.returncode == 0, check
    assert ("3 pools" if there else "0 pools") in check.stdout


# On a disk that is full

ON_A_SMALL_DISK = """
mount -t tmpfs -o size=$1 none "$2" || exit 99
shift
folder=$1
shift
[ -n "$FILL" ] && cp -a "$FILL"/. "$folder"
"$@"
echo "exit $?"
ls -A "$folder"
"""


def on_a_small_disk(size: str, folder: Path, *words: str, fill: str = "") -> tuple[str, list[str]]:
    """Type a command while ``folder`` is a small disk; return what it said, and what is there."""
    folder.mkdir()
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", size, str(folder)),
            *(sys.executable, "-m", "ovsdriver", "ipam", *words),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FILL": fill},
    )
    said, _, there = done.stdout.partition("exit 1\n")
    assert done.returncode == 0, done
    return said + done.stderr, there.split()


def test_a_backup_or_export_to_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path):
    used(tmp_path / "state" / "state.db")
    with changed(tmp_path / "state" / "state.db") as connection:
        connection.executemany(
            "INSERT INTO ipam_reservation VALUES ('team2', ?, '', '', 1.0)",
            [(f"10.3.0.{number}",) for number in range(1, 200)],
        )
    state = ("--state-dir", str(tmp_path / "state"))
    for number, (size, command) in enumerate((("20k", "backup"), ("8k", "export"))):
        disk = tmp_path / str(number)
        said, there = on_a_small_disk(size, disk, command, str(disk / "copy"), *state)
        assert f"{disk}/copy was not written: the disk is full; free some space on {disk}" in said
        assert there == []


def test_a_restore_on_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path):
    used(tmp_path / "state" / "state.db")
    used(tmp_path / "copy.db")
    disk = tmp_path / "disk"
    words = ("restore", str(tmp_path / "copy.db"), "--state-dir", str(disk))
    said, there = on_a_small_disk("100k", disk, *words, fill=str(tmp_path / "state"))
    assert "the disk is full" in said
    assert there == ["lock", "state.db"]


def test_an_import_on_a_full_disk_leaves_no_store(tmp_path: Path):
    used(tmp_path / "state" / "state.db")
    text = tmp_path / "pools.jsonl"
    shown = subprocess.run(
        [
            *(sys.executable, "-m", "ovsdriver", "ipam", "export", str(text)),
            *("--state-dir", str(tmp_path / "state")),
        ],
        check=False,
        timeout=PATIENCE_S,
        capture_output=True,
    )
    assert shown.returncode == 0, shown
    disk = tmp_path / "disk"
    said, there = on_a_small_disk("60k", disk, "import", str(text), "--state-dir", str(disk))
    assert "the disk is full" in said
    assert there == ["lock"]
