import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.choice.bitmap import WORD_BITS, Bitmap, fill, pack

FULL_WORD = range(WORD_BITS)
FULL_SECOND_LEVEL = range(WORD_BITS * WORD_BITS)

numbers = st.one_of(
    st.integers(0, 40),
    st.integers(WORD_BITS - 3, WORD_BITS + 3),
    st.integers((1 << 64) - 5, 1 << 80),
)


def test_the_lowest_absent_of_nothing_is_where_the_search_starts():
    assert Bitmap().lowest_absent(0) == 0
    assert Bitmap().lowest_absent(1 << 77) == 1 << 77


@pytest.mark.parametrize(
    ("members", "start", "lowest"),
    [
        pytest.param(range(5), 0, 5, id="behind a run"),
        pytest.param(range(5), 3, 5, id="from inside of a run"),
        pytest.param([0, 1, 3], 0, 2, id="in a gap"),
        pytest.param([0, 1, 3], 3, 4, id="behind the gap when started behind it"),
        pytest.param(FULL_WORD, 0, WORD_BITS, id="behind a full word"),
        pytest.param(FULL_WORD, WORD_BITS - 1, WORD_BITS, id="from the last bit of a full word"),
        pytest.param(FULL_SECOND_LEVEL, 0, WORD_BITS**2, id="behind a full second level"),
        pytest.param(FULL_SECOND_LEVEL, 700, WORD_BITS**2, id="from inside of a full level"),
        pytest.param([*range(WORD_BITS * 3)], WORD_BITS, WORD_BITS * 3, id="three full words"),
        pytest.param([*FULL_WORD, WORD_BITS], 0, WORD_BITS + 1, id="into a begun word"),
    ],
)
def test_the_lowest_absent_member_is_found(members, start, lowest):
    assert Bitmap(pack(members)).lowest_absent(start) == lowest


def test_a_hole_in_a_full_level_is_found_and_closed_again():
    bitmap = Bitmap(pack(FULL_SECOND_LEVEL))
    bitmap.discard(100_000)
    assert bitmap.lowest_absent(0) == 100_000
    bitmap.add(100_000)
    assert bitmap.lowest_absent(0) == WORD_BITS**2


def test_a_hole_behind_a_full_level_is_found_and_closed_again():
    bitmap = Bitmap(pack(range(2 * WORD_BITS**2)))
    hole = WORD_BITS**2 + 5000
    assert bitmap.lowest_absent(0) == 2 * WORD_BITS**2
    bitmap.discard(hole)
    assert bitmap.lowest_absent(0) == hole
    bitmap.add(hole)
    assert bitmap.lowest_absent(0) == 2 * WORD_BITS**2


def test_a_copy_changes_alone():
    bitmap = Bitmap(pack(range(WORD_BITS + 1)))
    copy = bitmap.copy()
    copy.discard(3)
    copy.add(WORD_BITS + 1)
    assert (bitmap.lowest_absent(0), copy.lowest_absent(0)) == (WORD_BITS + 1, 3)
    assert (len(bitmap), len(copy)) == (WORD_BITS + 1, WORD_BITS + 1)


def test_filling_one_by_one_gives_every_number_once():
    bitmap = Bitmap()
    given_out = []
    for _ in range(3 * WORD_BITS):
        lowest = bitmap.lowest_absent(7)
        assert bitmap.add(lowest)
        given_out.append(lowest)
    assert given_out == list(range(7, 7 + 3 * WORD_BITS))


@pytest.mark.slow
def test_emptying_a_full_level_leaves_nothing():
    bitmap = Bitmap(pack(FULL_SECOND_LEVEL))
    for member in FULL_SECOND_LEVEL:
        assert bitmap.discard(member)
    assert len(bitmap) == 0
    assert list(bitmap) == []
    assert bitmap.lowest_absent(5) == 5


@given(st.sets(numbers))
def test_packing_and_reading_back_gives_the_same_members(members):
    bitmap = Bitmap(pack(sorted(members)))
    assert list(bitmap) == sorted(members)
    assert len(bitmap) == len(members)


@given(st.lists(st.tuples(st.integers(0, 3 * WORD_BITS), st.integers(0, 2 * WORD_BITS))))
def test_runs_fill_words_as_their_members_do(runs):
    words, members = {}, set()
    for first, length in runs:
        fill(words, first, first + length)
        members |= set(range(first, first + length + 1))
    assert words == pack(sorted(members))


@given(
    st.lists(st.tuples(st.sampled_from(["add", "discard", "next"]), numbers)),
    st.tuples(numbers, numbers),
)
def test_it_behaves_as_a_set_does(steps, span):
    bitmap, model = Bitmap(pack(FULL_WORD)), set(FULL_WORD)
    for action, number in steps:
        if action == "add":
            assert bitmap.add(number) == (number not in model)
            model.add(number)
        elif action == "discard":
            assert bitmap.discard(number) == (number in model)
            model.discard(number)
        else:
            expected = number
            while expected in model:
                expected += 1
            assert bitmap.lowest_absent(number) == expected
        assert (number in bitmap) == (number in model)
    first, last = sorted(span)
    assert bitmap.count(first, last) == sum(first <= each <= last for each in model)
    assert list(bitmap) == sorted(model)
