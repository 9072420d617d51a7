"""Which events are asked for."""

import pytest

from ovsdriver.domain.events.event import Event
from ovsdriver.domain.events.query import Query

DOWN = Event(
    id=1,
    time=0.0,
    type="link",
    action="down",
    network="lab",
    network_id="abcdef" + "0" * 58,
    container="web",
    endpoint="123456" + "0" * 58,
)


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        (Query(), True),
        (Query(types=frozenset({"link"})), True),
        (Query(types=frozenset({"link.down", "lease"})), True),
        (Query(types=frozenset({"link.up"})), False),
        (Query(types=frozenset({"lease"})), False),
        (Query(network="lab"), True),
        (Query(network="abcdef"), True),
        (Query(network="abc"), False),  # as well a name
        (Query(network="la"), False),
        (Query(container="web"), True),
        (Query(container="1234"), True),
        (Query(container="db"), False),
        (Query(network="lab", container="db"), False),
    ],
)
def test_an_event_is_taken_that_is_all_of_what_was_asked(query: Query, taken: bool) -> None:
    assert query.takes(DOWN) is taken


def test_what_is_about_no_container_is_not_taken_for_one() -> None:
    assert not Query(container="web").takes(Event(id=1, time=0.0, type="repair", action="mended"))
