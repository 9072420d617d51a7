"""Routes as a dump's blocks: read by columns where they are alike, and to the same effect."""

import socket
import struct
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some
from netaddr import IPNetwork

from ovsdriver.adapters.kernel.codec import alike, route_messages, rtnetlink
from ovsdriver.adapters.kernel.codec.route_messages import Way, count_ways, known_routes, ways
from ovsdriver.adapters.kernel.host.host_ways import HostWays


def route(
    destination: str,
    link: int = 7,
    *,
    table: int = 254,
    metric: int | None = None,
    hops: Sequence[int] = (),
    kind: int = 1,
) -> bytes:
    network = IPNetwork(destination)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    body = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, table, 12, 0, kind, 0)
    body += rtnetlink.u32(15, table)
    if network.prefixlen:
        body += rtnetlink.attribute(1, network.network.packed)
    if metric is not None:
        body += rtnetlink.u32(6, metric)
    if hops:
        ways = b"".join(struct.pack("=HBBi", 8, 0, 0, index) for index in hops)
        return body + rtnetlink.attribute(9, ways)
    return body + rtnetlink.u32(4, link)


def block(*bodies: bytes) -> bytes:
    head = rtnetlink.HEADER.pack
    return b"".join(
        head(16 + len(body), 24, 2 + at % 2 * 32, 5, 99) + body for at, body in enumerate(bodies)
    )


class Table:
    """A socket on a table that is given as blocks."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = blocks
        self.asked = 0

    def stream(self, kind: int, body: bytes) -> Iterator[bytes]:
        self.asked += 1
        family = body[0]
        yield from (each for each in self.blocks if each[16] == family)


MANY = [route(f"20.{n // 256}.{n % 256}.0/24", 7 + n % 3) for n in range(300)]


def test_a_block_of_routes_that_are_alike_is_read_by_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = Counter(way for each in MANY for way in ways(each))
    assert expected == {Way(7 + n, 4, default=False): 100 for n in range(3)}

    monkeypatch.setattr(route_messages, "ways", lambda body: ways(body) if body == MANY[0] else 0)
    assert count_ways(Table(block(*MANY))) == expected  # type: ignore[arg-type]


def test_routes_that_are_far_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(block: bytes) -> Iterator[bytes]:
        raise AssertionError

    monkeypatch.setattr(route_messages, "bodies", never)
    table = Table(block(*MANY))
    assert list(known_routes(table, [IPNetwork("10.1.0.0/24")])) == []  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        list(known_routes(table, [IPNetwork("20.0.7.0/24")]))  # type: ignore[arg-type]


DESTINATIONS = some.sampled_from(
    ["0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "10.1.2.0/24", "10.1.2.3/32", "172.16.0.0/12"]
)
IPV6 = some.sampled_from(["::/0", "fe80::/64", "fd00:1::/64", "2001:db8::/32", "2000::/3"])
LINKS = some.integers(0, 3)
ROUTES = some.builds(
    route,
    DESTINATIONS,
    LINKS,
    table=some.sampled_from([254, 254, 254, 255, 77]),
    metric=some.sampled_from([None, None, 5, 6]),
    hops=some.lists(LINKS, max_size=2),
    kind=some.sampled_from([1, 1, 1, 2, 6]),
)
ROUTES6 = some.builds(route, IPV6, LINKS, metric=some.sampled_from([None, 5]))
BLOCKS = some.lists(
    some.one_of(some.lists(ROUTES, min_size=1), some.lists(ROUTES6, min_size=1)), max_size=3
)


@given(BLOCKS)
def test_ways_are_the_same_by_columns_and_one_by_one(blocks: list[list[bytes]]) -> None:
    table = Table(*(block(*each) for each in blocks))
    one_by_one = Counter(way for each in blocks for body in each for way in ways(body))
    assert count_ways(table) == one_by_one  # type: ignore[arg-type]


@given(BLOCKS, some.sampled_from(["10.1.2.0/25", "10.0.0.0/7", "172.24.0.0/13", "fd00::/8"]))
def test_routes_near_a_subnet_are_those_that_share_an_address(
    blocks: list[list[bytes]], subnet: str
) -> None:
    table = Table(*(block(*each) for each in blocks))
    near = IPNetwork(subnet)
    everything = known_routes(table, [IPNetwork("0.0.0.0/0"), IPNetwork("::/0")])  # type: ignore[arg-type]
    expected = [
        each
        for each in everything
        if each.destination.version == near.version
        and each.destination.first <= near.last
        and near.first <= each.destination.last
    ]
    assert list(known_routes(table, [near])) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(block(MANY[0]), id="one"),
        pytest.param(block(MANY[0], MANY[1])[:-4], id="cut"),
        pytest.param(block(MANY[0], MANY[0][:-8] + bytes(8)), id="attribute-without-length"),
        pytest.param(block(*[MANY[0][:-8] + bytes(8)] * 2), id="all-without-length"),
        pytest.param(block(*[MANY[0] + bytes(2)] * 2), id="rest"),
        pytest.param(block(MANY[0], route("10.0.0.0/8", table=9)), id="tables"),
    ],
)
def test_what_is_not_alike_is_no_columns(broken: bytes) -> None:
    assert alike.columns(broken, body=12, free=(1,), fixed=(15,)) is None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


WAY = Way(7, 4, default=False)
UP = frozenset({7, 8, 9})


def test_routes_are_read_again_only_where_there_is_a_doubt() -> None:
    table, clock = Table(block(MANY[0], route("0.0.0.0/0", 8))), Clock()
    known = HostWays(clock=clock)
    default = Way(8, 4, default=True)
    assert set(known.current(table, UP)) == {WAY, default}  # type: ignore[arg-type]
    looks = table.asked

    clock.now += 1000
    new = Way(9, 6, default=False)
    assert not known.tells(WAY, new=True)
    assert known.tells(new, new=True)
    assert known.hear(new, new=True)
    assert not known.tells(new, new=True)
    assert set(known.current(table, UP)) == {WAY, default, new}  # type: ignore[arg-type]
    assert table.asked == looks

    assert known.tells(WAY, new=False)
    assert known.hear(WAY, new=False)
    assert not known.hear(WAY, new=False)  # it is doubted already
    assert set(known.current(table, UP)) == {WAY, default}  # type: ignore[arg-type]
    assert table.asked == looks * 2

    known.current(table, UP - {9})  # type: ignore[arg-type]
    assert table.asked == looks * 2  # nothing leads there
    known.current(table, UP - {7})  # type: ignore[arg-type]
    assert table.asked == looks * 3


def test_one_of_many_routes_of_a_link_is_no_news() -> None:
    many = [route(f"20.{n // 256}.{n % 256}.0/24") for n in range(1000)]
    known = HostWays(clock=Clock())
    known.current(Table(block(*many)), UP)  # type: ignore[arg-type]
    assert known.busy == {WAY}
    assert not known.tells(WAY, new=True)
    assert not known.tells(WAY, new=False)
    assert not known.tells(Way(8, 4, default=False), new=False)


def test_a_long_look_is_followed_by_a_long_rest() -> None:
    clock = Clock()

    class Slow(Table):
        def stream(self, kind: int, body: bytes) -> Iterator[bytes]:
            clock.now += 1
            return super().stream(kind, body)

    table = Slow(block(*MANY))
    known = HostWays(clock=clock)
    known.current(table, UP)  # type: ignore[arg-type]
    looks = table.asked
    known.miss()
    for seconds, expected in ((50, looks), (51, looks * 2)):
        clock.now += seconds
        known.current(table, UP)  # type: ignore[arg-type]
        assert table.asked == expected
