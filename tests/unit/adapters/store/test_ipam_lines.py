"""Export and import: what comes out goes in again, whole, or nothing of it does."""

import io
import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from netaddr import IPAddress, IPNetwork, IPRange

from ipam import AddressRequest, Ipam, LeaseKind, Pool, PoolRequest
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.tools import inspection, ipam_lines
from ovsdriver.adapters.store.tools.export import export
from ovsdriver.adapters.store.tools.importing import Imported, take_over
from ovsdriver.adapters.store.tools.snapshot import contents
from ovsdriver.errors import ConflictError, DriverError, InvalidRequestError, UnavailableError
from tests.unit.adapters.store.hosts import FIRST_RELEASE, changed, epoch, names, rows, used

Line = dict[str, Any]

NETWORKS = ("network", "network_pool", "endpoint", "note")
"""Tables that an export says nothing of."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return used(tmp_path / "used" / "state.db")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty" / "state.db"


def exported(path: Path, *, now: float = 1_795_000_000.0) -> bytes:
    written = io.BytesIO()
    with contents(path) as connection:
        export(connection, written.write, now=now)
    return written.getvalue()


def lines_of(text: bytes) -> list[Line]:
    return [json.loads(line) for line in text.splitlines()]


def text_of(lines: Iterable[Line]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def taken(text: bytes, path: Path) -> Imported:
    return take_over(io.BytesIO(text), path, name="pools.jsonl")


def refused(text: bytes, path: Path, *, kind: type[DriverError] = InvalidRequestError) -> str:
    """Import what must be refused, and return the sentence; nothing may have changed."""
    before = rows(path) | {"epoch": [(epoch(path),)]} if path.exists() else None
    with pytest.raises(kind) as error:
        taken(text, path)
    after = rows(path) | {"epoch": [(epoch(path),)]} if path.exists() else None
    assert after == before
    sentence = str(error.value)
    assert sentence.endswith("nothing was imported")
    return sentence


def of_ipam(path: Path) -> dict[str, list[tuple[object, ...]]]:
    return {table: found for table, found in rows(path).items() if table not in NETWORKS}


def serials(path: Path) -> set[int]:
    return {int(str(row[0])) for row in rows(path)["ipam_lease"]}


# Out and in again


def test_an_export_imported_into_an_empty_host_gives_the_same_rows(store: Path, empty: Path):
    done = taken(exported(store), empty)
    assert of_ipam(empty) == of_ipam(store)
    assert (done.pools, done.leases, done.memories, done.reservations) == (3, 9, 2, 1)
    assert not done.renumbered
    assert done.epoch == epoch(empty) == 2


def test_an_export_of_the_same_store_is_the_same_text(store: Path, empty: Path):
    text = exported(store)
    assert exported(store) == text
    taken(text, empty)
    assert exported(empty).splitlines()[1:] == text.splitlines()[1:]


def test_an_export_begins_with_what_it_is_and_ends_with_how_much_it_was(store: Path):
    first, *rest, last = lines_of(exported(store))
    assert (first["type"], first["version"], first["epoch"]) == ("ovsnet-ipam", 1, 1)
    assert first["exported"] == 1_795_000_000.0
    assert last == {"type": "end", "pools": 3, "leases": 9, "memories": 2, "reservations": 1}
    kinds = [line["type"] for line in rest]
    assert kinds[:6] == ["pool", "lease", "lease", "lease", "memory", "memory"]
    assert kinds[-1] == "reservation"
    (far,) = [line for line in rest if line.get("wanted") and line["type"] == "lease"]
    assert far["address"] == "fd6f:7673::ffff:ffff:ffff:fff0"


def test_a_store_of_the_first_release_is_exported(tmp_path: Path, empty: Path):
    old = tmp_path / "old.db"
    old.write_bytes(FIRST_RELEASE.read_bytes())
    assert taken(exported(old), empty).leases == 9


class NoHost:
    async def occupied(self, within: object):
        return ()


async def loaded(path: Path) -> tuple[Database, Ipam]:
    database = await Database.open(path)
    ipam = await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=NoHost(), clock=lambda: 1_795_000_000.0
    )
    return database, ipam


async def test_what_is_wished_of_a_pool_comes_along_and_the_process_can_work_with_it(
    store: Path, empty: Path
):
    database, ipam = await loaded(store)
    pool: Pool = await ipam.request_pool(
        PoolRequest(
            space="wishes",
            subnet=IPNetwork("10.9.0.0/24"),
            window=IPNetwork("10.9.0.128/25"),
            excluded=(IPRange("10.9.0.128", "10.9.0.130"), IPRange("10.9.0.140", "10.9.0.140")),
            quarantine_s=30.5,
            limit=7,
            probe=True,
        )
    )
    await ipam.request_address(AddressRequest(pool=pool.id, kind=LeaseKind.GATEWAY))
    held = [await ipam.request_address(AddressRequest(pool=pool.id, name="ünï")) for _ in "ab"]
    await ipam.close()
    await database.close()
    taken(exported(store), empty)
    database, ipam = await loaded(empty)
    assert ipam.pool(pool.id) == pool
    assert [each for each in await ipam.leases(pool.id) if each in held] == held
    more = await ipam.request_address(AddressRequest(pool=pool.id))
    assert more.address == IPAddress("10.9.0.133")
    assert more.serial > max(each.serial for each in held)
    other = await ipam.request_pool(PoolRequest(space="x", subnet=IPNetwork("10.0.0.0/24")))
    assert other.id.endswith(f"/{epoch(empty)}.1")
    await ipam.close()
    await database.close()


def test_the_ids_and_serials_of_neither_store_can_come_again(store: Path, empty: Path):
    used(empty)
    with changed(empty) as connection:
        connection.execute("DELETE FROM network")
        connection.execute("DELETE FROM ipam_pool")
        connection.execute("UPDATE ipam_epoch SET value = 40")
    assert taken(exported(store), empty).epoch == epoch(empty) == 41


def elsewhere(text: bytes) -> bytes:
    """Return an export whose pools are of spaces that no other store has."""
    lines = lines_of(text)
    for line in lines:
        if "space" in line:
            line["space"] += "-2"
        for name in {"id", "pool"} & line.keys():
            line[name] = f"other/{line[name]}"
    return text_of(lines)


def test_a_store_that_holds_something_gets_the_rest_beside_it_under_new_serials(
    store: Path, tmp_path: Path
):
    other = used(tmp_path / "other" / "state.db")
    done = taken(elsewhere(exported(other)), store)
    assert done.renumbered
    now = rows(store)
    assert len(now["ipam_pool"]) == 6
    assert len(now["ipam_lease"]) == 18
    assert len(now["ipam_reservation"]) == 2
    old = serials(other)
    assert old < serials(store)
    assert {each >> 40 for each in serials(store) - old} == {done.epoch}
    with closing(sqlite3.connect(store)) as connection:
        assert list(inspection.faults(connection)) == []
    assert {table: now[table] for table in NETWORKS} == {
        table: rows(other)[table] for table in NETWORKS
    }


def test_a_reservation_that_is_the_same_here_is_no_collision(store: Path, empty: Path):
    text = text_of(line for line in lines_of(exported(store)) if line["type"] not in IN_POOLS)
    text = text.replace(b'"pools": 3, "leases": 9, "memories": 2', NO_POOLS)
    taken(text, empty)
    assert taken(text, empty).reservations == 1
    other = text.replace(b'"printer"', b'"scanner"')
    assert "10.20.0.50 of space ovsnet is reserved here for printer, not for scanner" in refused(
        other, empty, kind=ConflictError
    )


IN_POOLS = ("pool", "lease", "memory")
NO_POOLS = b'"pools": 0, "leases": 0, "memories": 0'


# What is in the way


def test_a_pool_that_is_here_already_is_refused_by_name(store: Path):
    assert (
        "pools.jsonl, line 2: pool ovsnet/10.20.0.0/24/1.1 is here already; remove its network"
        in refused(exported(store), store, kind=ConflictError)
    )


def test_a_pool_that_overlaps_one_that_is_here_is_refused_with_both_names(store: Path):
    lines = lines_of(exported(store))
    lines[1]["id"] = "other"
    assert (
        "line 2: subnet 10.20.0.0/24 of space ovsnet overlaps pool ovsnet/10.20.0.0/24/1.1, which "
        "is here already" in refused(text_of(lines), store, kind=ConflictError)
    )


def test_a_store_that_does_not_fit_together_gets_nothing_more(store: Path, tmp_path: Path):
    other = used(tmp_path / "other" / "state.db")
    with changed(store) as connection:
        connection.execute("DELETE FROM ipam_lease WHERE kind = 'gateway' AND pool = 1")
    before = rows(store)
    with pytest.raises(UnavailableError, match=r"does not fit together .*nothing was imported"):
        taken(elsewhere(exported(other)), store)
    assert rows(store) == before


def test_a_store_that_is_damaged_is_kept(store: Path, empty: Path):
    empty.write_bytes(b"junk" * 5000)
    with pytest.raises(UnavailableError, match="is corrupt"):
        taken(exported(store), empty)
    assert empty.read_bytes() == b"junk" * 5000


def test_a_journal_whose_store_is_gone_is_kept(store: Path, empty: Path):
    journal = empty.with_name("state.db-wal")
    journal.write_bytes(b"all that is left")
    with pytest.raises(UnavailableError, match="its journal"):
        taken(exported(store), empty)
    assert journal.read_bytes() == b"all that is left"
    assert names(empty.parent) == ["state.db-wal"]


# Files that are none


@pytest.mark.parametrize("there", [False, True], ids=["no-store", "store"])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_refused(store: Path, empty: Path, part: float, there: bool):
    text = exported(store)
    if there:
        taken(text_of([*lines_of(text)[:1], NO_LINES]), empty)
    sentence = refused(text[: int(len(text) * part)], empty)
    assert "cut" in sentence or "empty" in sentence
    assert names(empty.parent) == (["state.db"] if there else [])


NO_LINES = {"type": "end", "pools": 0, "leases": 0, "memories": 0, "reservations": 0}


def test_a_file_that_was_cut_between_two_lines_is_refused(store: Path, empty: Path):
    lines = lines_of(exported(store))
    for count in range(len(lines)):
        sentence = refused(text_of(lines[:count]), empty)
        assert "without its end: it was cut" in sentence or "it is empty" in sentence


def test_a_line_that_is_missing_or_doubled_or_moved_is_refused(store: Path, empty: Path):
    lines = lines_of(exported(store))
    for index, line in enumerate(lines):
        assert refused(text_of(lines[:index] + lines[index + 1 :]), empty)
        if line["type"] != "reservation":
            assert f"line {index + 2}: " in refused(
                text_of([*lines[: index + 1], *lines[index:]]), empty
            )
        else:
            assert "lines were lost or added" in refused(
                text_of([*lines[: index + 1], *lines[index:]]), empty
            )
    assert "no line before it is of pool" in refused(
        text_of([lines[0], lines[2], lines[1], *lines[3:]]), empty
    )
    assert "something comes after the end" in refused(text_of([*lines, lines[1]]), empty)


@pytest.mark.parametrize(
    ("junk", "sentence"),
    [
        pytest.param(b"", "pools.jsonl: it is empty", id="empty"),
        pytest.param(b"\n", "line 1: not JSON", id="blank-line"),
        pytest.param(b"\x00\xff\xfe" * 100, "line 1: not JSON", id="binary"),
        pytest.param(b"[" * 60_000, "line 1: not usable: nested too deep", id="deep"),
        pytest.param(b"[]\n", "line 1: a list, not an object", id="list"),
        pytest.param(b"3\n", "line 1: a whole number, not an object", id="number"),
        pytest.param(b'{"type":7}\n', "line 1: type: 7 is none of ovsnet-ipam", id="type-number"),
        pytest.param(b'{"type":"pole"}\n', "type: 'pole' is none of", id="type-unknown"),
        pytest.param(b'{"a":NaN}\n', "NaN is not JSON", id="nan"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}\n", "line 1: not usable", id="digits"),
        pytest.param(b" " * 70_000 + b"\n", "line 1: it is longer than 64 KiB", id="long"),
        pytest.param(b'{"type":"end"' + b"x" * 10**7, "it is longer than 64 KiB", id="endless"),
    ],
)
def test_what_is_no_export_is_a_sentence(empty: Path, junk: bytes, sentence: str):
    assert sentence in refused(junk, empty)
    assert not empty.exists()


def test_another_version_is_refused(store: Path, empty: Path):
    lines = lines_of(exported(store))
    lines[0]["version"] = 2
    assert "line 1: the export has version 2, this ovsnet reads 1" in refused(text_of(lines), empty)
    assert "line 1: it is no header of an export" in refused(text_of(lines[1:]), empty)


WRONG: dict[type, tuple[object, ...]] = {
    str: (7, True, None, [], {}),
    bool: (0, "true", None),
    int: ("7", True, None, 1.5),
    float: ("7", True, None, -1.0, 1e300),
    list: ("x", None, {}),
}
MAY_BE_NULL = {"range": str, "limit": int}


@pytest.mark.parametrize("kind", get_args(ipam_lines.Line))
def test_every_member_is_needed_and_has_its_type(store: Path, empty: Path, kind: type[Any]):
    lines = lines_of(exported(store))
    index = next(n for n, line in enumerate(lines) if line["type"] == kind.TYPE)
    place = f"line {index + 1}: "
    for member in fields(kind):
        name = member.name
        less = {key: value for key, value in lines[index].items() if key != name}
        assert f"{place}{name}: missing" in refused(with_line(lines, index, less), empty)
        for value in WRONG[MAY_BE_NULL.get(name) or type(lines[index][name])]:
            if value is None and name in MAY_BE_NULL:
                continue
            changed_line = lines[index] | {name: value}
            assert f"{place}{name}: " in refused(with_line(lines, index, changed_line), empty)
    more = lines[index] | {"colour": "red"}
    assert f"{place}colour: there is no such member" in refused(
        with_line(lines, index, more), empty
    )


def with_line(lines: list[Line], index: int, line: Line) -> bytes:
    return text_of([*lines[:index], line, *lines[index + 1 :]])


@pytest.mark.parametrize(
    ("kind", "members", "sentence"),
    [
        ("ovsnet-ipam", {"epoch": -1}, "epoch -1 is not between 0 and"),
        ("ovsnet-ipam", {"epoch": 1 << 22}, "is not between 0 and 4194303"),
        ("ovsnet-ipam", {"epoch": 0}, "is of start 1, the export of start 0"),
        ("pool", {"id": ""}, "is not 1 to 64 printable characters"),
        ("pool", {"id": "a b"}, "is not 1 to 64 printable characters"),
        ("pool", {"id": "x" * 65}, "is not 1 to 64 printable characters"),
        ("pool", {"id": "x/2.1"}, "id 'x/2.1' is of start 2, the export of start 1"),
        ("pool", {"space": ""}, "address space ''"),
        ("pool", {"subnet": "10.20.0.0"}, "is not written as a subnet is"),
        ("pool", {"subnet": "10.20.0.9/24"}, "has host bits set"),
        ("pool", {"subnet": "127.0.0.0/24"}, "is for loopback"),
        ("pool", {"subnet": "10.0.0.0/7"}, "prefix length"),
        ("pool", {"subnet": "FD00::/64"}, "is not written as a subnet is"),
        ("pool", {"range": "10.21.0.0/25"}, "is not inside of subnet"),
        ("pool", {"range": "x"}, "range: 'x' is not written as a subnet is"),
        ("pool", {"exclude": ["10.20.0.250-10.20.1.4"]}, "crosses the border"),
        ("pool", {"exclude": ["10.20.0.9-10.20.0.8"]}, "exclude[0]: '10.20.0.9-10.20.0.8' is not"),
        ("pool", {"exclude": ["nonsense"]}, "exclude[0]: 'nonsense' is not like"),
        ("pool", {"exclude": [7]}, "exclude[0]: a whole number, not a text"),
        ("pool", {"exclude": ["10.20.0.9"] * 65}, "65 ranges; at most 64"),
        ("pool", {"quarantine": 1e9}, "ipam.quarantine="),
        ("pool", {"limit": 0}, "ipam.limit=0"),
        ("pool", {"limit": 1 << 63}, "limit is too large"),
        ("pool", {"limit": 2}, "what it says does not fit together: pool ovsnet"),
        ("lease", {"pool": "x"}, "no line before it is of pool 'x'"),
        ("lease", {"address": "x"}, "'x' is not an IPv4 address"),
        ("lease", {"address": "a\0b"}, "is not an IPv4 address"),
        ("lease", {"address": "fd00::1"}, "'fd00::1' is not an IPv4 address"),
        ("lease", {"address": "10.21.0.1"}, "10.21.0.1 lies outside of its pool's subnet"),
        ("lease", {"address": "10.20.0.255"}, "is its subnet's network or broadcast address"),
        ("lease", {"kind": "friend"}, "kind: 'friend' is none of endpoint, gateway, aux"),
        ("lease", {"serial": 0}, "serial 0 is of no start up to 1"),
        ("lease", {"serial": 2 << 40}, "is of no start up to 1"),
        ("lease", {"serial": 1 << 80}, "is of no start up to 1"),
        ("lease", {"serial": (1 << 40) + 4}, "its serial was that of an earlier line"),
        ("lease", {"address": "10.20.0.130"}, "its address was held in an earlier line"),
        ("lease", {"name": "x" * 300}, "at most 255 printable characters"),
        ("lease", {"name": "\ud800"}, "is not Unicode text: half of a pair"),
        ("lease", {"created": 1e15}, "created: 1000000000000000.0 is no time"),
        ("memory", {"address": "10.21.0.1"}, "lies outside of its pool's subnet"),
        ("memory", {"address": "10.20.0.9"}, "was remembered in an earlier line"),
        ("memory", {"name": "a\nb"}, "printable characters"),
        ("reservation", {"address": "10.020.0.1"}, "is not written as an address is"),
        ("reservation", {"address": "FD00::1"}, "is not written as an address is"),
        ("reservation", {"address": "127.0.0.1"}, "which no container can have"),
        ("reservation", {"space": "a b"}, "address space 'a b'"),
        ("end", {"leases": 8}, "there should be 8 leases, and there were 9"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(
    store: Path, empty: Path, kind: str, members: Line, sentence: str
):
    lines = lines_of(exported(store))
    index = next(n for n, line in enumerate(lines) if line["type"] == kind)
    text = with_line(lines, index, lines[index] | members)
    assert sentence in refused(text, empty)


def test_a_second_gateway_of_a_pool_is_refused(store: Path, empty: Path):
    lines = lines_of(exported(store))
    lines[3]["kind"] = "gateway"
    assert "line 4: its pool had a gateway in an earlier line" in refused(text_of(lines), empty)


def test_pools_of_the_file_that_overlap_are_refused(store: Path, empty: Path):
    lines = lines_of(exported(store))
    index = len(lines) - 1
    wide = lines[1] | {"id": "wide", "subnet": "10.0.0.0/8"}
    assert f"line {index + 1}: subnet 10.0.0.0/8 of space ovsnet overlaps pool" in refused(
        text_of([*lines[:-1], wide, lines[-1]]), empty
    )
    twin = lines[1] | {"space": "other"}
    assert "was there in an earlier line" in refused(text_of([*lines[:-1], twin, lines[-1]]), empty)


def test_a_space_gets_no_more_reservations_than_it_may_have(
    store: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ovsdriver.adapters.store.tools.importing.RESERVATIONS_MOST", 1)
    lines = lines_of(exported(store))
    second = lines[-2] | {"address": "10.20.0.51"}
    assert "space ovsnet gets more than 1 reservations" in refused(
        text_of([*lines[:-1], second, lines[-1]]), empty
    )


def test_of_a_large_file_one_line_is_in_memory_at_a_time(store: Path, empty: Path):
    """No more is read than the lines that were asked for, and what the file object buffers."""
    lines = lines_of(exported(store))
    pool = lines[1] | {"id": "big", "space": "big", "subnet": "10.0.0.0/16", "range": None}
    count = 20_000
    many = (
        {
            "type": "lease",
            "pool": "big",
            "kind": "endpoint",
            "wanted": False,
            "name": "",
            "address": str(IPAddress("10.0.0.0") + n + 1),
            "serial": (1 << 40) + n + 1,
            "created": 1.0,
        }
        for n in range(count)
    )
    end = NO_LINES | {"pools": 1, "leases": count}
    read = _Stream(text_of([line]) for line in _chained(lines[0], pool, many, end))
    done = take_over(io.BufferedReader(read), empty, name="stdin")
    assert done.leases == count
    # Python 3.14 asks for as much at once
    assert read.most <= 1 << 17


def _chained(first: Line, pool: Line, many: Iterable[Line], end: Line) -> Iterable[Line]:
    yield first
    yield pool
    yield from many
    yield end


class _Stream(io.RawIOBase):
    """A pipe that makes its bytes when they are read."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._rest = b""
        self.most = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.most = max(self.most, len(buffer))
        self._rest = self._rest or next(self._parts, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def failing(after: int) -> Callable[[bytes], None]:
    def write(chunk: bytes) -> None:
        nonlocal after
        after -= len(chunk)
        if after < 0:
            raise OSError(28, "No space left on device")

    return write


def test_an_export_that_cannot_be_written_says_so(store: Path):
    with contents(store) as connection, pytest.raises(OSError, match="No space left"):
        export(connection, failing(10), now=1.0)
