"""The store as a whole at the shell: looked at, copied and put back, with and without a process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiohttp import web
from netaddr import IPNetwork

from ipam import AddressRequest, Ipam, PoolRequest
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.lock import StateLock
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.adapters.store.tools import snapshot
from ovsdriver.admin import api, asks
from ovsdriver.admin.addresses.desk import IpamDesk
from ovsdriver.cli.store import ipam_check
from ovsdriver.errors import UnavailableError
from tests.fakes.engine import FakeEngine
from tests.unit.adapters.store.hosts import break_an_index, changed, rows, used
from tests.unit.cli.conftest import Desk, Process, Shell


class NoHost:
    async def occupied(self, within: object):
        return ()


class Host:
    """A process that serves from the store, as far as ``check`` asks it."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self.works = True
        self.desk = Desk()

    def application(self) -> web.Application:
        app = api.application(self.desk)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, _app: web.Application) -> None:
        self._database = await Database.open(self._store)
        state = await SqliteState.load(self._database)
        self.ipam = await Ipam.load(
            SqliteLeases(self._database), defaults=(), surroundings=NoHost(), clock=lambda: 1.0
        )
        pool = await self.ipam.request_pool(
            PoolRequest(space="new", subnet=IPNetwork("10.0.0.0/24"))
        )
        await self.ipam.request_address(AddressRequest(pool=pool.id))
        addresses = IpamDesk(state=state, ipam=self.ipam, engine=FakeEngine())
        self.desk.also(addresses.answers() if self.works else {asks.ListPools: self._refuse})

    async def _refuse(self, _: asks.ListPools) -> NoReturn:
        raise UnavailableError("the store is locked")

    async def _stop(self, _app: web.Application) -> None:
        await self.ipam.close()
        await self._database.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return used(tmp_path / "state" / "state.db")


@pytest.fixture
def host(store: Path) -> Host:
    return Host(store)


@pytest.fixture
def running(host: Host, serve: Callable[[web.Application], Process]) -> Iterator[Host]:
    with serve(host.application()):
        yield host


@pytest.fixture
def ask(shell: Shell, store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(ipam_check, "PAUSE_S", 0.0)
    env = {"OVSNET_STATE_DIR": str(store.parent)}
    return lambda *words, stdin="": shell("ipam", *words, stdin=stdin, env=env)


def levels(findings: list[dict[str, str]]) -> dict[str, str]:
    return {each["subject"]: each["level"] for each in findings}


SUBJECTS = ["file", "pools", "leases", "reservations", "networks", "endpoints", "ovsnet"]


def test_a_sound_store_is_all_well(ask: Callable[..., Any]):
    result = ask("check")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:2] for line in lines[:7]] == [["ok", subject] for subject in SUBJECTS]
    assert "does not run" in result.stdout
    assert result.stdout.endswith("all is well\n")


def test_a_process_that_counts_as_its_store_does_is_well(ask: Callable[..., Any], running: Host):
    result = ask("check", "--json")
    assert result.exit_code == 0, result.output
    findings = json.loads(result.stdout)
    assert levels(findings) == dict.fromkeys(SUBJECTS, "ok")
    assert findings[-1]["text"] == "counts the same in 4 pools"


def test_what_does_not_fit_together_is_told_with_what_to_do(ask: Callable[..., Any], store: Path):
    with changed(store) as connection:
        connection.execute("DELETE FROM ipam_lease WHERE kind = 'gateway' AND pool = 1")
    result = ask("check")
    assert result.exit_code == 1
    assert "its gateway 10.20.0.1 is not held" in result.stdout
    assert "-> remove it with docker network rm" in result.stdout
    assert result.stdout.endswith("1 thing wrong\n")
    assert levels(json.loads(ask("check", "--json").stdout))["networks"] == "fail"


def test_a_fault_of_a_moment_is_none(
    ask: Callable[..., Any], store: Path, running: Host, monkeypatch: pytest.MonkeyPatch
):
    with changed(store) as connection:
        connection.execute("UPDATE ipam_lease SET kind = 'aux' WHERE kind = 'endpoint'")
    looks = []

    def mend(_: float) -> None:
        looks.append(1)
        with changed(store) as connection:
            connection.execute("UPDATE ipam_lease SET kind = 'endpoint' WHERE kind = 'aux'")

    monkeypatch.setattr(ipam_check.time, "sleep", mend)
    assert ask("check").exit_code == 0
    assert looks == [1]


def test_a_process_that_counts_other_addresses_is_told(
    ask: Callable[..., Any], store: Path, running: Host
):
    with changed(store) as connection:
        connection.execute("DELETE FROM ipam_lease WHERE pool = 3 AND offset = 4")
    result = ask("check", "--json")
    assert result.exit_code == 1
    last = json.loads(result.stdout)[-1]
    assert last["level"] == "fail"
    assert last["text"].endswith("than its store holds, in team1/172.24.0.0/24/1.3")
    assert "systemctl restart ovsnet" in last["remedy"]


