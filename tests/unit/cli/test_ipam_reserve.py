"""Reserved addresses at the shell: the real admin application over a real store."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from netaddr import IPNetwork, IPRange

from ipam import DEFAULT_SPACE, AddressRequest, PoolRequest
from ovsdriver import codec
from ovsdriver.admin.addresses import reservation_report as reports
from ovsdriver.admin.addresses.reservation_desk import ReservationDesk
from ovsdriver.admin.views import PoolUse
from ovsdriver.cli.addresses import ipam as commands
from ovsdriver.cli.addresses import reservation_file
from ovsdriver.cli.outcome import Refusal
from tests.unit.cli.conftest import Process, Shell
from tests.unit.cli.test_ipam import Case as Hosts


class Case(Hosts):
    """The same host: 10.1.0.0/24 in space ``s`` is network ``lab``, and another pool in ``t``."""

    async def _start(self, app: web.Application) -> None:
        await super()._start(app)
        self.desk.also(ReservationDesk(addresses=self.addresses, ipam=self.ipam).answers())


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path / "state.db")


@pytest.fixture
def host(case: Case, serve: Callable[[web.Application], Process]) -> Iterator[Case]:
    with serve(case.application()):
        yield case


def kept(shell: Shell, *where: str) -> list[tuple[str, str, str]]:
    found = [each["reservation"] for each in shell.json("ipam", "reserve", *where)]
    return [(each["space"], each["address"], each["name"]) for each in found]


def typed(shell: Shell, *words: str, stdin: str = "") -> str:
    result = shell("ipam", "reserve", *words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(shell: Shell, *words: str, stdin: str = "", code: int = 1) -> str:
    result = shell("ipam", "reserve", *words, stdin=stdin)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr


def test_a_reservation_is_shown_with_its_network_and_holder(shell: Shell, host: Case):
    words = ("10.1.0.2", "--network", "lab", "--name", "web", "--note", "in the rules")
    assert typed(shell, *words) == "reserved 10.1.0.2 of space s for container web\n"
    assert typed(shell, "10.9.0.9").splitlines() == [
        "reserved 10.9.0.9 of space ovsnet for containers that ask for it by address",
        "no network has that address now; it counts as soon as one of that space does",
    ]
    heading, other, web_ = typed(shell).splitlines()
    assert heading.split()[:4] == ["ADDRESS", "SPACE", "CONTAINER", "NETWORK"]
    assert web_.split()[:6] == ["10.1.0.2", "s", "web", "lab", "container", "web"]
    assert web_.endswith("in the rules")
    assert other.split()[:5] == ["10.9.0.9", DEFAULT_SPACE, "-", "-", "-"]


def test_in_json_a_reservation_has_its_pool_and_since_when_it_is_held(shell: Shell, host: Case):
    made = shell.json("ipam", "reserve", "10.1.0.3", "--pool", "10.1.0.0/24", "--space", "s")
    assert made["outcome"] == "added"
    (listed,) = shell.json("ipam", "reserve")
    assert made["reservation"] == listed
    (lab,) = shell.json("ipam", "pools", "lab")
    assert (listed["pool"], listed["subnet"]) == (lab["pool"]["id"], "10.1.0.0/24")
    assert (listed["network"], listed["network_name"]) == (lab["network"], "lab")
    assert (listed["holder"], listed["held_since"]) == ("container ghost", 1_700_000_000.0)
    assert lab["usage"]["reserved"] == 1


def test_the_holder_of_an_address_that_is_reserved_for_another_is_told(shell: Shell, host: Case):
    said = typed(shell, "10.1.0.3", "--network", "lab", "--name", "db")
    assert said.splitlines()[1] == "container ghost has it now, and keeps it until it is released"


def test_the_space_is_that_of_the_only_pool_with_the_address(shell: Shell, host: Case):
    typed(shell, "fd00:1::5")
    typed(shell, "10.200.0.1")
    assert kept(shell) == [(DEFAULT_SPACE, "10.200.0.1", ""), ("s", "fd00:1::5", "")]


def test_an_address_of_two_spaces_is_refused_and_both_are_named(shell: Shell, host: Case):
    said = refused(shell, "10.1.0.7")
    assert "several spaces: s, t; say which one with --space NAME" in said
    typed(shell, "10.1.0.7", "--space", "t")
    assert kept(shell) == [("t", "10.1.0.7", "")]


def test_the_next_free_address_of_a_network_is_reserved_and_said(shell: Shell, host: Case):
    said = typed(shell, "--name", "web", "--network", "lab")
    assert said == "reserved 10.1.0.5 of space s for container web\n"
    again = typed(shell, "--name", "web", "--network", "lab")
    assert again == "nothing to do: 10.1.0.5 of space s is reserved for container web\n"
    typed(shell, "--name", "web", "--network", "lab", "--note", "now noted")
    assert [each["reservation"]["note"] for each in shell.json("ipam", "reserve")] == ["now noted"]
    assert typed(shell, "--name", "db", "--pool", "fd00:1::/64").startswith("reserved fd00:1::1 ")


def test_without_a_network_the_next_free_address_is_of_the_only_pool(shell: Shell, host: Case):
    assert "several pools fit" in refused(shell, "--name", "web")
    assert typed(shell, "--name", "web", "--space", "t").startswith("reserved 10.1.0.1 of space t")
    assert "no such pool" in refused(shell, "--name", "web", "--space", "nowhere")


def test_of_a_network_with_both_families_the_ipv4_pool_is_chosen(shell: Shell, host: Case):
    pools = shell.json("ipam", "pools")
    uses = [codec.read(PoolUse, each) for each in reversed(pools)]
    chosen = reports.pool_to_choose_from(uses, network="lab").pool
    assert chosen.subnet == IPNetwork("10.1.0.0/24")


def test_a_reservation_typed_twice_changes_nothing_and_a_note_stays(shell: Shell, host: Case):
    words = ("10.1.0.9", "--space", "s", "--name", "web")
    typed(shell, *words, "--note", "noted")
    (before,) = shell.json("ipam", "reserve")
    assert typed(shell, *words).startswith("nothing to do")
    assert shell.json("ipam", "reserve") == [before]
    assert typed(shell, *words, "--note", "anew").startswith("changed: ")
    (after,) = shell.json("ipam", "reserve")
    assert after == before | {"reservation": before["reservation"] | {"note": "anew"}}


def test_another_name_needs_replace(shell: Shell, host: Case):
    typed(shell, "10.1.0.9", "--space", "s", "--name", "web")
    assert "is reserved for container web already" in refused(
        shell, "10.1.0.9", "--space", "s", "--name", "db"
    )
    assert typed(shell, "10.1.0.9", "--space", "s", "--name", "db", "--replace").startswith(
        "changed: 10.1.0.9 of space s is reserved for container db"
    )
    assert kept(shell) == [("s", "10.1.0.9", "db")]


def test_the_list_is_of_a_network_a_pool_or_a_space(shell: Shell, host: Case):
    typed(shell, "10.1.0.9", "--space", "s")
    typed(shell, "10.1.0.9", "--space", "t")
    typed(shell, "fd00:1::9")
    typed(shell, "10.77.0.1", "--space", "s")
    four, other = ("s", "10.1.0.9", ""), ("t", "10.1.0.9", "")
    six, loose = ("s", "fd00:1::9", ""), ("s", "10.77.0.1", "")
    assert kept(shell, "--network", "lab") == [four]
    assert kept(shell, "--pool", "10.1.0.0/24") == [four, other]
    assert kept(shell, "--space", "s") == [four, loose, six]


def test_a_reservation_is_removed(shell: Shell, host: Case):
    typed(shell, "10.1.0.9", "--space", "s", "--name", "web")
    said = typed(shell, "--remove", "10.1.0.9")
    assert said == "10.1.0.9 of space s is reserved no more; it was for container web\n"
    assert kept(shell) == []
    assert "10.1.0.9 is not reserved; `ovsnet ipam reserve` lists" in refused(
        shell, "--remove", "10.1.0.9"
    )


def test_of_two_reservations_of_an_address_the_space_says_which_is_removed(
    shell: Shell, host: Case
):
    typed(shell, "10.1.0.9", "--space", "s")
    typed(shell, "10.1.0.9", "--space", "t")
    assert "is reserved in several spaces: s, t" in refused(shell, "--remove", "10.1.0.9")
    assert shell.json("ipam", "reserve", "--remove", "10.1.0.9", "--network", "lab")["space"] == "s"
    assert "not reserved in space s" in refused(shell, "--remove", "10.1.0.9", "--space", "s")
    assert kept(shell) == [("t", "10.1.0.9", "")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("10.1.0.300",), "is not an address"),
        (("lab",), "is not an address"),
        (("10.1.0.1", "--network", "lab"), "is the gateway of 10.1.0.0/24"),
        (("10.1.0.255", "--network", "lab"), "broadcast"),
        (("10.2.0.1", "--network", "lab"), "10.2.0.1 is no address of network lab, which has"),
        (("10.1.0.9", "--network", "nowhere"), "ovsnet knows no network 'nowhere'"),
        (("127.0.0.1",), "loopback"),
        (("10.1.0.9", "--space", "a b"), "space: "),
        (("10.1.0.9", "--space", "s", "--name", "a b"), '"a b" cannot be a container\'s name'),
        (("10.1.0.9", "--space", "s", "--note", "a\tb"), "printable characters"),
        (("--remove", "10.1.0.x"), "is not an address"),
    ],
)
def test_what_cannot_be_reserved_is_refused_with_a_sentence(
    shell: Shell, host: Case, words: tuple[str, ...], sentence: str
):
    assert sentence in refused(shell, *words)
    assert kept(shell) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--remove",), "--remove needs the ADDRESS"),
        (("--remove", "10.0.0.1", "--name", "x"), "--name does not go with --remove"),
        (("--note", "x"), "--note does not go with a list"),
        (("--name", "x", "--replace"), "--replace needs the ADDRESS"),
        (("10.0.0.1", "--prune"), "--prune does not go with an address"),
        (("--file", "-", "10.0.0.1"), "ADDRESS does not go with --file"),
        (("--file", "-", "--space", "s"), "--space does not go with --file"),
        (("--file", "-", "--all-spaces"), "--all-spaces goes with --prune"),
        (("10.0.0.1", "--name", ""), "--name is empty"),
        (("",), "ADDRESS is empty"),
        (("--file", "/nowhere/at/all"), "does not exist"),
    ],
)
def test_what_does_not_go_together_is_a_wrong_command_line(
    shell: Shell, words: tuple[str, ...], sentence: str
):
    assert sentence in refused(shell, *words, code=2)


FILE = """\
# made by hand
10.9.0.5   web      # the front
10.9.0.6            # for who asks

