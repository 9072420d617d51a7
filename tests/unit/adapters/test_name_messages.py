"""Questions and answers of name servers, and whom the host itself asks."""

from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress

from ovsdriver.adapters.names import messages
from ovsdriver.adapters.names.forwarding import Forwarder

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