def test_a_process_that_cannot_work_is_told_with_its_reason(
    ask: Callable[..., Any], host: Host, serve: Callable[[web.Application], Process]
):
    host.works = False
    with serve(host.application()):
        result = ask("check", "--json")
    assert result.exit_code == 1
    assert "could not be compared with its store: the store is locked" in result.stdout


def test_a_damaged_file_is_told_and_nothing_else(ask: Callable[..., Any], store: Path):
    break_an_index(store)
    result = ask("check", "--json")
    assert result.exit_code == 1
    assert {each["subject"] for each in json.loads(result.stdout)} == {"file"}
    store.write_bytes(b"junk" * 5000)
    assert "is corrupt" in ask("check").stderr


def test_a_space_that_holds_more_than_it_may_by_now_is_a_warning(
    ask: Callable[..., Any], tmp_path: Path
):
    config = tmp_path / "ovsnet.toml"
    config.write_text(
        '[[limits]]\nspace = "ovsnet"\npools = 1\naddresses = 99\n'
        '[[limits]]\nspace = "team1"\naddresses = 2\n'
        '[[limits]]\nspace = "nobody"\npools = 1\n'
    )
    result = ask("check", "--config", str(config))
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("warn")] == [
        "warn  limits        space ovsnet has 2 pools and may have 1",
        "warn  limits        space team1 has 3 held addresses and may have 2",
    ]
    assert result.stdout.endswith("nothing is wrong; 2 warnings\n")