space s
  10.1.0.9 web
fd00:1:0::9 db  # six
"""


def test_a_file_is_applied_and_a_second_time_changes_nothing(
    shell: Shell, host: Case, tmp_path: Path
):
    path = tmp_path / "reservations"
    path.write_text(FILE)
    assert typed(shell, "--file", str(path)).splitlines() == [
        "+ 10.9.0.5 of space ovsnet for container web  # the front",
        "+ 10.9.0.6 of space ovsnet for containers that ask for it by address  # for who asks",
        "+ 10.1.0.9 of space s for container web",
        "+ fd00:1::9 of space s for container db  # six",
        "4 added, 0 changed, 0 removed, 0 there already",
    ]
    before = shell.json("ipam", "reserve")
    changes = shell.json("ipam", "reserve", "--file", str(path), "--prune")
    assert changes == {"added": [], "changed": [], "removed": [], "same": 4, "dry_run": False}
    assert shell.json("ipam", "reserve") == before


def test_a_dry_run_says_what_would_change_and_changes_nothing(shell: Shell, host: Case):
    typed(shell, "10.9.0.5", "--name", "web")
    typed(shell, "10.9.0.7")
    before = kept(shell)
    text = "10.9.0.5 web # noted\n10.9.0.6 db\n"
    assert typed(shell, "--file", "-", "--prune", "--dry-run", stdin=text).splitlines() == [
        "+ 10.9.0.6 of space ovsnet for container db",
        "- 10.9.0.5 of space ovsnet for container web",
        "+ 10.9.0.5 of space ovsnet for container web  # noted",
        "- 10.9.0.7 of space ovsnet for containers that ask for it by address",
        "would be 1 added, 1 changed, 1 removed, 0 there already",
    ]
    assert kept(shell) == before
    refusal = refused(shell, "--file", "-", "--dry-run", stdin="10.9.0.5 db\n")
    assert refusal.startswith("ovsnet: standard input line 1: address 10.9.0.5")


def test_a_file_removes_only_what_it_is_told_to(shell: Shell, host: Case):
    typed(shell, "10.9.0.7")
    typed(shell, "10.1.0.9", "--space", "s")
    typed(shell, "10.1.0.9", "--space", "t")
    default, of_s, of_t = (
        (DEFAULT_SPACE, "10.9.0.7", ""),
        *((space, "10.1.0.9", "") for space in "st"),
    )
    typed(shell, "--file", "-", stdin="# nothing\n")
    assert kept(shell) == [default, of_s, of_t]
    typed(shell, "--file", "-", "--prune", stdin="10.9.0.7\nspace s\n")
    assert kept(shell) == [default, of_t]
    typed(shell, "--file", "-", "--prune", "--all-spaces", stdin="")
    assert kept(shell) == []


def test_a_pruned_file_moves_names_about(shell: Shell, host: Case):
    typed(shell, "--file", "-", stdin="space s\n10.1.0.9 web\n10.1.0.10 db\n10.1.0.11 old\n")
    swapped = "space s\n10.1.0.9 db\n10.1.0.10 web\n10.1.0.12 old\n"
    assert "line 2" in refused(shell, "--file", "-", stdin=swapped)
    changes = json.loads(typed(shell, "--file", "-", "--prune", "--json", stdin=swapped))
    assert [change["after"]["name"] for change in changes["changed"]] == ["db", "web"]
    assert kept(shell) == [
        ("s", "10.1.0.9", "db"),
        ("s", "10.1.0.10", "web"),
        ("s", "10.1.0.12", "old"),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("10.9.0.1\n10.9.0\n", 'line 2: "10.9.0" is not an address'),
        ("\n10.9.0.1 a b\n", 'line 2: "10.9.0.1 a b" is too much'),
        ("10.9.0.1\n# x\n10.9.0.1 web\n", "line 3: 10.9.0.1 of space ovsnet is in line 1 already"),
        ("fd00::1\nfd00:0::1\n", "line 2: fd00::1 of space ovsnet is in line 1 already"),
        ("space\n", "line 1: write `space` with one name"),
        ("space a/b\n", 'line 1: "a/b" cannot name an address space'),
        ("10.9.0.1\n10.9.0.2 -x\n", 'line 2: name: "-x" cannot be a container'),
        ("10.9.0.1\nspace s\n\n10.1.0.1 x\n", "line 4: address 10.1.0.1 is the gateway"),
        ("10.9.0.1\n127.0.0.1\n", "line 2: address 127.0.0.1 is in 127.0.0.0/8"),
        ("space s\n10.1.0.9 x\n10.1.0.10 x\n", "line 3: container x has 10.1.0.9"),
        ("10.9.0.1 # " + "n" * 201, "line 1: note"),
        ("10.9.0.1 # " + "n" * 5000, "line 1: note: 5000 characters"),
    ],
)
def test_a_wrong_file_is_refused_whole_with_the_line(
    shell: Shell, host: Case, text: str, sentence: str
):
    said = refused(shell, "--file", "-", stdin=text)
    assert said.startswith(f"ovsnet: standard input {sentence}"), said
    assert kept(shell) == []


def test_a_file_that_is_no_text_is_refused(shell: Shell, host: Case, tmp_path: Path):
    path = tmp_path / "reservations"
    path.write_bytes(b"10.0.0.1 \xff\n")
    assert f"{path}: byte 9 is not UTF-8" in refused(shell, "--file", str(path))
    with pytest.raises(Refusal, match="are no file of reservations"):
        reservation_file.parse(b"#" * (9 << 20), "x")


def test_a_sentence_about_no_line_stays_as_it_is():
    listed = reservation_file.parse(b"10.0.0.1\n", "f")
    assert listed.located("the disk is full") == "the disk is full"
    assert listed.located("reservations[7]: x") == "reservations[7]: x"


def test_swarms_own_spaces_may_be_named(shell: Shell, host: Case):
    typed(shell, "--file", "-", stdin="space blue-global\n10.9.0.1\n")
    typed(shell, "10.9.0.2", "--space", "blue-global")
    assert {space for space, _, _ in kept(shell)} == {"blue-global"}


def test_thousands_are_reserved_by_one_file(shell: Shell, host: Case):
    text = "".join(f"10.9.{i // 250}.{i % 250 + 1} c{i} # {'x' * 150}\n" for i in range(8000))
    assert "8000 added" in typed(shell, "--file", "-", stdin=text)
    assert len(kept(shell)) == 8000
    many = "".join(f"10.10.{i // 250}.{i % 250 + 1}\n" for i in range(2001))
    assert "more than 10000 reservations" in refused(shell, "--file", "-", stdin=many)


def test_without_a_process_it_is_said(shell: Shell):
    refused(shell, code=3)
    refused(shell, "--file", "-", stdin="10.0.0.1", code=3)


def test_reservations_survive_a_restart(
    shell: Shell, tmp_path: Path, serve: Callable[[web.Application], Process]
):
    with serve(Case(tmp_path / "state.db").application()):
        typed(shell, "10.9.0.5", "--name", "web", "--note", "kept")
        before = shell.json("ipam", "reserve")
    again = Case(tmp_path / "state.db")
    again.new = False
    with serve(again.application()):
        assert [str(each.subnet) for each in again.ipam.pools()][:1] == ["10.1.0.0/24"]
        assert shell.json("ipam", "reserve") == before


def test_pools_show_what_is_reserved_where_something_is(shell: Shell, host: Case):
    assert "RESERVED" not in shell("ipam", "pools").stdout
    typed(shell, "10.1.0.9", "--space", "s")
    heading, lab, other, _ = shell("ipam", "pools").stdout.splitlines()
    assert heading.split()[4:9] == ["HELD", "USED", "FREE", "RESERVED", "CHOSEN"]
    assert (lab.split()[8], other.split()[8]) == ("1", "-")


class Optioned(Case):
    """Besides, a pool with every option, one of whose addresses rests."""

    async def _start(self, app: web.Application) -> None:
        await super()._start(app)
        pool = await self.ipam.request_pool(
            PoolRequest(
                space="u",
                subnet=IPNetwork("10.3.0.0/24"),
                excluded=(
                    IPRange("10.3.0.10", "10.3.0.20"),
                    IPRange("10.3.0.5", "10.3.0.5"),
                ),
                quarantine_s=7200.0,
                limit=5,
                probe=True,
            )
        )
        lease = await self.ipam.request_address(AddressRequest(pool=pool.id))
        await self.ipam.release_address(pool.id, lease.address)


def test_pools_show_their_options_and_what_rests(
    shell: Shell, tmp_path: Path, serve: Callable[[web.Application], Process]
):
    with serve(Optioned(tmp_path / "state.db").application()):
        heading, *_, optioned = shell("ipam", "pools").stdout.splitlines()
        found = shell.json("ipam", "pools", "10.3.0.0/24")[0]
    assert heading.split()[6:10] == ["FREE", "RESTING", "OPTIONS", "CHOSEN"]
    assert optioned.split()[7:13] == [
        *("5", "1", "exclude=10.3.0.10-10.3.0.20,10.3.0.5", "quarantine=2h", "limit=5", "probe")
    ]
    usage, pool = found["usage"], found["pool"]
    assert (usage["resting"], usage["reserved"], usage["free"]) == (1, 0, 5)
    assert pool["excluded"] == ["10.3.0.10-10.3.0.20", "10.3.0.5"]
    assert (pool["quarantine_s"], pool["limit"], pool["probe"]) == (7200.0, 5, True)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(30.0, "30s"), (90.0, "90s"), (300.0, "5m"), (86400.0, "1d")]
)
def test_a_quarantine_is_shown_as_it_is_typed(seconds: float, shown: str):
    assert commands._duration(seconds) == shown
