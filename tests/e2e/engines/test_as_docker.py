"""The same commands with Docker's own IPAM and with ours: the same addresses, or better ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Container, Stage
from tests.e2e.wire import pools

pytestmark = pytest.mark.docker

IPAMS = ("default", "ovsipam")
REFUSED = "refused"
GO = "go"
"""The container that came last leaves the network."""


@dataclass(frozen=True)
class Case:
    """A network, who comes to it one after the other, and what becomes of that."""

    options: str
    wishes: Sequence[str]
    """``--ip``, or none if empty, of IPv6 where a subnet of that is named; or ``GO``."""
    given: Sequence[str]
    """The answers to both IPAMs' users; none: the network is refused."""
    ours: Sequence[str] | None = None
    """The answers to ours, where they are others."""
    since28: Sequence[str] | None = None
    """The answers to Docker's own, where an engine from 28 on gives others than 26."""


def four(options: str, wishes: str, given: str, ours: str | None = None) -> Case:
    """Return a case of IPv4; ``any`` is who names no address."""
    return _case(f"--subnet {options}", wishes, given, ours)


def six(
    subnet: str, wishes: str, given: str, ours: str | None = None, since28: str | None = None
) -> Case:
    """Return a case of IPv6."""
    return _case(f"--ipv6 --subnet 10.77.9.0/24 --subnet {subnet}", wishes, given, ours, since28)


def _case(
    options: str, wishes: str, given: str, ours: str | None, since28: str | None = None
) -> Case:
    return Case(
        options,
        ["" if word == "any" else word for word in wishes.split()],
        given.split(),
        None if ours is None else ours.split(),
        None if since28 is None else since28.split(),
    )


SIZES = [
    four(
        "10.77.1.0/24",
        "any any go any 10.77.1.9 10.77.1.9 10.77.1.0 10.77.1.255 10.77.1.1",
        "10.77.1.2 10.77.1.3 10.77.1.3 10.77.1.9 refused refused refused refused",
    ),
    four("10.77.16.0/20", "any 10.77.31.254 10.77.31.255", "10.77.16.2 10.77.31.254 refused"),
    four("10.77.1.32/27", "any 10.77.1.62 10.77.1.63", "10.77.1.34 10.77.1.62 refused"),
    four("10.77.1.4/30", "any any", "10.77.1.6 refused"),
    four("10.77.1.4/31", "any any", "10.77.1.5 refused"),
    four("10.77.1.4/31 --gateway 10.77.1.5", "any any", "10.77.1.4 refused"),
    four("10.77.1.4/32", "any", "refused"),
    four("10.0.0.0/8", "any 10.255.255.254 10.255.255.255", "10.0.0.2 10.255.255.254 refused"),
    four("127.77.0.0/24", "any", "127.77.0.2", ours=""),
    four("224.77.0.0/24", "any", "224.77.0.2", ours=""),
]

RANGES = [
    four(
        "10.77.1.0/24 --ip-range 10.77.1.0/30",
        "any any any",
        "10.77.1.2 10.77.1.3 refused",
    ),
    four(
        "10.77.1.0/24 --ip-range 10.77.1.4/31 --gateway 10.77.1.1",
        "any any any go any 10.77.1.200",
        "10.77.1.4 10.77.1.5 refused 10.77.1.5 10.77.1.200",
    ),
    four(
        "10.77.1.0/24 --ip-range 10.77.1.9/32 --gateway 10.77.1.1",
        "any any go any",
        "10.77.1.9 refused 10.77.1.9",
    ),
    four(
        "10.77.1.0/24 --ip-range 10.77.1.252/30 --gateway 10.77.1.1",
        "any any any any",
        "10.77.1.252 10.77.1.253 10.77.1.254 refused",
    ),
    four(
        "10.77.1.0/24 --ip-range 10.77.1.128/30 --gateway 10.77.1.129",
        "any any any any",
        "10.77.1.128 10.77.1.130 10.77.1.131 refused",
    ),
    four("10.77.1.0/24 --ip-range 10.77.1.0/24", "any any", "10.77.1.2 10.77.1.3"),
    # Docker takes the gateway from the range, ours is where people expect it
    four("10.77.1.0/24 --ip-range 10.77.1.128/25", "any", "10.77.1.129", ours="10.77.1.128"),
]

