import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.choice.addresses import Addresses
from ipam.choice.bitmap import pack


@pytest.mark.parametrize(
    ("family", "prefix", "usable", "dynamic"),
    [
        pytest.param(4, 29, range(1, 7), range(1, 7), id="IPv4 without network and broadcast"),
        pytest.param(4, 30, range(1, 3), range(1, 3), id="IPv4 /30"),
        pytest.param(4, 31, range(2), range(2), id="IPv4 /31, RFC 3021"),
        pytest.param(4, 32, range(1), range(1), id="IPv4 /32"),
        pytest.param(6, 125, range(8), range(1, 8), id="IPv6, the anycast address only if named"),
        pytest.param(6, 126, range(4), range(1, 4), id="IPv6 /126"),
        pytest.param(6, 127, range(2), range(2), id="IPv6 /127, RFC 6164"),
        pytest.param(6, 128, range(1), range(1), id="IPv6 /128"),
    ],
)
def test_the_ends_of_a_subnet_follow_the_rfcs(family, prefix, usable, dynamic):
    tested = Addresses(family=family, prefix=prefix)
    assert [n for n in range(-1, tested.size + 1) if tested.usable(n)] == list(usable)
    assert tested.capacity == tested.dynamic == tested.free == len(dynamic)
    given_out = []
    while (offset := tested.pick()) is not None:
        tested.take(offset)
        given_out.append(offset)
    assert given_out == list(dynamic)


@pytest.mark.parametrize(
    ("family", "prefix"), [(4, 8), (4, 16), (6, 48), (6, 64), (6, 112)], ids=str
)
def test_large_subnets_begin_at_their_first_usable_address(family, prefix):
    tested = Addresses(family=family, prefix=prefix)
    top = (1 << ((32 if family == 4 else 128) - prefix)) - (2 if family == 4 else 1)
    assert tested.pick() == 1
    assert tested.usable(top)
    assert not tested.usable(top + 1)
    tested.take(top)
    tested.take(1)
    assert (tested.pick(), tested.held, tested.free) == (2, 2, tested.capacity - 2)


def test_the_window_bounds_dynamic_choice_and_nothing_else():
    tested = Addresses(family=4, prefix=24, window=(128, 131))
    assert tested.dynamic == 4
    assert tested.take(5)
    assert tested.free == 4
    for expected in (128, 129, 130, 131):
        assert tested.pick() == expected
        assert tested.take(expected)
    assert tested.pick() is None
    assert tested.pick_gateway() == 1
    assert (tested.held, tested.free) == (5, 0)
    assert tested.put_back(129)
    assert (tested.pick(), tested.free) == (129, 1)


def test_a_window_at_the_edge_leaves_out_network_and_broadcast():
    tested = Addresses(family=4, prefix=30, window=(0, 3))
    assert tested.dynamic == 2
    assert Addresses(family=4, prefix=24, window=(0, 0)).dynamic == 0
    assert Addresses(family=4, prefix=24, window=(255, 255)).dynamic == 0


def test_a_kept_address_is_chosen_last_until_it_is_kept_no_more():
    tested = Addresses(family=4, prefix=29)
    tested.keep(1)
    assert tested.pick() == 2
    for _ in range(2):
        assert tested.take(1)
        assert tested.put_back(1)
        assert tested.pick() == 2
    tested.take(1)
    tested.keep_no_more(1)
    assert tested.pick() == 2
    tested.put_back(1)
    assert tested.pick() == 1


def test_what_a_store_remembers_is_taken_and_counted():
    tested = Addresses(family=4, prefix=24, window=(8, 15), taken=pack([1, 8, 9, 200]))
    assert (tested.held, tested.free, tested.pick()) == (4, 6, 10)
    assert tested.holds(200)
    assert not tested.take(200)


def test_putting_back_what_is_free_changes_nothing():
    tested = Addresses(family=4, prefix=24)
    assert not tested.put_back(9)
    assert (tested.held, tested.free) == (0, 254)


@given(
    st.integers(4, 9),
    st.tuples(st.integers(0, 511), st.integers(0, 511)),
    st.lists(
        st.tuples(
            st.sampled_from(["pick", "gateway", "take", "back", "keep", "keep no more"]),
            st.integers(0, 3) | st.integers(0, 511),
        ),
        min_size=5,
    ),
)
def test_choice_is_lowest_first_kept_ones_last_and_never_twice(bits, span, steps):
    size = 1 << bits
    first, last = sorted(each % size for each in span)
    tested = Addresses(family=4, prefix=32 - bits, window=(first, last))
    subnet = range(1, size - 1)
    window = [n for n in subnet if first <= n <= last]
    held: set[int] = set()
    kept: set[int] = set()
    for action, number in steps:
        if action == "take":
            assert tested.take(number % size) == (number % size not in held)
            held.add(number % size)
        elif action == "back":
            assert tested.put_back(number % size) == (number % size in held)
            held.discard(number % size)
        elif action == "keep":
            tested.keep(number % size)
            kept.add(number % size)
        elif action == "keep no more":
            tested.keep_no_more(number % size)
            kept.discard(number % size)
        else:
            choice = tested.pick() if action == "pick" else tested.pick_gateway()
            among = window if action == "pick" else subnet
            free = [n for n in among if n not in held]
            assert choice == next((n for n in free if n not in kept), free[0] if free else None)
            if choice is not None:
                tested.take(choice)
                held.add(choice)
        assert tested.may_choose(number % size) == (number % size in set(window) - held)
        assert tested.held == len(held)
        assert tested.free == len(set(window) - held)
