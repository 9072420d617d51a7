"""DNS messages: what is asked, and answers of our own. Pure."""

import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rrset
from netaddr import IPAddress

from ovsdriver.domain.access.naming import NameRecord

_TTL_S = 5
"""Of our answers. OVN, which answers most questions before they get here, says an hour."""

_KINDS = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}
ID_BYTES = 2
_QUESTION_AT = 12
QUESTION_BYTES = 1232
"""What is longer is no question that anybody asks, and takes long to read."""
_COUNTS_AT = 4
_MOST_ADDED = 2
"""Records behind a question: EDNS, and a signature."""
_HINTING = (dns.rdatatype.HTTPS, dns.rdatatype.SVCB)


@dataclass(frozen=True, slots=True)
class Query:
    """A question of a client."""

    message: dns.message.Message
    wire: bytes

    @property
    def name(self) -> str:
        """What is asked for, in lower case, without the last dot."""
        return _text(self.message.question[0].name)

    @property
    def hinting(self) -> bool:
        """Whether it asks for records that have addresses among other things, as HTTPS has."""
        return self.message.question[0].rdtype in _HINTING

    def answer(self, addresses: Iterable[IPAddress]) -> bytes:
        """Return an answer with those addresses that are asked for; with none: there is no such."""
        question = self.message.question[0]
        reply = dns.message.make_response(self.message, recursion_available=True)
        found = list(addresses)
        for kind, family in _KINDS.items():
            texts = [str(each) for each in found if each.version == family]
            if texts and question.rdtype in (kind, dns.rdatatype.ANY):
                reply.answer.append(
                    dns.rrset.from_text_list(question.name, _TTL_S, dns.rdataclass.IN, kind, texts)
                )
        return reply.to_wire()

    def failure(self) -> bytes:
        """Return the answer that nobody could be asked."""
        return self._without_answer(dns.rcode.SERVFAIL)

    def refusal(self) -> bytes:
        """Return the answer that this is not to be asked."""
        return self._without_answer(dns.rcode.REFUSED)

    def _without_answer(self, code: dns.rcode.Rcode) -> bytes:
        reply = dns.message.make_response(self.message, recursion_available=True)
        reply.set_rcode(code)
        return reply.to_wire()


def read(wire: bytes) -> Query | None:
    """Return the question of a message; None of what is none, or is more than one."""
    if not _QUESTION_AT < len(wire) <= QUESTION_BYTES:
        return None
    questions, answers, authorities, added = struct.unpack_from("!4H", wire, _COUNTS_AT)
    if (questions, answers, authorities) != (1, 0, 0) or added > _MOST_ADDED:
        return None
    try:
        message = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return None
    if message.flags & dns.flags.QR or message.opcode() != dns.opcode.QUERY:
        return None
    if message.question[0].rdclass != dns.rdataclass.IN:
        return None
    return Query(message, wire)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said."""

    message: dns.message.Message
    wire: bytes

    def records(self) -> Sequence[NameRecord]:
        """Return the aliases and addresses of the answer itself."""
        found = []
        for rrset in self.message.answer:
            name, seconds = _text(rrset.name), rrset.ttl
            for each in rrset:
                address = _address(each)
                if address is not None:
                    found.append(NameRecord(name=name, seconds=seconds, address=address))
                elif isinstance(each, dns.rdtypes.ANY.CNAME.CNAME):
                    found.append(NameRecord(name=name, seconds=seconds, alias=_text(each.target)))
        return found

    def only(self, addresses: Collection[IPAddress], *, at_most_s: int) -> bytes:
        """Return it with no other addresses, and nothing that holds for longer."""
        kept = set(addresses)
        if all(rrset.ttl <= at_most_s for rrset in self.message.answer) and all(
            each.address in kept for each in self.records() if each.address is not None
        ):
            return self.wire
        answer = []
        for rrset in self.message.answer:
            left = [each for each in rrset if _address(each) is None or _address(each) in kept]
            if left:
                seconds = min(rrset.ttl, at_most_s)
                answer.append(dns.rrset.from_rdata_list(rrset.name, seconds, left))
        self.message.answer = answer
        self.message.additional = []
        return self.message.to_wire()


def read_reply(wire: bytes) -> Reply | None:
    """Return what a server said; None if it is no message."""
    try:
        return Reply(dns.message.from_wire(wire, ignore_trailing=True), wire)
    except (dns.exception.DNSException, ValueError):
        return None


def _address(record: dns.rdata.Rdata) -> IPAddress | None:
    if isinstance(record, dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA):
        return IPAddress(record.address)
    return None


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def answers(reply: bytes, asked: bytes) -> bool:
    """Whether a datagram is the answer to what was asked: its id, and its question."""
    if len(reply) < _QUESTION_AT or reply[:ID_BYTES] != asked[:ID_BYTES] or not reply[2] & 0x80:
        return False
    try:
        found = dns.message.from_wire(reply, question_only=True, ignore_trailing=True)
        wanted = dns.message.from_wire(asked, question_only=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return False
    # a server that cannot read a question may leave it out
    return not found.question or found.question == wanted.question
