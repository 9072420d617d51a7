"""``ovsnet test``: a good installation passes, a broken one fails where it is broken."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.e2e import image
from tests.e2e.bed import OUTSIDE4, Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Stage
from tests.e2e.world import Program, until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

_BROKEN = str(Path(__file__).parents[1] / "broken.py")
_NO_SERVER = "192.0.2.53 does not answer this host either"
_STAYS = "stays"


@pytest.fixture
def far(bed: Bed) -> Iterator[Far]:
    with beyond(bed) as far:
        yield far


def tried(bed: Bed, *args: str, code: int) -> dict[str, dict[str, Any]]:
    """Return the cases of ``ovsnet test`` by their names."""
    done = bed.attempt(bed.serve()[0], "test", "--json", *args, timeout_s=180)
    assert done.code == code, done
    return {each["name"]: each for each in json.loads(done.out)["cases"]}


def outcomes(cases: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: each["outcome"] for name, each in cases.items()}


def broken(bed: Bed, how: str, breaks: str, *cases: str) -> dict[str, Sequence[str]]:
    """Return how cases ended after something was broken."""
    done = bed.attempt(
        *("env", f"PYTHONPATH={Path.cwd()}", sys.executable, _BROKEN, how, breaks, *cases),
        timeout_s=180,
    )
    # from outside as well: the command that entered the world for it stopped with it
    bed.plugin.signal(SIGCONT)
    assert done.code == 0, done
    found: dict[str, Sequence[str]] = json.loads(done.out)
    return found


def test_a_good_installation_passes_and_nothing_is_left(bed: Bed, tmp_path: Path) -> None:
    file = bed.home / "junit.xml"
    cases = tried(bed, "--junit", str(file), code=0)
    untried = {name for name, each in cases.items() if each["outcome"] != "ok"}
    assert untried == {"uplinks", "names"}, cases
    assert cases["uplinks"]["text"] == "no network has an uplink"
    assert cases["names"]["text"] == _NO_SERVER
    suite = ElementTree.parse(file).getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("16", "0", "2")
    assert [each.get("name") for each in suite] == list(cases)


def test_a_case_that_was_named_and_cannot_be_tried_is_no_success(bed: Bed) -> None:
    cases = tried(bed, "--only", "uplinks", code=1)
    assert outcomes(cases) == {"attach": "ok", "uplinks": "not tried", "clean": "ok"}


@pytest.mark.long
def test_a_target_that_this_host_does_not_reach_is_no_fault_of_ours(bed: Bed) -> None:
    cases = tried(bed, "--only", "outside-v4", "--target", "192.0.2.99", code=1)
    assert cases["outside-v4"]["outcome"] == "not tried"
    assert "192.0.2.99 does not answer pings of this host either" in cases["outside-v4"]["text"]
    assert outcomes(tried(bed, "--only", "outside-v4", "--target", OUTSIDE4, code=0)) == {
        "attach": "ok",
        "outside-v4": "ok",
        "clean": "ok",
    }


@pytest.mark.parametrize(
    ("breaks", "fail", "ok"),
    [
        pytest.param(
            "ovs-vsctl del-port $DB",
            ["same-v4", "same-v6", "full-frames"],
            ["gateway"],
            id="port",
            marks=pytest.mark.long,
        ),
        pytest.param("ip link set $DB mtu 1400", ["full-frames"], ["same-v4", "same-v6"], id="mtu"),
        pytest.param(
            "ovs-vsctl set Port $DB tag=4000",
            ["same-v4", "full-frames"],
            ["gateway"],
            id="vlan",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "ip link set $GATEWAY down",
            ["gateway", "outside-v4", "published-loopback"],
            ["same-v4"],
            id="gateway",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "nft delete table inet ovsnet",
            ["outside-v4", "published-host", "published-loopback", "published-other"],
            ["same-v4", "gateway"],
            id="rules",
        ),
        pytest.param(
            "nft flush table inet ovsnet; for each in /proc/sys/net/ipv4/conf/*/forwarding; do "
            "echo 1 >$each; done",
            ["closed"],
            ["same-v4"],
            id="open",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_is_broken_fails_in_its_own_case(
    bed: Bed, breaks: str, fail: list[str], ok: list[str]
) -> None:
    found = broken(bed, "stop", breaks, *fail, *ok)
    assert {name: each[0] for name, each in found.items()} == dict.fromkeys(
        fail, "fail"
    ) | dict.fromkeys(ok, "ok"), found


@pytest.mark.long
def test_a_foreign_firewall_fails_what_is_forwarded(bed: Bed) -> None:
    bed.nft("add table inet other")
    drops = "{ type filter hook forward priority 0; policy drop; }"
    bed.nft(f"add chain inet other strict {drops}")
    try:
        found = outcomes(tried(bed, code=1))
    finally:
        bed.nft("delete table inet other")
    failed = {name for name, outcome in found.items() if outcome == "fail"}
    assert failed == {"outside-v4", "outside-v6", "published-other"}


def test_a_guard_whose_flows_are_overruled_fails(bed: Bed) -> None:
    overrules = "ovs-ofctl add-flow br-ovsnet priority=65535,actions=NORMAL"
    found = broken(bed, "go", f"(for i in $(seq 100); do {overrules}; sleep 0.05; done) &", "guard")
    assert found["guard"][0] == "fail"
    assert "forged address and with a forged MAC pass" in found["guard"][1]


def test_on_an_uplink_the_router_answers_or_the_case_fails(
    bed: Bed, far: Far, stage: Stage
) -> None:
    router = far.host("router", "10.30.0.1/24", tag=30)
    stage.network(
        "lan30",
        *("-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30", "--gateway", "10.30.0.1"),
        subnet="10.30.0.0/24",
    )
    answered = tried(bed, "--only", "uplinks", code=0)["uplinks"]
    assert answered["text"].startswith("lan30: 10.30.0.1 at ")
    bed.ip("address", "flush", "dev", "eth0", netns=router.netns)
    silent = tried(bed, "--only", "uplinks", code=1)["uplinks"]
    assert silent["text"] == "lan30: nobody on VLAN 30 behind eth1 says to have 10.30.0.1"


@pytest.mark.parametrize("number", [SIGINT, SIGKILL], ids=["ctrl-c", "killed"])
def test_one_that_is_ended_leaves_nothing_to_the_next(bed: Bed, number: Any) -> None:
    program = Program(bed, f"trial-{number.name}", bed.serve()[0], "test")
    program.start()
    until(lambda: "gateway" in program.said(), "it is in the middle")
    program.stop(number)
    left = bed.run("ls", "/run/netns").count("ovsnet-test-")
    assert bool(left) == (number is SIGKILL)
    if left:
        tried(bed, "--only", "same", code=0)


@pytest.mark.long
def test_two_at_once_are_refused(bed: Bed) -> None:
    program = Program(bed, "trial-alone", bed.serve()[0], "test")
    program.start()
    until(lambda: "attach" in program.said(), "it has begun")
    second = bed.try_ovsnet("test")
    assert second.code == 1
    assert "another `ovsnet test` runs on this host" in second.err
    assert program.wait(180) == 0


def test_without_the_process_it_says_so(bed: Bed) -> None:
    bed.plugin.stop()
    try:
        done = bed.try_ovsnet("test")
    finally:
        bed.revive()
    assert done.code == 3
    assert "ovsnet is not running" in done.err


def test_with_docker_the_same_cases_pass(bed: Bed) -> None:
    bed.run("docker", "import", "--change", 'CMD ["sh"]', "-", _STAYS, stdin=image.archive())
    try:
        found = outcomes(tried(bed, "--with-docker", _STAYS, code=0))
    finally:
        bed.docker("rmi", _STAYS)
    assert {name for name, outcome in found.items() if outcome != "ok"} == {"uplinks"}


@pytest.mark.long
def test_an_image_whose_program_ends_is_refused_with_a_sentence(bed: Bed) -> None:
    bed.run("docker", "import", "--change", 'CMD ["true"]', "-", "ends", stdin=image.archive())
    try:
        cases = tried(bed, "--with-docker", "ends", "--only", "same", code=1)
    finally:
        bed.docker("rmi", "ends")
    assert "ended at once; name an image whose program stays" in cases["attach"]["text"]
    assert cases["same-v4"]["outcome"] == "not tried"
