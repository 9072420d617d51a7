import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from ipam import PoolId
from ipam.choice.pools import Source, Subnets
from ipam.choice.runs import Runs, block

blocks = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda each: (each[0], sum(each)))


def subnets(*taken: str) -> Subnets:
    made = Subnets()
    for each in taken:
        made.add(block(IPNetwork(each)), PoolId(each))
    return made


def runs(*networks: str) -> Runs:
    return Runs(block(IPNetwork(each)) for each in networks)


def source(base: str, size: int) -> Source:
    return Source.of(IPNetwork(base), size)


@given(st.lists(st.tuples(st.booleans(), blocks)), blocks)
def test_runs_are_the_union_of_what_was_put_in_and_not_taken_out(steps, probe):
    tested, model = Runs(), set()
    for put_in, (first, last) in steps:
        numbers = set(range(first, last + 1))
        if put_in:
            tested.add(first, last)
            model |= numbers
        else:
            tested.remove(first, last)
            model -= numbers
    assert [n for first, last in tested for n in range(first, last + 1)] == sorted(model)
    assert all(b[0] > a[1] + 1 for a, b in zip(list(tested), list(tested)[1:], strict=False))
    end = tested.end_of_overlap(*probe)
    meets = model & set(range(probe[0], probe[1] + 1))
    assert (end is not None) == bool(meets)
    if end is not None:
        assert set(range(min(meets), end + 1)) <= model
        assert end + 1 not in model


@given(st.lists(blocks))
def test_runs_made_at_once_equal_runs_made_one_by_one(given_blocks):
    one_by_one = Runs()
    for each in given_blocks:
        one_by_one.add(*each)
    assert list(Runs(given_blocks)) == list(one_by_one)


@pytest.mark.parametrize(
    ("inner", "covered"),
    [
        pytest.param("10.0.1.0/24", True, id="the same"),
        pytest.param("10.0.1.128/25", True, id="the end of it"),
        pytest.param("10.0.0.0/23", False, id="more than it"),
        pytest.param("10.0.2.0/24", False, id="beside it"),
        pytest.param("9.0.0.0/24", False, id="below all"),
    ],
)
def test_a_block_is_covered_if_one_pool_has_all_of_it(inner: str, covered: bool):
    assert subnets("10.0.1.0/24", "10.0.4.0/24").covers(block(IPNetwork(inner))) is covered
    assert not subnets().covers(block(IPNetwork(inner)))


@pytest.mark.parametrize(
    ("wanted", "other"),
    [
        pytest.param("10.0.1.0/24", "10.0.1.0/24", id="the same"),
        pytest.param("10.0.0.0/16", "10.0.1.0/24", id="around it"),
        pytest.param("10.0.1.128/25", "10.0.1.0/24", id="inside of it"),
        pytest.param("10.0.0.0/24", None, id="right below"),
        pytest.param("10.0.2.0/24", None, id="right above"),
        pytest.param("10.8.0.0/15", "10.9.0.0/16", id="at the end of the wanted one"),
        pytest.param("0.0.0.0/1", "10.9.0.0/16", id="around everything"),
        pytest.param("192.168.0.0/16", None, id="above everything"),
    ],
)
def test_an_overlap_names_the_other_pool(wanted, other):
    assert subnets("10.0.1.0/24", "10.9.0.0/16").overlapping(block(IPNetwork(wanted))) == other


def test_a_removed_pool_overlaps_nothing_and_its_subnet_is_free_again():
    tested = subnets("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
    tested.remove(block(IPNetwork("10.0.1.0/24")), PoolId("10.0.1.0/24"))
    assert tested.overlapping(block(IPNetwork("10.0.1.0/24"))) is None
    assert picked(tested, source("10.0.0.0/16", 24)) == "10.0.1.0/24"
    assert len(tested) == 2


def picked(tested, *sources, avoid=Runs(), prefix=None):  # noqa: B008 - never changed
    choice = tested.pick(sources, avoid=avoid, prefix=prefix)
    return None if choice is None else str(IPNetwork(choice))


@pytest.mark.parametrize(
    ("taken", "avoid", "prefix", "expected"),
    [
        pytest.param([], [], None, "172.24.0.0/24", id="the lowest of the first source"),
        pytest.param(["172.24.0.0/24"], [], None, "172.24.1.0/24", id="the next"),
        pytest.param(["172.24.0.128/25"], [], None, "172.24.1.0/24", id="half taken"),
        pytest.param([], ["172.24.0.7/32"], None, "172.24.1.0/24", id="a name server in it"),
        pytest.param([], ["172.24.0.0/23"], None, "10.128.0.0/25", id="a route over the source"),
        pytest.param(
            ["172.24.0.0/24"], ["172.24.1.1/32"], None, "10.128.0.0/25", id="both kinds together"
        ),
        pytest.param(["172.24.0.0/16"], ["10.0.0.0/8"], None, None, id="nothing left"),
        pytest.param(["172.24.0.0/25"], [], 25, "172.24.0.128/25", id="a smaller one fits"),
        pytest.param([], [], 23, "172.24.0.0/23", id="as large as the source"),
        pytest.param([], [], 22, "10.128.0.0/22", id="larger than the first source"),
        pytest.param([], [], 8, None, id="larger than every source"),
        pytest.param([], [], 32, "172.24.0.0/32", id="one address"),
    ],
)
def test_the_next_free_subnet_is_picked(taken, avoid, prefix, expected):
    sources = [source("172.24.0.0/23", 24), source("10.128.0.0/21", 25)]
    assert picked(subnets(*taken), *sources, avoid=runs(*avoid), prefix=prefix) == expected


def test_ipv6_subnets_are_picked_without_walking():
    tested = subnets("fd00::/64", "fd00:0:0:1::/64", "fd00:0:0:8000::/49")
    assert tested.pick([source("fd00::/32", 64)], avoid=Runs()) == (0xFD << 120 | 2 << 64, 64)


def test_a_thousand_pools_side_by_side_are_one_step(monkeypatch):
    tested, steps = Subnets(), []
    for number in range(1000):
        tested.add((number * 256, number * 256 + 255), PoolId(str(number)))
    original = Runs.end_of_overlap
    monkeypatch.setattr(
        Runs, "end_of_overlap", lambda *args: (steps.append(args), original(*args))[1]
    )
    assert tested.pick([source("0.0.0.0/8", 24)], avoid=Runs()) == (256_000, 24)
    assert len(steps) <= 4


@given(
    st.sets(st.integers(0, 63)),
    st.lists(st.integers(0, 1023)),
    st.integers(24, 32),
)
def test_what_is_picked_is_the_lowest_that_meets_nothing(taken, avoided, prefix):
    tested = Subnets()
    for number in taken:
        tested.add((number * 16, number * 16 + 15), PoolId(str(number)))
    blocked = {n * 16 + each for n in taken for each in range(16)} | set(avoided)
    step = 1 << (32 - prefix)
    expected = next(
        (c for c in range(0, 1024, step) if not blocked & set(range(c, c + step))), None
    )
    choice = tested.pick(
        [source("0.0.0.0/22", 28)], avoid=Runs((each, each) for each in avoided), prefix=prefix
    )
    assert choice == (None if expected is None else (expected, prefix))