KEPT = [
    four("10.77.1.0/24 --gateway 10.77.1.254", "any any", "10.77.1.1 10.77.1.2"),
    four("10.77.1.0/24 --gateway 10.77.1.255", "any", ""),
    four("10.77.1.0/24 --gateway 10.77.1.0", "any", ""),
    four(
        "10.77.1.0/24 --aux-address a=10.77.1.2 --aux-address b=10.77.1.4",
        "any any 10.77.1.4",
        "10.77.1.3 10.77.1.5 refused",
    ),
    four(
        "10.77.1.0/24 --ip-range 10.77.1.128/25 --gateway 10.77.1.1 --aux-address a=10.77.1.5 "
        "--aux-address b=10.77.1.128",
        "any 10.77.1.5",
        "10.77.1.129 refused",
    ),
    four("10.77.1.0/24 --gateway 10.77.1.5 --aux-address a=10.77.1.5", "any", ""),
    four("10.77.1.0/24 --aux-address a=10.77.1.1", "any", ""),
    four("10.77.1.0/24 --aux-address a=10.77.1.7 --aux-address b=10.77.1.7", "any", ""),
]

IPV6 = [
    six(
        "fd00:77::/64",
        "any any go any fd00:77::9 fd00:77::9",
        "fd00:77::2 fd00:77::3 fd00:77::3 fd00:77::9 refused",
    ),
    six("fd00:77::/80", "any", "fd00:77::2"),
    six("fd00:77::/126", "any any any", "fd00:77::2 fd00:77::3 refused"),
    # 26 keeps a /127 for its gateway alone, and knows addresses by numbers of 64 bits
    six("fd00:77::/127", "any any", "refused refused", ours="fd00:77::1 refused"),
    six("fd00:77::/128", "any", "", ours="refused"),
    six(
        "fd00:77::/48",
        "any fd00:77:0:ffff::1",
        "fd00:77::2 refused",
        ours="fd00:77::2 fd00:77:0:ffff::1",
        since28="fd00:77::2 fd00:77:0:ffff::1",
    ),
    six(
        "fd00:77::/64",
        "fd00:77:: fd00:77::ffff:ffff:ffff:ffff",
        "refused refused",
        ours="fd00:77:: fd00:77::ffff:ffff:ffff:ffff",
        since28="refused fd00:77::ffff:ffff:ffff:ffff",
    ),
]


@pytest.fixture
def stage(shared_bed: Bed) -> Iterator[Stage]:
    shared_bed.revive()
    stage = Stage(shared_bed)
    yield stage
    stage.clear()
    assert pools(shared_bed) == []


@pytest.fixture
def people(stage: Stage) -> list[Container]:
    """Containers that come to networks and go: that is quicker than starting them."""
    stage.bed.docker("network", "create", "home")
    return [stage.container(f"c{number}", "home") for number in range(4)]


@pytest.mark.parametrize(
    "cases", [SIZES, RANGES, KEPT, IPV6], ids=["sizes", "ranges", "kept", "ipv6"]
)
def test_our_ipam_gives_what_dockers_own_gives(
    stage: Stage, people: list[Container], cases: list[Case]
) -> None:
    for case in cases:
        for ipam in IPAMS:
            expected = expectation(stage.bed, case, ipam)
            assert outcome(stage.bed, case, ipam, people) == list(expected), (case.options, ipam)


def expectation(bed: Bed, case: Case, ipam: str) -> Sequence[str]:
    if ipam != "default":
        return case.given if case.ours is None else case.ours
    return case.given if case.since28 is None or bed.engine < 28 else case.since28


def outcome(bed: Bed, case: Case, ipam: str, people: list[Container]) -> list[str]:
    create = ("network", "create", "--driver", "bridge", "--ipam-driver", ipam)
    if bed.attempt("docker", *create, *case.options.split(), "net").code:
        return []
    version = 6 if "--ipv6" in case.options else 4
    how = {4: "--ip", 6: "--ip6"}[version]
    found, there, away = [], [], list(people)
    for wish in case.wishes:
        if wish == GO:
            away.insert(0, there.pop())
            bed.docker("network", "disconnect", "net", away[0].name)
            continue
        wanted = (how, wish) if wish else ()
        if bed.attempt("docker", "network", "connect", *wanted, "net", away[0].name).code:
            found.append(REFUSED)
            continue
        there.append(away.pop(0))
        found.append(there[-1].address("net", version))
    for each in there:
        bed.docker("network", "disconnect", "net", each.name)
    bed.docker("network", "rm", "net")
    return found
