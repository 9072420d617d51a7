"""Questions and answers of name servers, and whom the host itself asks."""

from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress

from ovsdriver.adapters.names import messages
from ovsdriver.adapters.names.forwarding import Forwarder
from ovsdriver.domain.access.naming import NameRecord

V4, V6 = IPAddress("10.50.0.5"), IPAddress("fd50::5")


def asked(name: str, kind: str) -> messages.Query:
    found = messages.read(dns.message.make_query(name, kind).to_wire())
    assert found is not None
    return found


def answered(wire: bytes) -> tuple[str, list[str]]:
    reply = dns.message.from_wire(wire)
    return dns.rcode.to_text(reply.rcode()), [str(e) for rrset in reply.answer for e in rrset]


def test_a_question_has_its_name_in_lower_case_without_the_last_dot() -> None:
    assert asked("DB.Example.", "A").name == "db.example"


@pytest.mark.parametrize(
    ("kind", "found"), [("A", [str(V4)]), ("AAAA", [str(V6)]), ("MX", []), ("ANY", None)]
)
def test_an_answer_has_the_addresses_of_the_family_that_is_asked_for(
    kind: str, found: list[str] | None
) -> None:
    code, addresses = answered(asked("db", kind).answer([V4, V6]))
    assert (code, addresses) == ("NOERROR", [str(V4), str(V6)] if found is None else found)


def test_a_family_that_a_name_has_not_is_no_data_and_not_no_name() -> None:
    assert answered(asked("db", "AAAA").answer([V4])) == ("NOERROR", [])


def test_a_failure_says_so() -> None:
    assert answered(asked("db", "A").failure()) == ("SERVFAIL", [])


def test_what_is_no_question_is_not_answered() -> None:
    reply = asked("db", "A").answer([V4])
    assert messages.read(reply) is None
    assert messages.read(b"") is None
    chaos = dns.message.make_query("version.bind", "TXT", "CH")
    assert messages.read(chaos.to_wire()) is None


def test_a_question_with_more_than_belongs_to_one_is_not_read() -> None:
    query = dns.message.make_query("db", "A", use_edns=0, pad=128)
    plain = query.to_wire()
    assert messages.read(plain) is not None
    assert messages.read(plain + b"x") is None
    query.question.append(dns.message.make_query("other", "A").question[0])
    assert messages.read(query.to_wire()) is None
    long = dns.message.make_query("db", "A", use_edns=0, pad=messages.QUESTION_BYTES + 1)
    assert messages.read(long.to_wire(max_size=4096)) is None
    record = bytes.fromhex("c00c00010001000000000004c0000201")
    many = asked("db", "A").wire
    assert messages.read(many[:6] + b"\x00\x01" + many[8:] + record) is None


@given(st.binary(max_size=80))
def test_no_bytes_are_a_fault(wire: bytes) -> None:
    messages.read(wire)
    messages.answers(wire, asked("db", "A").wire)


def test_an_answer_is_known_by_its_id_and_its_question() -> None:
    query = asked("db", "A")
    reply = query.answer([V4])
    assert messages.answers(reply, query.wire)
    assert not messages.answers(bytes([reply[0] ^ 1]) + reply[1:], query.wire)
    assert not messages.answers(query.wire, query.wire)
    other = dns.message.make_query("other", "A", id=query.message.id)
    assert not messages.answers(dns.message.make_response(other).to_wire(), query.wire)


def test_the_host_s_servers_are_those_of_its_file_but_never_our_own(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    forwarder = Forwarder(never=["169.254.53.53"], resolvers=path)
    assert forwarder.servers() == ["127.0.0.1"]
    path.write_text(
        "# nameserver 192.0.2.9\nsearch example\nnameserver 169.254.53.53\n"
        "nameserver nowhere\nnameserver\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"
        "nameserver 192.0.2.3\n"
    )
    assert forwarder.servers() == ["192.0.2.1", "2001:db8::1"]
    path.unlink()
    path.write_text("nameserver 169.254.53.53\n")
    assert forwarder.servers() == []


# What servers say


def a_reply(*records: str, kind: str = "A", additional: str = "") -> messages.Reply:
    """Return the answer to ``www.test`` with records as in a zone file."""
    reply = dns.message.make_response(dns.message.make_query("www.test", kind))
    for record in records:
        reply.answer.append(dns.rrset.from_text(*record.split(maxsplit=4)))
    if additional:
        reply.additional.append(dns.rrset.from_text(*additional.split(maxsplit=4)))
    found = messages.read_reply(reply.to_wire())
    assert found is not None
    return found


CHAIN = (
    "WWW.test. 90000 IN CNAME Edge.cdn.test.",
    "edge.CDN.test. 60 IN A 198.51.100.7",
    "edge.cdn.test. 60 IN A 198.51.100.8",
)
ONE, TWO = IPAddress("198.51.100.7"), IPAddress("198.51.100.8")


def test_aliases_and_addresses_of_an_answer_are_records_in_lower_case() -> None:
    alias, *addresses = a_reply(*CHAIN, additional="evil.test. 60 IN A 198.51.100.9").records()
    assert alias == NameRecord(name="www.test", seconds=90000, alias="edge.cdn.test")
    assert {each.address for each in addresses} == {ONE, TWO}
    assert {each.name for each in addresses} == {"edge.cdn.test"}


def test_other_records_are_none_of_them() -> None:
    assert not a_reply("www.test. 60 IN TXT 198.51.100.7", kind="TXT").records()


def test_an_answer_is_passed_on_as_it_is_where_nothing_is_to_be_left_out() -> None:
    reply = a_reply(*CHAIN, additional="more.test. 60 IN A 198.51.100.9")
    assert reply.only([ONE, TWO], at_most_s=90000) == reply.wire


def test_what_may_not_be_told_is_left_out_with_all_that_was_not_asked_for() -> None:
    told = a_reply(*CHAIN, additional="more.test. 60 IN A 198.51.100.9").only([TWO], at_most_s=3600)
    found = messages.read_reply(told)
    assert found is not None
    assert [each.address for each in found.records()] == [None, TWO]
    assert all(rrset.ttl <= 3600 for rrset in found.message.answer)
    assert not found.message.additional


def test_an_answer_of_which_nothing_is_left_is_empty() -> None:
    found = messages.read_reply(a_reply(*CHAIN[1:]).only([], at_most_s=3600))
    assert found is not None
    assert not found.message.answer
    assert found.message.rcode() == dns.rcode.NOERROR


def test_what_is_not_to_be_asked_is_refused_and_hints_are_told_apart() -> None:
    query = messages.read(dns.message.make_query("secret.test", "A").to_wire())
    https = messages.read(dns.message.make_query("api.test", "HTTPS").to_wire())
    assert query is not None
    assert https is not None
    assert dns.message.from_wire(query.refusal()).rcode() == dns.rcode.REFUSED
    assert https.hinting
    assert not query.hinting


@given(st.binary(max_size=100))
def test_junk_of_servers_is_no_reply_or_one_that_can_be_read(wire: bytes) -> None:
    reply = messages.read_reply(wire)
    assert reply is None or isinstance(reply.records(), list)