def test_a_store_that_somebody_locks_is_a_sentence(
    ask: Callable[..., Any], store: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(snapshot, "BUSY_S", 0.05)
    with changed(store) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        result = ask("check")
    assert result.exit_code == 1
    assert "is locked by another process" in result.stderr
    assert ask("check").exit_code == 0


def test_without_a_store_it_is_said(shell: Shell, tmp_path: Path):
    result = shell("ipam", "check", "--state-dir", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert f"there is no store {tmp_path}/none/state.db" in result.stderr
    assert not (tmp_path / "none").exists()


def test_a_backup_is_made_beside_the_process_and_restored_without_it(
    ask: Callable[..., Any],
    store: Path,
    tmp_path: Path,
    host: Host,
    serve: Callable[[web.Application], Process],
):
    copy = tmp_path / "copy.db"
    with serve(host.application()):
        made = ask("backup", str(copy))
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith(f"wrote {copy}, ")
    assert "4 pools, 10 held addresses, 1 network, 1 endpoint" in made.stdout
    before = rows(store)
    with changed(store) as connection:
        connection.execute("DELETE FROM ipam_lease")
    done = ask("restore", str(copy))
    assert done.exit_code == 0, done.output
    assert rows(store) == before
    assert f"restored {store} from {copy}" in done.stdout
    assert f"the old store was kept: {store}.before-restore-" in done.stdout
    assert ask("check").exit_code == 0


def test_backup_and_restore_tell_a_script_what_they_did(
    ask: Callable[..., Any], store: Path, tmp_path: Path
):
    copy = str(tmp_path / "copy.db")
    made = json.loads(ask("backup", copy, "--json").stdout)
    assert (made["path"], made["leases"]) == (copy, 9)
    done = json.loads(ask("restore", copy, "--json").stdout)
    assert done["store"] == str(store)
    assert [Path(each).exists() for each in done["kept"]] == [True]
    assert done["epoch"] == 2


def test_a_backup_that_cannot_be_made_is_a_sentence(ask: Callable[..., Any], tmp_path: Path):
    (tmp_path / "copy.db").write_text("precious")
    result = ask("backup", str(tmp_path / "copy.db"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"ovsnet: {tmp_path}/copy.db is there already")


def test_while_a_process_has_the_state_directory_nothing_is_restored(
    ask: Callable[..., Any], store: Path, tmp_path: Path
):
    ask("backup", str(tmp_path / "copy.db"))
    before = store.read_bytes()
    lock = StateLock.take(store.parent)
    result = ask("restore", str(tmp_path / "copy.db"))
    lock.release()
    assert result.exit_code == 1
    assert "nothing was changed: another ovsnet, pid" in result.stderr
    assert "systemctl stop ovsnet.socket ovsnet" in result.stderr
    assert store.read_bytes() == before


def test_a_damaged_store_is_replaced_and_kept(ask: Callable[..., Any], store: Path, tmp_path: Path):
    ask("backup", str(tmp_path / "copy.db"))
    store.write_bytes(b"junk" * 5000)
    result = ask("restore", str(tmp_path / "copy.db"))
    assert result.exit_code == 0, result.output
    assert "the old store could not be read (file is not a database)" in result.stdout
    (kept,) = store.parent.glob("state.db.before-restore-*")
    assert kept.read_bytes() == b"junk" * 5000


def test_what_is_wrong_in_a_backup_is_told_when_it_is_restored(
    ask: Callable[..., Any], store: Path, tmp_path: Path
):
    with changed(store) as connection:
        connection.execute("DELETE FROM ipam_lease WHERE kind = 'gateway' AND pool = 1")
    ask("backup", str(tmp_path / "copy.db"))
    result = ask("restore", str(tmp_path / "copy.db"))
    assert result.exit_code == 0
    assert "warn  networks  network aaaaaaaaaaaa: its gateway" in result.stdout
    faults = json.loads(ask("restore", str(tmp_path / "copy.db"), "--json").stdout)["faults"]
    assert [each["subject"] for each in faults] == ["networks"]


@pytest.fixture
def other(tmp_path: Path) -> dict[str, str]:
    """The environment of a host that never ran."""
    return {"OVSNET_STATE_DIR": str(tmp_path / "other")}


def test_an_export_beside_a_process_is_imported_on_another_host(
    ask: Callable[..., Any], shell: Shell, running: Host, other: dict[str, str], tmp_path: Path
):
    made = ask("export", str(tmp_path / "pools.jsonl"))
    assert made.exit_code == 0, made.output
    counted = "4 pools, 10 held addresses, 2 free ones remembered, 1 reservation"
    assert made.stdout == f"wrote {tmp_path}/pools.jsonl: {counted}\n"
    done = shell("ipam", "import", str(tmp_path / "pools.jsonl"), env=other)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == (f"imported into {tmp_path}/other/state.db: {counted}")
    again = shell("ipam", "export", env=other).stdout
    assert again.splitlines()[1:] == (tmp_path / "pools.jsonl").read_text().splitlines()[1:]


def test_an_export_can_go_through_a_pipe(
    ask: Callable[..., Any], shell: Shell, other: dict[str, str]
):
    text = ask("export").stdout
    assert ask("export", "-", "--json").stdout.splitlines()[1:] == text.splitlines()[1:]
    done = shell("ipam", "import", "-", "--json", stdin=text, env=other)
    assert json.loads(done.stdout) == {
        "pools": 3,
        "leases": 9,
        "memories": 2,
        "reservations": 1,
        "epoch": 2,
        "renumbered": False,
    }
    broken = shell("ipam", "import", "-", stdin="nonsense", env=other)
    assert broken.exit_code == 1
    assert broken.stderr.startswith("ovsnet: stdin, line 1: not JSON: ")
    assert "the file seems to be cut" in broken.stderr


def test_an_export_tells_a_script_what_it_wrote_and_overwrites_nothing(
    ask: Callable[..., Any], tmp_path: Path
):
    path = str(tmp_path / "pools.jsonl")
    made = json.loads(ask("export", path, "--json").stdout)
    assert made == {"path": path, "pools": 3, "leases": 9, "memories": 2, "reservations": 1}
    before = Path(path).read_bytes()
    assert "is there already" in ask("export", path).stderr
    assert Path(path).read_bytes() == before


def test_what_was_here_before_gives_imported_leases_new_serials(
    ask: Callable[..., Any], store: Path
):
    text = ask("export").stdout.replace("/1.", "/0.").replace("ovsnet", "o").replace("team1", "t")
    done = ask("import", "-", stdin=text.replace('"o-ipam"', '"ovsnet-ipam"'))
    assert done.exit_code == 0, done.output
    assert "the leases have new serials" in done.stdout
    assert len(rows(store)["ipam_lease"]) == 18
    assert ask("check").exit_code == 0


def test_while_a_process_has_the_state_directory_nothing_is_imported(
    ask: Callable[..., Any], store: Path
):
    text = ask("export").stdout
    lock = StateLock.take(store.parent)
    result = ask("import", "-", stdin=text)
    lock.release()
    assert result.exit_code == 1
    assert "nothing was changed: another ovsnet, pid" in result.stderr


def test_a_file_that_is_not_there_is_not_imported(ask: Callable[..., Any], tmp_path: Path):
    result = ask("import", str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert f"{tmp_path}/nothing cannot be read: No such file" in result.stderr


def test_a_row_that_makes_no_sense_is_not_exported(
    ask: Callable[..., Any], store: Path, tmp_path: Path
):
    with changed(store) as connection:
        connection.execute("UPDATE ipam_pool SET subnet = 'nonsense' WHERE key = 3")
    result = ask("export", str(tmp_path / "pools.jsonl"))
    assert result.exit_code == 1
    assert "the store has a pool team1/172.24.0.0/24/1.3 that makes no sense" in result.stderr
    assert not (tmp_path / "pools.jsonl").exists()


@pytest.mark.parametrize("command", ["check", "backup", "restore", "export", "import"])
def test_each_command_explains_itself_with_examples(shell: Shell, command: str):
    text = shell("ipam", command, "--help").stdout
    assert "Examples:" in text
    assert "Exit codes:" in text
    assert command in shell("ipam", "--help").stdout
