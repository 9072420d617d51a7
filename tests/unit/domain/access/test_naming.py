"""Which names policies are about, and which addresses of an answer may be reached."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.access import naming
from ovsdriver.domain.access.naming import Learned, NameRecord
from ovsdriver.domain.access.policy import Judgement, Policy, Reach, Zone

API, FAR, SIX = IPAddress("198.51.100.7"), IPAddress("198.51.100.8"), IPAddress("2001:db8::7")


def own(address: IPAddress) -> bool:
    return address == IPAddress("192.0.2.1")


def said(name: str, value: str, seconds: int = 300) -> NameRecord:
    """Return a record of an address, or of an alias."""
    if value[0].isdigit() or ":" in value:
        return NameRecord(name=name, seconds=seconds, address=IPAddress(value))
    return NameRecord(name=name, seconds=seconds, alias=value)


def policy(*allow: Reach, deny: tuple[Reach, ...] = (), closed: bool = True) -> Policy:
    return Policy(key="0" * 12, to=Judgement(allow=allow, deny=deny, closed=closed))


def named(*names: str) -> Reach:
    return Reach(rule=f"to {names[0]}", names=names)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "www.api.example.com", False),
        ("api.example.com", "xapi.example.com", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "api.example.com.evil.test", False),
        pytest.param("*.example.com", r"api\.example.com", False, id="a dot in a label of com"),
        pytest.param("*.example.com", r"api\\\.example.com", False, id="behind a backslash in it"),
        pytest.param("*.example.com", r"api\\.example.com", True, id="a label ends so"),
    ],
)
def test_a_name_of_a_rule_is_about_itself_and_a_wildcard_about_all_below(
    pattern: str, name: str, expected: bool
) -> None:
    assert naming.covers(pattern, name) is expected


def test_a_closed_container_may_ask_for_its_names_alone() -> None:
    closed = policy(named("api.example.com", "*.pypi.org"), Reach(rule="r", zone=Zone.HOST))
    assert naming.answered(closed, "api.example.com")
    assert naming.answered(closed, "files.pypi.org")
    assert not naming.answered(closed, "secret.evil.test")
    assert naming.covering(closed, "files.pypi.org") == ["*.pypi.org"]


def test_a_name_that_is_denied_is_no_reason_to_answer_in_a_closed_policy() -> None:
    closed = policy(named("api.example.com"), deny=(named("ads.example.com"),))
    assert not naming.answered(closed, "ads.example.com")
    assert naming.covering(closed, "ads.example.com") == ["ads.example.com"]


@pytest.mark.parametrize(
    "reach",
    [
        Reach(rule="to any", first_port=443, last_port=443),
        Reach(rule="to outside", zone=Zone.OUTSIDE),
        Reach(rule="to 0.0.0.0/0", prefix=IPNetwork("0.0.0.0/0")),
    ],
)
def test_who_reaches_any_address_may_ask_for_any_name(reach: Reach) -> None:
    assert naming.answered(policy(named("api.example.com"), reach), "what.ever.test")


def test_who_is_only_denied_something_may_ask_for_any_name() -> None:
    assert naming.answered(policy(deny=(named("ads.test"),), closed=False), "what.ever.test")


def test_a_prefix_is_no_reason_to_answer() -> None:
    inside = Reach(rule="to 10.0.0.0/8", prefix=IPNetwork("10.0.0.0/8"))
    assert not naming.answered(policy(named("api.example.com"), inside), "db.corp.test")


def test_addresses_are_those_of_the_name_and_of_its_aliases_in_any_order() -> None:
    records = [
        said("edge.cdn.test", "2001:db8::7", 200),
        said("edge.cdn.test", "198.51.100.7", 200),
        said("cdn.test", "edge.cdn.test", 90),
        said("api.example.com", "cdn.test", 500),
    ]
    found = naming.let_in("api.example.com", records, own=own)
    assert found == {API: 90, SIX: 90}


def test_what_does_not_follow_from_the_question_is_worth_nothing() -> None:
    records = [
        said("evil.test", "198.51.100.8"),
        said("api.example.com", "198.51.100.7"),
        said("other.example.com", "api.example.com"),
    ]
    assert naming.let_in("api.example.com", records, own=own) == {API: 300}


def test_only_the_first_of_two_aliases_is_followed() -> None:
    records = [
        said("a.test", "b.test"),
        said("a.test", "c.test"),
        said("b.test", "198.51.100.7"),
        said("c.test", "198.51.100.8"),
    ]
    assert set(naming.let_in("a.test", records, own=own)) == {API}


def test_aliases_in_a_circle_lead_nowhere() -> None:
    assert not naming.let_in(
        "a.test", [said("a.test", "b.test"), said("b.test", "a.test")], own=own
    )


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.2.1"),
        *("::1", "::", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:192.0.2.1"),
    ],
)
def test_no_answer_opens_what_is_nobody_elses(address: str) -> None:
    assert not naming.let_in("a.test", [said("a.test", address)], own=own)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "fd00::1", "64:ff9b::c633:6407"])
def test_private_and_translated_addresses_are_somebodys(address: str) -> None:
    assert naming.let_in("a.test", [said("a.test", address)], own=own)


@pytest.mark.parametrize(("seconds", "held"), [(0, 60), (59, 60), (61, 61), (2**31 - 1, 3600)])
def test_times_have_a_floor_and_a_ceiling(seconds: int, held: int) -> None:
    assert naming.let_in("a.test", [said("a.test", "198.51.100.7", seconds)], own=own) == {
        API: held
    }


def test_addresses_of_one_answer_are_bounded() -> None:
    records = [said("a.test", str(IPAddress(0xC6336400 + each))) for each in range(200)]
    assert len(naming.let_in("a.test", records, own=own)) == naming.PER_ANSWER


NAMES = st.sampled_from(["a.test", "b.test", "c.test", "d.test"])
ADDRESSES = st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32, 2**128 - 1)).map(IPAddress)
RECORDS = st.one_of(
    st.builds(NameRecord, name=NAMES, seconds=st.integers(0, 2**31 - 1), alias=NAMES),
    st.builds(NameRecord, name=NAMES, seconds=st.integers(0, 2**31 - 1), address=ADDRESSES),
)


@given(st.lists(RECORDS, max_size=60), NAMES)
def test_whatever_is_said_nothing_comes_in_that_is_not_reached_by_aliases(
    records: list[NameRecord], name: str
) -> None:
    found = naming.let_in(name, records, own=own)
    reached, before = {name}, set[str]()
    while reached != before:
        before = set(reached)
        reached |= {each.alias for each in records if each.alias and each.name in before}
    assert set(found) <= {each.address for each in records if each.name in reached}
    assert len(found) <= naming.PER_ANSWER
    assert all(naming.FLOOR_S <= each <= naming.CEILING_S for each in found.values())


def test_what_was_learnt_is_remembered_for_its_time_by_the_name_in_the_rule() -> None:
    learned = Learned()
    assert learned.admit(["*.test", "a.test"], {API: 60, FAR: 300}, now=0) == {API: 60, FAR: 300}
    assert learned.of("a.test", now=10) == {API: 50, FAR: 290}
    assert learned.of("*.test", now=60) == {FAR: 240}
    assert not learned.of("b.test", now=10)
    learned.keep(["a.test"])
    assert learned.of("a.test", now=10)
    assert not learned.of("*.test", now=10)


def test_a_shorter_time_takes_nothing_from_a_longer_one() -> None:
    learned = Learned()
    learned.admit(["a.test"], {API: 600}, now=0)
    learned.admit(["a.test"], {API: 60}, now=10)
    assert learned.of("a.test", now=20) == {API: 580}


def test_a_wildcard_lets_in_so_many_at_once_and_known_ones_always() -> None:
    learned = Learned()
    many = {IPAddress(0x0A000000 + each): 60 for each in range(naming.PER_NAME)}
    assert learned.admit(["*.test"], many, now=0) == many
    assert learned.admit(["*.test"], {API: 60}, now=30) == {}
    first = next(iter(many))
    assert learned.admit(["*.test"], {first: 60}, now=30) == {first: 60}
    assert learned.admit(["*.test"], {API: 60}, now=61) == {API: 60}
