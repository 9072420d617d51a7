import pytest

from ipam.choice.last_given import MOST, NAMED_S, Memories, Note


def named(name: str, since: float = 1.0) -> Note:
    return Note(name, wanted=False, since=since)


def wanted(name: str = "", since: float = 1.0) -> Note:
    return Note(name, wanted=True, since=since)


def test_a_name_has_the_address_that_it_had_last():
    memories = Memories(capacity=100)
    assert memories.note(5, named("web")) == []
    assert memories.of_name("web") == 5
    assert memories.note(9, wanted("web")) == [5]
    assert memories.note(7, named("web")) == [9]
    assert memories.of_name("web") == 7
    assert memories.of_name("db") is None
    assert dict(memories) == {7: named("web")}


def test_what_is_forgotten_is_not_there_any_more():
    memories = Memories(capacity=100)
    memories.note(5, named("web"))
    memories.note(6, wanted())
    assert memories.forget(5) == named("web")
    assert memories.forget(6) == wanted()
    assert memories.forget(5) is None
    assert memories.of_name("web") is None
    assert dict(memories) == {}


@pytest.mark.parametrize(("capacity", "limit"), [(6, 1), (254, 63), (3, 0), (1 << 64, MOST)])
def test_names_are_remembered_for_a_quarter_of_the_pool_the_oldest_forgotten_first(capacity, limit):
    memories = Memories(capacity=capacity)
    forgotten = []
    for offset in range(limit + 3):
        forgotten += memories.note(offset, named(f"c{offset}"))
    assert forgotten == [0, 1, 2]
    assert len(dict(memories)) == limit
    assert memories.of_name("c0") is None
    assert memories.of_name(f"c{limit + 2}") == (limit + 2 if limit else None)


def test_wanted_addresses_do_not_count_as_names_and_have_a_limit_of_their_own():
    memories = Memories(capacity=8)
    for offset in range(MOST):
        assert memories.note(offset, wanted()) == []
    assert memories.note(MOST, named("web")) == []
    assert memories.note(MOST + 1, wanted()) == [0]
    assert memories.of_name("web") == MOST


def test_names_are_remembered_for_thirty_days_and_wanted_addresses_for_good():
    memories = Memories(capacity=100)
    memories.note(4, wanted("router", since=0.0))
    memories.note(5, named("web", since=0.0))
    memories.note(6, named("db", since=60.0))
    assert memories.outdated(NAMED_S - 1) == []
    assert memories.outdated(NAMED_S) == [5]
    assert memories.outdated(NAMED_S + 60) == [6]
    assert dict(memories) == {4: wanted("router", since=0.0)}
